from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rioxarray
import xarray as xr
from affine import Affine

from geotrans.errors import SceneError
from geotrans.grid import Window
from geotrans.scene import open_scene, read_padded
from tests.helpers.scenes import coded

# rioxarray multiplies transforms by `*`, which affine 3 is about to deprecate.
pytestmark = pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning")

MakeScene = Callable[..., Path]
WHOLE = Window(0, 0, 64, 48)


def _array(shape: tuple[int, int] = (48, 64), **attrs: Any) -> xr.DataArray:
    height, width = shape
    array = xr.DataArray(
        coded(shape),
        dims=("band", "y", "x"),
        coords={
            "band": ["red", "green", "blue"],
            "y": 4e6 - 10 * (np.arange(height) + 0.5),
            "x": 5e5 + 10 * (np.arange(width) + 0.5),
        },
        attrs=attrs,
    )
    return array.rio.write_crs("EPSG:32611")


@pytest.mark.parametrize("chunks", [None, {"x": 20, "y": 20}])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"crs": "EPSG:4326", "dtype": "int16", "nodata": -9999},
        {"rotation": 20.0},
        {"dtype": "float32", "nodata": float("nan")},
    ],
    ids=str,
)
def test_what_rioxarray_opens_is_what_the_file_is(
    make_scene: MakeScene, options: dict[str, Any], chunks: dict[str, int] | None
) -> None:
    invalid = np.zeros((48, 64), bool)
    invalid[5:9, 7:30] = "nodata" in options
    path = make_scene(invalid=invalid, scales=[2.0] * 3, offsets=[1.0] * 3, **options)
    file = open_scene(path)
    with rioxarray.open_rasterio(path, chunks=chunks) as array:
        scene = open_scene(array)
        assert scene.shape == file.shape
        assert scene.geobox.crs == file.geobox.crs
        assert scene.geobox.affine.almost_equals(file.geobox.affine, 1e-9)
        assert [b.name for b in scene.bands] == ["red", "green", "blue"]
        assert [(b.scale, b.offset) for b in scene.bands] == [(2.0, 1.0)] * 3
        for window in (WHOLE, Window(3, 2, 30, 11)):
            ours, truth = scene.read(window, [3, 1]), file.read(window, [3, 1])
            assert np.array_equal(ours.valid, truth.valid)
            assert np.array_equal(ours.data[:, ours.valid], truth.data[:, truth.valid])
        assert bool(scene.notes) == ("rotation" in options)


def test_an_array_made_by_hand() -> None:
    scene = open_scene(_array())
    assert scene.geobox.affine == Affine(10, 0, 5e5, 0, -10, 4e6)
    assert scene.geobox.crs.epsg == 32611
    assert [b.common_name for b in scene.bands] == ["red", "green", "blue"]
    padded = read_padded(scene, Window(-5, -5, 80, 70))
    assert np.array_equal(
        padded.data, np.pad(coded((48, 64)), ((0, 0), (5, 17), (5, 11)), mode="reflect")
    )


def test_dimensions_come_in_any_order_and_with_one_time() -> None:
    array = _array().transpose("y", "x", "band").expand_dims(time=["2020-01-01"])
    assert np.array_equal(open_scene(array).read(WHOLE).data, coded((48, 64)))
    flat = _array().sel(band="green")
    assert np.array_equal(open_scene(flat).read(WHOLE).data, coded((48, 64))[1:2])


def test_what_odc_stac_loads_opens() -> None:
    from odc.geo.geobox import GeoBox
    from odc.geo.xr import xr_zeros

    geobox = GeoBox((12, 15), Affine(0.1, 0, 10, 0, -0.1, 50), "EPSG:4326")
    array = xr_zeros(geobox, "int16", time=["2020-06-01"]).rename("nir")
    array.attrs["nodata"] = -999
    scene = open_scene(array)
    assert scene.geobox.affine.almost_equals(geobox.affine, 1e-9)
    assert scene.geobox.crs == geobox.crs
    assert scene.nodata == -999
    assert scene.bands[0].name == "nir"


def test_a_grid_with_rows_upwards_is_taken_as_it_is() -> None:
    array = _array().isel(y=slice(None, None, -1))
    scene = open_scene(array)
    assert scene.geobox.affine == Affine(10, 0, 5e5, 0, 10, 4e6 - 480)
    assert np.array_equal(scene.read(WHOLE).data, coded((48, 64))[:, ::-1])


def test_only_the_blocks_of_a_window_are_computed() -> None:
    import dask.array as da

    computed = []

    def block(block_info: Any = None) -> np.ndarray:
        computed.append(block_info[None]["chunk-location"])
        return np.ones((3, 16, 16), "uint8")

    lazy = da.map_blocks(block, chunks=((3,), (16,) * 3, (16,) * 4), dtype="uint8")
    scene = open_scene(_array().copy(data=lazy))
    scene.read(Window(20, 20, 10, 10))
    assert set(computed) == {(0, 1, 1)}


@pytest.mark.parametrize("lazy", [False, True])
def test_copies_read_the_same_and_know_what_they_are(lazy: bool) -> None:
    array = _array().chunk({"x": 20}) if lazy else _array()
    scene = open_scene(array)
    again = pickle.loads(pickle.dumps(scene))
    assert np.array_equal(again.read(WHOLE).data, scene.read(WHOLE).data)
    assert again.identity == scene.identity
    changed = array.copy(data=array.data + 1)
    assert open_scene(changed).identity != scene.identity


def test_nodata_and_nan_are_not_valid() -> None:
    array = _array().astype("float32")
    array[0, 3, 4] = np.nan
    array[1, 5, 6] = -1
    array.attrs["_FillValue"] = -1.0
    valid = open_scene(array).read(WHOLE).valid
    assert not valid[3, 4]
    assert not valid[5, 6]
    assert valid.sum() == 48 * 64 - 2


def test_overview_takes_a_pixel_a_cell() -> None:
    patch = open_scene(_array()).overview(16)
    assert patch.data.shape == (3, 12, 16)
    assert np.array_equal(patch.data, coded((48, 64))[:, 2::4, 2::4])


def test_an_array_without_coordinates_lies_on_its_own_pixels() -> None:
    scene = open_scene(xr.DataArray(coded((48, 64)), dims=("band", "y", "x")))
    assert scene.geobox.affine == Affine.identity()
    assert scene.geobox.crs is None
    assert len(scene.notes) == 2
    assert [b.name for b in scene.bands] == [None] * 3


def test_uneven_coordinates_are_said() -> None:
    array = _array().isel(x=[0, 1, 2, 5, 6])
    with pytest.raises(SceneError, match="coordinate x of the DataArray is not evenly spaced"):
        open_scene(array)


def test_several_times_are_said() -> None:
    array = xr.concat([_array(), _array()], dim="time")
    with pytest.raises(SceneError, match=r"more than one scene along time \(2\)"):
        open_scene(array)


def test_an_array_without_a_grid_is_said() -> None:
    with pytest.raises(SceneError, match=r"has dimensions a, b, .*rename two of them to y and x"):
        open_scene(xr.DataArray(np.zeros((3, 4)), dims=("a", "b")))
