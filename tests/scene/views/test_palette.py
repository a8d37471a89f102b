from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import xarray as xr

from geotrans.grid import Window
from geotrans.scene import expand_palette, match_bands, open_scene
from geotrans.tasks.spec import BandSpec

MakeScene = Callable[..., Path]


def test_a_palette_raster_is_read_as_colours(make_scene: MakeScene) -> None:
    colors = {0: (9, 9, 9, 255), 1: (10, 20, 30, 255), 2: (200, 100, 50, 255)}
    data = np.random.default_rng(0).integers(0, 3, (1, 48, 64)).astype("uint8")
    indices = open_scene(make_scene(bands=1, data=data, nodata=0, colormap=colors))
    scene = expand_palette(indices)
    wanted = [BandSpec(name=name) for name in ("blue", "red")]
    assert match_bands(scene, wanted) == (3, 1)
    patch = scene.read(Window(0, 0, 64, 48), [3, 1])
    assert np.array_equal(patch.valid, data[0] != 0)
    table = np.array([colors[i][:3] for i in range(3)])
    assert np.array_equal(patch.data, np.moveaxis(table[data[0]], -1, 0)[[2, 0]])
    assert scene.identity == indices.identity
    assert scene.geobox == indices.geobox


def test_other_scenes_stay_as_they_are(make_scene: MakeScene) -> None:
    scene = open_scene(make_scene())
    assert expand_palette(scene) is scene


def test_a_value_without_a_colour_is_black() -> None:
    told = {"flag_values": [0, 1], "flag_colors": "#ff0000 #00ff00"}
    array = xr.DataArray(np.full((1, 4, 4), 9, "uint8"), dims=("band", "y", "x"), attrs=told)
    scene = expand_palette(open_scene(array))
    assert not scene.read(Window(0, 0, 4, 4)).data.any()
