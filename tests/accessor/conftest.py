"""Arrays as rioxarray and odc-stac make them, and a task that needs its context."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

import geotrans.accessor  # noqa: F401  registers `.geotrans`
from tests.helpers.bundles import random_bundle
from tests.helpers.scenes import coded

MakeArray = Callable[..., xr.DataArray]


@pytest.fixture(scope="session")
def noisy_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A task whose product differs wherever its context does."""
    return random_bundle(tmp_path_factory.mktemp("bundle") / "random.safetensors", noise=(1, 8))


@pytest.fixture
def make_array() -> MakeArray:
    """`make_array(shape, dtype, nodata)`: a scene of coded values in memory, 0.6 m."""

    def make(
        shape: tuple[int, int] = (70, 90), *, dtype: str = "uint8", nodata: Any = None
    ) -> xr.DataArray:
        height, width = shape
        array = xr.DataArray(
            coded(shape, dtype=dtype),
            dims=("band", "y", "x"),
            coords={
                "band": ["red", "green", "blue"],
                "y": 4e6 - 0.6 * (np.arange(height) + 0.5),
                "x": 5e5 + 0.6 * (np.arange(width) + 0.5),
            },
            name="scene",
        )
        array = array.rio.write_crs("EPSG:32611")
        return array if nodata is None else array.rio.write_nodata(nodata)

    return make
