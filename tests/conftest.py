"""Fixtures for every test, and how tests are shared among processes."""

from __future__ import annotations

import itertools
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

# Before anything imports torch: where tests run side by side, each has a core for itself, and so
# have the processes it starts.
if int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")) > 1:
    for _threads in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(_threads, "1")

import psutil
import pytest
from hypothesis import HealthCheck, settings

from geotrans.runtime.process import n_cores
from geotrans.translation.options import PixelOptions, RunOptions
from tests.helpers.cluster import RealCluster, real_cluster
from tests.helpers.store import Bucket, serve_store

# What a shell runs in the background ignores Ctrl-C, and so would every process a test starts.
signal.signal(signal.SIGINT, signal.default_int_handler)

# A loaded machine is no failure, and a failure must come back on the next run.
settings.register_profile(
    "thorough",
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
# What `pytest` alone looks at; `--hypothesis-profile thorough` looks at more.
settings.register_profile("quick", settings.get_profile("thorough"), max_examples=25)
settings.load_profile("quick")

# What a process of tests may need: torch, a cluster's two workers, GDAL's cache.
_BYTES_PER_PROCESS = 3 * 2**30
_MOST_PROCESSES = 8


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int | None:
    """`-n auto`: a process for each core, as far as memory goes."""
    if "PYTEST_XDIST_AUTO_NUM_WORKERS" in os.environ:
        return None
    n_fitting = psutil.virtual_memory().total // _BYTES_PER_PROCESS
    return max(1, min(n_cores(), n_fitting, _MOST_PROCESSES))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """A file goes to one process, so that its fixtures are made once; so does a group of files."""
    from xdist.scheduler import LoadGroupScheduling

    class FilesAndGroups(LoadGroupScheduling):  # type: ignore[misc]  # xdist is not typed
        def _split_scope(self, nodeid: str) -> str:
            scope: str = super()._split_scope(nodeid)
            return nodeid.split("::", 1)[0] if scope == nodeid else scope

    return FilesAndGroups(config, log) if config.getvalue("dist") == "loadgroup" else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Groups first: what takes longest must not begin last."""
    items.sort(key=lambda item: item.get_closest_marker("xdist_group") is None)


@pytest.fixture
def make_scene(tmp_path: Path) -> Callable[..., Path]:
    """`make_scene(crs, shape, gsd_m, dtype, nodata, ...)` writes a coded GeoTIFF; see helpers."""
    from tests.helpers.scenes import write_scene

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


@pytest.fixture(scope="session")
def dask_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealCluster]:
    """A scheduler and two workers, which a test leaves as they are: it kills `one_more()`.

    What uses it is in `xdist_group("serial")`, as is what measures time or memory: one process runs
    all of these, one after the other.
    """
    with real_cluster(tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster


@pytest.fixture
def make_job(make_scene: Callable[..., Path], tmp_path: Path) -> Callable[..., Any]:
    """`make_job(tile=16, ...)`: a job of the identity task over a coded scene."""
    from geotrans.scene import open_scene
    from geotrans.tasks import open_bundle
    from geotrans.translation.plan import plan_job
    from tests.helpers.bundles import identity_bundle

    def make(*, tile: int = 16, halo: int = 3, seed: int = 0, **scene: Any) -> Any:
        bundle = identity_bundle(
            tmp_path / "same.safetensors", dtype=scene.get("dtype", "uint8"), halo=halo, align=2
        )
        source = open_scene(make_scene(**scene))
        return plan_job(source, open_bundle(bundle), PixelOptions(seed=seed), RunOptions(tile=tile))

    return make
