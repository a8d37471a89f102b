from __future__ import annotations

import pytest
from pydantic import ValidationError

from geotrans.tasks import BandSpec, NoiseSpec, PaletteClass, Score, TaskSpec


def test_survives_json(small_spec: TaskSpec) -> None:
    spec = small_spec.model_copy(update={"noise": NoiseSpec(scales=(1, 8))})
    assert TaskSpec.model_validate_json(spec.model_dump_json()) == spec


def test_counts_channels(small_spec: TaskSpec) -> None:
    classes = tuple(PaletteClass(name=str(i), color=(i, i, i)) for i in range(5))
    spec = small_spec.model_copy(update={"noise": NoiseSpec(scales=(1, 8)), "palette": classes})
    assert (spec.channels_in, spec.channels_out) == (5, 5)
    assert (small_spec.channels_in, small_spec.channels_out) == (3, 3)


def test_plain_numbers_are_scores(small_spec: TaskSpec) -> None:
    fields = small_spec.model_dump() | {"metrics": {"iou": 0.5, "psnr": {"value": 30, "low": 29}}}
    spec = TaskSpec.model_validate(fields)
    assert spec.metrics == {"iou": Score(value=0.5), "psnr": Score(value=30, low=29)}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"gsd_m": (2, 1)}, "gsd_m"),
        ({"name": "../up"}, "name"),
        ({"halo": -1}, "halo"),
        ({"source": ()}, "source"),
        ({"colour": "red"}, "colour"),
        ({"metrics": {"iou": float("nan")}}, "finite"),
        ({"noise": {"scales": (0,)}}, "scales"),
        ({"source": ({"name": "red", "dtype": "source"},)}, "dtype of its own"),
        ({"palette": ({"name": "a", "color": (0, 0, 300)},) * 2}, "palette"),
        (
            {"target": ({"name": "red"},), "palette": ({"name": "a", "color": (0, 0, 0)},) * 2},
            "red",
        ),
    ],
)
def test_refuses_what_cannot_be_meant(
    small_spec: TaskSpec, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(ValidationError, match=message):
        TaskSpec.model_validate(small_spec.model_dump() | changes)


@pytest.mark.parametrize("dtype", ["uint9", "complex64", "str", ""])
def test_refuses_unknown_dtypes(dtype: str) -> None:
    with pytest.raises(ValidationError, match="unknown dtype"):
        BandSpec(name="red", dtype=dtype)


@pytest.mark.parametrize("value_range", [(1, 1), (2, 1), (0, float("inf"))])
def test_refuses_empty_and_endless_ranges(value_range: tuple[float, float]) -> None:
    with pytest.raises(ValidationError):
        BandSpec(name="red", value_range=value_range)
