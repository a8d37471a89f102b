"""Small pictures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio

from geotrans.grid import Window
from geotrans.product.preview import Preview, render_picture
from geotrans.scene import open_scene
from tests.helpers.scenes import coded

Make = Callable[..., Path]


def test_colours_are_shown_by_name(make_scene: Make) -> None:
    scene = open_scene(make_scene(bands=("nir", "blue", "green", "red")))
    data = coded((48, 64), bands=4)
    assert np.array_equal(render_picture(scene)[:3], data[[3, 2, 1]])
    window = Window(5, 6, 20, 10)
    assert np.array_equal(render_picture(scene, window=window)[:3], data[[3, 2, 1], 6:16, 5:25])


def test_invalid_pixels_are_transparent(make_scene: Make) -> None:
    invalid = np.zeros((48, 64), bool)
    invalid[10:20] = True
    made = render_picture(open_scene(make_scene(dtype="uint16", nodata=9, invalid=invalid)))
    assert np.array_equal(made[3] == 0, invalid)
    assert (made[:3, invalid] == 0).all()
    assert made[:3].min() == 0
    assert made[:3].max() == 255


def test_one_band_is_grey_and_a_palette_its_colours(make_scene: Make) -> None:
    grey = render_picture(open_scene(make_scene(bands=1)))
    assert np.array_equal(grey[0], grey[2])
    index = np.zeros((1, 8, 8), np.uint8)
    index[0, 4:] = 1
    path = make_scene(
        shape=(8, 8), bands=1, data=index, colormap={0: (9, 8, 7, 255), 1: (1, 2, 3, 255)}
    )
    colors = render_picture(open_scene(path))
    assert tuple(colors[:3, 0, 0]) == (9, 8, 7)
    assert tuple(colors[:3, 7, 7]) == (1, 2, 3)


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_large_scenes_are_made_small(make_scene: Make, tmp_path: Path) -> None:
    path = make_scene(shape=(300, 2500))
    scene = open_scene(path)
    assert render_picture(scene).shape == (4, 123, 1024)
    Preview(scene, Window(0, 0, 300, 300)).write(path, tmp_path / "p.png")
    with rasterio.open(tmp_path / "p.png") as png:
        assert png.shape == (300, 300 + 8 + 1024)
    assert [p.name for p in tmp_path.iterdir() if p.suffix != ".tif"] == ["p.png"]


@pytest.mark.parametrize("value", [0, 7])
def test_flat_values_are_no_division_by_zero(make_scene: Make, value: int) -> None:
    data = np.full((3, 8, 8), value, np.float32)
    assert np.isfinite(
        render_picture(open_scene(make_scene(shape=(8, 8), dtype="float32", data=data)))
    ).all()
