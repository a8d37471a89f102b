"""The xarray door."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio

from geotrans.pipeline import translate
from tests.helpers.bundles import identity_bundle, random_bundle

pytestmark = pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning")


def test_a_data_array_is_translated_lazily(make_scene: Callable[..., Path], tmp_path: Path) -> None:
    import dask.array as da
    import rioxarray

    import geotrans.accessor  # noqa: F401  registers `.geotrans`

    bundle = random_bundle(tmp_path / "random.safetensors", noise=(1, 8))
    invalid = np.zeros((90, 80), bool)
    invalid[10:30, 20:40] = True
    path = make_scene(shape=(90, 80), gsd_m=0.6, nodata=5, invalid=invalid)
    from_file = translate(path, task=bundle, precision="float32", tile=64)
    with rioxarray.open_rasterio(path) as array:
        product = array.geotrans.translate(task=bundle, precision="float32", tile=32)
        assert isinstance(product.data, da.Array)
        assert product.dims == ("band", "y", "x")
        assert list(product["band"].values) == ["red", "green", "blue"]
        assert product["x"].equals(array["x"])
        assert product.rio.crs == array.rio.crs
        with rasterio.open(from_file.path) as made:
            assert product.rio.transform() == made.transform
            assert np.array_equal(product["valid"].values, made.dataset_mask() != 0)
            assert np.array_equal(product.values, made.read())


def test_a_part_keeps_the_coordinates_of_its_source(
    make_scene: Callable[..., Path], tmp_path: Path
) -> None:
    import rioxarray

    import geotrans.accessor  # noqa: F401  registers `.geotrans`

    bundle = identity_bundle(tmp_path / "same.safetensors")
    path = make_scene(shape=(40, 60), crs="EPSG:4326", nodata=3)
    with rioxarray.open_rasterio(path) as array:
        left, bottom, right, top = array.rio.bounds()
        middle = (left + right) / 2
        product = array.geotrans.translate(task=bundle, bbox=(middle, bottom, right, top))
        assert product.shape == (3, 40, 30)
        assert product.rio.nodata == 3
        part = array.isel(x=slice(30, 60))
        assert product["x"].equals(part["x"])
        assert np.array_equal(product.values, part.values)
