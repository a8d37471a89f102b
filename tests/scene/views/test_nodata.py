"""Pixels that the user says are not measured."""

from __future__ import annotations

import math
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio

import geotrans
from geotrans.errors import UsageError
from geotrans.grid import Window
from geotrans.scene import mark_nodata, open_scene
from tests.helpers.bundles import identity_bundle


def _set(path: Path, value: float, rows: slice) -> None:
    with rasterio.open(path, "r+") as file:
        data = file.read()
        data[:, rows] = value
        file.write(data)


def test_a_value_of_the_users_marks_pixels(make_scene: Callable[..., Path]) -> None:
    path = make_scene(dtype="uint16", shape=(20, 30), nodata=7)
    _set(path, 65535, slice(0, 4))
    _set(path, 7, slice(4, 6))
    scene = mark_nodata(open_scene(path), 65535)
    patch = scene.read(Window.whole(scene.shape))
    assert not patch.valid[:6].any(), "what the file marks stays invalid"
    assert patch.valid[6:].all()
    assert scene.nodata == 65535
    assert scene.identity == open_scene(path).identity
    copy = pickle.loads(pickle.dumps(scene))
    assert (copy.read(Window.whole(copy.shape)).valid == patch.valid).all()


def test_a_value_marks_a_dark_collar_and_no_dark_band(make_scene: Callable[..., Path]) -> None:
    """As with GDAL's 0 of several bands: where all are 0, not where one is."""
    path = make_scene(dtype="uint8", shape=(8, 8), count=3)
    _set(path, 0, slice(0, 2))
    with rasterio.open(path, "r+") as file:
        band = file.read(1)
        band[5] = 0
        file.write(band, 1)
    valid = mark_nodata(open_scene(path), 0).read(Window(0, 0, 8, 8)).valid
    assert not valid[:2].any()
    assert valid[5].all()


@pytest.mark.parametrize("nodata", [300, -1, 0.5, math.nan])
def test_a_value_that_bands_cannot_hold_is_refused(
    make_scene: Callable[..., Path], nodata: float
) -> None:
    with pytest.raises(UsageError, match="is no value of scene0, whose bands are uint8"):
        mark_nodata(open_scene(make_scene(dtype="uint8")), nodata)


def test_nan_marks_nothing_new_in_floats(make_scene: Callable[..., Path]) -> None:
    scene = mark_nodata(open_scene(make_scene(dtype="float32")), math.nan)
    assert scene.read(Window(0, 0, 4, 4)).valid.all()


@pytest.mark.parametrize("tile", [16, 40])
def test_marked_pixels_are_invalid_in_the_product(
    make_scene: Callable[..., Path], tmp_path: Path, tile: int
) -> None:
    path = make_scene(shape=(48, 64))
    _set(path, 255, slice(10, 20))
    task = identity_bundle(tmp_path / "same.safetensors")
    out = tmp_path / "out.tif"
    geotrans.translate(path, task, out=out, nodata=255, tile=tile)
    with rasterio.open(out) as product, rasterio.open(path) as source:
        valid = product.dataset_mask() > 0
        assert not valid[10:20].any()
        assert valid[:10].all()
        assert valid[20:].all()
        assert (product.read()[:, valid] == source.read()[:, valid]).all()
        assert '"nodata":255' in product.tags()["GEOTRANS_PARAMS"]


@pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning")
def test_arrays_have_the_same(make_scene: Callable[..., Path], tmp_path: Path) -> None:
    import rioxarray

    import geotrans.accessor  # noqa: F401

    path = make_scene(shape=(48, 64))
    _set(path, 255, slice(10, 20))
    task = identity_bundle(tmp_path / "same.safetensors")
    array = rioxarray.open_rasterio(path, chunks=20)
    product = array.geotrans.translate(task, nodata=255)
    assert product.rio.nodata == 255
    values = np.asarray(product)
    assert (values[:, 10:20] == 255).all()
    assert (values[:, :10] == np.asarray(array)[:, :10]).all()
