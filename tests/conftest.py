"""Fixtures for every test."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tests.helpers.scenes import write_scene

# A loaded machine is no failure, and a failure must come back on the next run.
settings.register_profile(
    "geotrans",
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("geotrans")


@pytest.fixture
def make_scene(tmp_path: Path) -> Callable[..., Path]:
    """`make_scene(crs, shape, gsd_m, dtype, nodata, ...)` writes a coded GeoTIFF; see helpers."""
    numbers = itertools.count()

    def make(
        crs: str | None = "EPSG:32611",
        shape: tuple[int, int] = (48, 64),
        gsd_m: float = 10.0,
        dtype: str = "uint8",
        nodata: float | None = None,
        *,
        name: str | None = None,
        **options: Any,
    ) -> Path:
        path = tmp_path / (name or f"scene{next(numbers)}.tif")
        return write_scene(
            path, crs=crs, shape=shape, gsd_m=gsd_m, dtype=dtype, nodata=nodata, **options
        )

    return make


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Folder of real rasters, for tests marked `realdata`; skips where it is absent."""
    beside = Path(__file__).parents[2] / "shared" / "data"
    folder = Path(os.environ.get("GEOTRANS_DATA", beside))
    if not folder.is_dir():
        pytest.skip(f"no real rasters at {folder}; set GEOTRANS_DATA")
    return folder
