"""Work as workers of a cluster receive it: a pickle file in the folder they share.

Through the scheduler go its path, its hash, and the number of a cell or the name of a scene; no
pixels, weights or plans.
"""

from __future__ import annotations

import hashlib
import pickle
import socket
import threading
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import rasterio

from geotrans import __version__
from geotrans.errors import ClusterError, OutputError, option
from geotrans.execution.batching import run_batch
from geotrans.execution.work import Cell, Work
from geotrans.runtime.caches import clears_cache
from geotrans.runtime.gdal import GDAL_CACHE_BYTES


@dataclass(frozen=True)
class WorkFile:
    """A file that holds some work for the workers of a cluster.

    Attributes:
        path: The file, a pickle. While it exists, results of the work are wanted.
        sha256: Its hash.
        version: The geotrans that wrote it.
    """

    path: Path
    sha256: str
    version: str = __version__

    @classmethod
    def write(cls, work: Work[Any, Any], name: str = "errand") -> WorkFile:
        """Pickle some work into its folder, into a file whose name begins with `name`."""
        import cloudpickle

        content = cloudpickle.dumps(work)
        path = work.folder.absolute() / f"{name}-{uuid.uuid4().hex}"
        try:
            path.write_bytes(content)
        except OSError as error:
            raise OutputError(f"{path.parent} cannot be written: {error.strerror}") from error
        return cls(path, hashlib.sha256(content).hexdigest())

    def read(self) -> Any:
        """Load the work, if this process sees the folder and is of the same version.

        Raises:
            ClusterError: If it is of another version.
            OutputError: If it does not see the folder.
        """
        if self.version != __version__:
            raise ClusterError(
                f"geotrans {self.version} sent the work and {__version__} runs here; install the "
                "same version"
            )
        folder = self.path.parent
        try:
            content = self.path.read_bytes()
        except OSError as error:
            raise OutputError(
                f"does not see {folder} ({error.strerror}); choose {option('out')} in a folder "
                "that every worker mounts under the same path, or run in one if products go to a "
                "store"
            ) from error
        if hashlib.sha256(content).hexdigest() != self.sha256:
            raise OutputError(f"{self.path} was changed by somebody else; start again")
        return pickle.loads(content)


def check_worker(work_file: WorkFile, dask_worker: Any) -> tuple[str, str]:
    """Try everything that an item of some work needs; called once on each worker at the start.

    Args:
        work_file: The work.
        dask_worker: The worker; Dask passes it by this name.

    Returns:
        Name of this machine, and of a file written into the folder, which the sender then sees
        unless there are two folders of one name.
    """
    _load_locked(work_file, dask_worker.state.nthreads).work.check()
    marker = work_file.path.with_name(f"{work_file.path.name}-{uuid.uuid4().hex}")
    try:
        marker.touch()
    except OSError as error:
        raise OutputError(
            f"cannot write into {marker.parent} ({error.strerror}); choose {option('out')} where "
            "every worker may write"
        ) from error
    return socket.gethostname(), marker.name


def run_item(work_file: WorkFile, item: Any) -> Any:
    """Work on one item in this worker."""
    from distributed import get_worker

    loaded = _load_locked(work_file, get_worker().state.nthreads)
    with loaded.semaphore, rasterio.Env(GDAL_CACHEMAX=GDAL_CACHE_BYTES):
        return loaded.work(item)


def run_items(work_file: WorkFile, cells: Sequence[Cell]) -> tuple[list[Any], float]:
    """Work on the first of some cells, and on more while there is time; see `run_batch`."""
    return run_batch(partial(run_item, work_file), cells)


@dataclass(frozen=True)
class _LoadedWork:
    """Some work in this process, and a semaphore of its concurrency."""

    work: Any
    semaphore: threading.Semaphore


_load_lock = threading.Lock()


def _load_locked(work_file: WorkFile, n_threads: int) -> _LoadedWork:
    with _load_lock:
        return _load(work_file, n_threads)


@lru_cache(maxsize=4)
def _load(work_file: WorkFile, n_threads: int) -> _LoadedWork:
    work = work_file.read().for_worker(n_threads, claim=work_file.path)
    return _LoadedWork(work, threading.BoundedSemaphore(work.concurrency))


clears_cache(_load.cache_clear)
