from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from geotrans.grid import Window
from geotrans.scene import open_scene, to_units
from geotrans.scene.radiometry import as_dtype, describe_foreign_values
from geotrans.tasks.spec import BandSpec

MakeScene = Callable[..., Path]

DN = BandSpec(name="red")
REFLECTANCE = BandSpec(name="red", units="reflectance", value_range=(0.0, 0.4))


def test_scale_and_offset_are_applied_once_and_only_where_asked(make_scene: MakeScene) -> None:
    path = make_scene(
        dtype="uint16", bands=["red", "green"], scales=[1e-4, 2.0], offsets=[-0.1, 5.0]
    )
    scene = open_scene(path)
    data = scene.read(Window(0, 0, 64, 48)).data
    values = to_units(data, scene.bands, [REFLECTANCE, DN])
    assert values.dtype == np.float32
    assert np.allclose(values[0], data[0] * 1e-4 - 0.1, atol=1e-6)
    assert np.array_equal(values[1], data[1])
    assert data.dtype == np.uint16


@pytest.mark.parametrize(
    ("dtype", "low", "high", "want", "says"),
    [
        ("uint8", 0, 255, DN, None),
        ("uint8", 90, 110, DN, None),
        ("uint16", 0, 3000, DN, "the task has seen 0 to 255"),
        ("int16", -400, 200, DN, "the task has seen 0 to 255"),
        ("float32", 0, 1, DN, "the task has seen 0 to 255"),
        ("float32", 0, 0.4, REFLECTANCE, None),
        ("float32", 0, 4000, REFLECTANCE, "to 0.4 reflectance"),
    ],
)
def test_values_a_task_has_not_seen_are_said(
    make_scene: MakeScene, dtype: str, low: float, high: float, want: BandSpec, says: str | None
) -> None:
    data = np.linspace(low, high, 48 * 64).reshape(1, 48, 64).astype(dtype)
    scene = open_scene(make_scene(bands=1, dtype=dtype, data=data))
    patch = scene.overview(48)
    complaint = describe_foreign_values(patch.data, patch.valid, scene.bands, [want])
    if says is None:
        assert complaint is None
    else:
        assert complaint is not None
        assert complaint.startswith("band red holds values of ")
        assert complaint.endswith(says)


def test_a_scene_without_valid_pixels_holds_no_foreign_values() -> None:
    data, valid = np.full((1, 3, 3), 9e9, "float32"), np.zeros((3, 3), bool)
    assert describe_foreign_values(data, valid, [], [DN]) is None


def test_values_are_stored_rounded_and_within_the_limits_of_integers() -> None:
    values = np.array([-3.0, 0.5, 1.5, 254.6, 300.0], np.float32)
    assert as_dtype(values, np.dtype("uint8")).tolist() == [0, 0, 2, 255, 255]
    assert np.array_equal(as_dtype(values, np.dtype("float64")), values)
