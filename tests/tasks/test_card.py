from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import yaml

from geotrans.tasks import (
    NoiseSpec,
    PaletteClass,
    Score,
    TaskSpec,
    open_bundle,
    render_card,
)

SCORES = {
    "road IoU": Score(
        value=0.655,
        low=0.61,
        high=0.7,
        better="higher",
        baselines={"no network": 0, "L1 only": 0.61},
        split="val",
    ),
    "kernel distance": Score(value=200, better="lower", baselines={"L1 only": 585.0}),
}


def full(spec: TaskSpec) -> TaskSpec:
    return spec.model_copy(
        update={
            "metrics": SCORES,
            "place": "Santa Monica",
            "data": "177 chips | by somebody",
            "limits": "- Sees no trees.",
            "reproduce": "geotrans train configs/small.yaml",
            "training": {"steps": 7},
            "samples": "small.jpg",
            "noise": NoiseSpec(scales=(1, 8)),
            "source_palette": (PaletteClass(name="street", color=(68, 48, 65)),),
        }
    )


def test_tells_everything(small_spec: TaskSpec) -> None:
    card = render_card(full(small_spec))
    for line in (
        "# small",
        "| Reads | red, green, blue |",
        "| Pixel size seen | 0.5 to 1 m |",
        "| Licence | CC0-1.0 |",
        "| Place | Santa Monica |",
        "![Held-out samples of small](small.jpg)",
        "| Score | Measured on | small | To compare |",
        "| road IoU, higher is better | val | **0.655 (0.61 to 0.7)** | no network 0; L1 only 0.61 |",  # noqa: E501  one row
        "| kernel distance, lower is better |  | **200** | L1 only 585 |",
        "| 0 | street | #443041 |",
        "- Sees no trees.",
        "geotrans train configs/small.yaml",
    ):
        assert line in card.splitlines(), card
    assert "--style-of small" in card
    assert "at 1, 8 px" in card
    config = card.partition("```yaml\n")[2].partition("```")[0]
    assert yaml.safe_load(config) == {"steps": 7}


def test_leaves_out_what_is_not_known(small_spec: TaskSpec) -> None:
    card = render_card(small_spec)
    assert card.count("\n## ") == 0
    assert card.endswith("|\n")


def test_a_bundle_tells_its_size_and_sum(make_bundle: Callable[..., Path]) -> None:
    bundle = open_bundle(make_bundle())
    card = render_card(bundle)
    assert bundle.sha256 in card
    assert "| Parameters | 0.0" in card
