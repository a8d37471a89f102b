"""What `odc.stac.load` gives: a dataset with time, lazy or in memory."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import odc.stac
import pystac
import pytest
import rasterio
import xarray as xr
from rasterio.warp import transform_bounds

import geotrans.accessor  # noqa: F401  registers `.geotrans`
from tests.helpers.scenes import coded, write_scene

pytestmark = [
    # rioxarray and odc-stac multiply transforms by `*`, which affine 3 is about to deprecate.
    pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning"),
    # rasterio silences this about arrays of its own, in a way that is not safe among threads.
    pytest.mark.filterwarnings(
        "ignore:Dataset has no geotransform:rasterio.errors.NotGeoreferencedWarning"
    ),
    # odc-geo 0.5 calls what shapely 2.2 deprecates.
    pytest.mark.filterwarnings("ignore:The 'shapely.ops.transform:DeprecationWarning"),
]

BANDS = ("red", "green", "blue")
EXACT = {"precision": "float32", "tile": 32}
SHAPE = (70, 90)
_PROJECTION = "https://stac-extensions.github.io/projection/v2.0.0/schema.json"
_RASTER = "https://stac-extensions.github.io/raster/v1.1.0/schema.json"


def _item(folder: Path, day: int, pixels: np.ndarray) -> pystac.Item:
    """A scene as archives hold it: one file a band, and an item over them."""
    files = [
        write_scene(
            folder / f"{day}_{band}.tif", bands=[band], data=pixels[[i]], shape=SHAPE,
            gsd_m=0.6, nodata=7,
        )
        for i, band in enumerate(BANDS)
    ]  # fmt: skip
    with rasterio.open(files[0]) as file:
        bbox = transform_bounds(file.crs, "EPSG:4326", *file.bounds)
        grid = {"proj:shape": list(file.shape), "proj:transform": list(file.transform)[:6]}
    west, south, east, north = bbox
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    item = pystac.Item(
        f"scene_{day}", {"type": "Polygon", "coordinates": [ring]}, list(bbox),
        datetime(2020, 6, day, tzinfo=UTC), {"proj:code": "EPSG:32611"},
        stac_extensions=[_PROJECTION, _RASTER],
    )  # fmt: skip
    for band, path in zip(BANDS, files, strict=True):
        fields = {**grid, "raster:bands": [{"data_type": "uint8", "nodata": 7}]}
        item.add_asset(band, pystac.Asset(str(path), extra_fields=fields, roles=["data"]))
    return item


@pytest.fixture
def steps() -> list[np.ndarray]:
    """Pixels of two days, the second with a hole."""
    first = coded(SHAPE, avoid=7)
    second = 255 - first
    second[second == 7] = 8
    second[:, 10:30, 20:40] = 7
    return [first, second]


@pytest.fixture
def items(tmp_path: Path, steps: list[np.ndarray]) -> list[pystac.Item]:
    return [_item(tmp_path, 1 + i, pixels) for i, pixels in enumerate(steps)]


@pytest.mark.parametrize("chunks", [None, {"x": 37, "y": 41}], ids=["in memory", "lazy"])
def test_a_series_is_translated_step_by_step(
    items: list[pystac.Item], steps: list[np.ndarray], noisy_bundle: Path, chunks: Any
) -> None:
    series = odc.stac.load(items, bands=BANDS, chunks=chunks)
    assert dict(series.sizes) == {"time": 2, "y": 70, "x": 90}
    product = series.geotrans.translate(noisy_bundle, **EXACT)
    assert all((var.chunks is None) == (chunks is None) for var in product.data_vars.values())
    assert list(product.data_vars) == list(BANDS)
    assert product["time"].variable.equals(series["time"].variable)
    assert product.odc.geobox == series.odc.geobox
    for i, pixels in enumerate(steps):
        alone = xr.DataArray(
            pixels, dims=("band", "y", "x"), name="alone",
            coords={"band": [*BANDS], "y": series["y"], "x": series["x"]},
        ).rio.write_crs("EPSG:32611").rio.write_nodata(7)  # fmt: skip
        expected = alone.geotrans.translate(noisy_bundle, **EXACT)
        assert np.array_equal(product.isel(time=i).to_dataarray(), expected)
        assert np.array_equal(product["valid"][i], expected["valid"])
    assert product["valid"][0].all()
    assert not product["valid"][1, 10:30, 20:40].any()


def test_what_is_read_onto_another_grid_translates_too(
    items: list[pystac.Item], noisy_bundle: Path
) -> None:
    grid = odc.stac.load(items, bands=BANDS, chunks={}).odc.geobox.zoom_out(2)
    coarse = odc.stac.load(items, bands=BANDS, geobox=grid, chunks={"x": 20}, resampling="average")
    lazy = coarse.geotrans.translate(noisy_bundle, any_gsd=True, **EXACT)
    at_once = coarse.load().geotrans.translate(noisy_bundle, any_gsd=True, **EXACT)
    assert lazy.odc.geobox == grid
    xr.testing.assert_equal(lazy.compute(), at_once)
