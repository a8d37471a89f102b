"""What the pixels of a product are."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from geotrans.errors import UsageError
from geotrans.parts import Layout, LayoutBand, product_layout
from geotrans.scene import open_scene
from geotrans.tasks import BandSpec, GeneratorSpec, TaskSpec

GREY = (LayoutBand("grey", "gray"),)
IDENTITY = GeneratorSpec(arch="identity")


def _spec(**fields: Any) -> TaskSpec:
    rgb = [BandSpec(name=name) for name in ("red", "green", "blue")]
    given = {"source": rgb, "target": rgb, "generator": IDENTITY, "halo": 0, "align": 1}
    return TaskSpec(name="task", **{**given, **fields})


@pytest.mark.parametrize(
    ("dtype", "nodata", "values", "stored"),
    [
        ("uint8", 0, [0, 1, 255], [1, 1, 255]),
        ("uint8", 255, [0, 254, 255], [0, 254, 254]),
        ("int16", -32768, [-32768, 0], [-32767, 0]),
        ("float32", -1.0, [-1.0, 2.0], [np.nextafter(np.float32(-1), np.float32(np.inf)), 2.0]),
        ("float32", math.nan, [1.0, 2.0], [1.0, 2.0]),
        ("uint8", None, [0, 255], [0, 255]),
    ],
)
def test_no_valid_value_is_nodata(
    dtype: str, nodata: float | None, values: list[float], stored: list[float]
) -> None:
    layout = Layout(GREY, dtype, nodata)
    data = np.array([[values]], dtype)
    patch = layout.apply_nodata(data, np.ones((1, len(values)), bool))
    assert np.array_equal(patch.data, np.array([[stored]], dtype))


def test_invalid_pixels_hold_nodata() -> None:
    valid = np.array([[True, False]])
    for nodata, held in ((None, 0.0), (-9.0, -9.0), (math.nan, math.nan)):
        patch = Layout(GREY, "float32", nodata).apply_nodata(
            np.full((1, 1, 2), 5, np.float32), valid
        )
        assert np.array_equal(patch.data, [[[5, held]]], equal_nan=True)
        assert patch.valid is valid


def test_valid_follows_the_scale() -> None:
    layout = Layout(GREY, "uint8", scale=2)
    patch = layout.apply_nodata(np.ones((1, 2, 4), np.uint8), np.array([[True, False]]))
    assert np.array_equal(patch.valid, [[True, True, False, False]] * 2)


def test_a_target_of_the_sources_type_carries_its_radiometry(
    make_scene: Callable[..., Path],
) -> None:
    scene = open_scene(
        make_scene(dtype="uint16", nodata=3, scales=[0.1] * 3, offsets=[-5.0] * 3, units=["K"] * 3)
    )
    wanted = [BandSpec(name=n, dtype="uint16") for n in ("red", "green", "blue")]
    target = [band.model_copy(update={"dtype": "source"}) for band in wanted]
    layout = product_layout(_spec(source=wanted, target=target, nodata="source"), scene, (1, 2, 3))
    assert layout.dtype == "uint16"
    assert layout.nodata == 3
    assert layout.bands[0] == LayoutBand("red", "red", 0.1, -5.0, "K")
    assert layout.bytes_per_px == 6
    own = product_layout(_spec(), scene, (1, 2, 3))
    assert own.dtype == "uint8"
    assert own.nodata is None
    assert own.bands[2] == LayoutBand("blue", "blue")


def test_classes_need_a_palette(make_scene: Callable[..., Path]) -> None:
    scene = open_scene(make_scene())
    with pytest.raises(UsageError, match="no map"):
        product_layout(_spec(), scene, (1, 2, 3), as_="classes")
    palette = [{"name": n, "color": (i, i, i)} for i, n in enumerate("ab")]
    layout = product_layout(_spec(palette=palette), scene, (1, 2, 3), as_="classes")
    assert layout.bands == (LayoutBand("class", "palette"),)
    assert layout.classes is not None
    assert [one.name for one in layout.classes] == ["a", "b"]
