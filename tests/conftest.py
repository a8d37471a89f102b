"""Fixtures for every test."""

from __future__ import annotations

import itertools
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from geotrans.scene import open_scene
from geotrans.tasks import open_bundle
from geotrans.translation import Job
from geotrans.translation.options import PixelOptions, RunOptions
from geotrans.translation.plan import plan_job
from tests.helpers.bundles import identity_bundle
from tests.helpers.scenes import write_scene
from tests.helpers.store import Bucket, serve_store

# What a shell runs in the background ignores Ctrl-C, and so would every process a test starts.
signal.signal(signal.SIGINT, signal.default_int_handler)

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


@pytest.fixture(scope="session")
def store() -> Iterator[str]:
    """URL of an S3 server; skips where a library for it is missing."""
    pytest.importorskip("obstore")
    pytest.importorskip("moto.server")
    with serve_store() as url:
        yield url


@pytest.fixture
def bucket(store: str, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    """An empty bucket, `s3://shelf`, to which the environment has the keys."""
    for name, value in {
        "AWS_ACCESS_KEY_ID": "somebody",
        "AWS_SECRET_ACCESS_KEY": "s3cr3t",
        "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": store,
    }.items():
        monkeypatch.setenv(name, value)
    return Bucket(store)


@pytest.fixture
def make_job(make_scene: Callable[..., Path], tmp_path: Path) -> Callable[..., Job]:
    """`make_job(tile=16, ...)`: a job of the identity task over a coded scene."""

    def make(*, tile: int = 16, halo: int = 3, seed: int = 0, **scene: Any) -> Job:
        bundle = identity_bundle(
            tmp_path / "same.safetensors", dtype=scene.get("dtype", "uint8"), halo=halo, align=2
        )
        source = open_scene(make_scene(**scene))
        return plan_job(source, open_bundle(bundle), PixelOptions(seed=seed), RunOptions(tile=tile))

    return make
