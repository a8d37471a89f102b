"""What every scene seen otherwise has of the one beneath."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from odc.geo.geobox import GeoBox

from geotrans.errors import SceneError
from geotrans.grid import Window
from geotrans.scene import open_scene, warp_to_grid

MakeScene = Callable[..., Path]


def test_a_file_that_is_another_here_is_told_of_beneath_a_view(make_scene: MakeScene) -> None:
    path = make_scene()
    scene = open_scene(path)
    half = GeoBox((24, 32), scene.geobox.affine @ scene.geobox.affine.scale(2), scene.geobox.crs)
    view = warp_to_grid(scene, half)
    assert view.files == scene.files
    view.verify()
    view.close()
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(SceneError, match="bytes here and"):
        view.verify()


def test_a_window_is_read_decimated(make_scene: MakeScene) -> None:
    scene = open_scene(make_scene())
    window = Window(0, 0, 64, 48)
    small = scene.read(window, [2], out_shape=(24, 32))
    assert small.data.shape == (1, 24, 32)
    assert np.array_equal(small.data, scene.overview(32, [2]).data)
    with pytest.raises(SceneError, match="it holds 64 x 48 px"):
        scene.read(Window(40, 0, 64, 48), out_shape=(24, 32))
