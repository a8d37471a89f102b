"""Work on its way to the workers of a cluster: a file in the folder they share, and its name.

What goes through the scheduler is the name of the file, its hash and the number of a cell or the
name of a scene; pixels, weights and plans do not.
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
    """Some work as workers are told of it.

    Attributes:
        path: File that holds it, pickled. While it is there, its results are wanted.
        sha256: Hash of that file.
        version: The geotrans that wrote it.
    """

    path: Path
    sha256: str
    version: str = __version__

    @classmethod
    def of(cls, work: Work[Any, Any], name: str = "errand") -> WorkFile:
        """Write some work into its folder, into a file whose name begins with `name`."""
        import cloudpickle

        content = cloudpickle.dumps(work)
        path = work.folder.absolute() / f"{name}-{uuid.uuid4().hex}"
        try:
            path.write_bytes(content)
        except OSError as error:
            raise OutputError(f"{path.parent} cannot be written: {error.strerror}") from error
        return cls(path, hashlib.sha256(content).hexdigest())

    def read(self) -> Any:
        """The work, where this process sees the folder and is of the same version.

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


def check_worker(errand: WorkFile, dask_worker: Any) -> tuple[str, str]:
    """Try everything that an item of some work needs; called once on each worker at the start.

    Args:
        errand: The work.
        dask_worker: What Dask passes by this name: the worker.

    Returns:
        Name of this machine, and of a file written into the folder, which the sender then sees
        unless there are two folders of one name.
    """
    _load_locked(errand, dask_worker.state.nthreads).work.check()
    trace = errand.path.with_name(f"{errand.path.name}-{uuid.uuid4().hex}")
    try:
        trace.touch()
    except OSError as error:
        raise OutputError(
            f"cannot write into {trace.parent} ({error.strerror}); choose {option('out')} where "
            "every worker may write"
        ) from error
    return socket.gethostname(), trace.name


def run_item(errand: WorkFile, item: Any) -> Any:
    """Work on one item in this worker."""
    from distributed import get_worker

    held = _load_locked(errand, get_worker().state.nthreads)
    with held.room, rasterio.Env(GDAL_CACHEMAX=GDAL_CACHE_BYTES):
        return held.work(item)


def run_items(errand: WorkFile, cells: Sequence[Cell]) -> tuple[list[Any], float]:
    """Work on the first of some cells, and on more while there is time; see `take_turn`."""
    return run_batch(partial(run_item, errand), cells)


@dataclass(frozen=True)
class _LoadedWork:
    """Some work as this process holds it, and how much of it is done at a time."""

    work: Any
    room: threading.Semaphore


_load_lock = threading.Lock()


def _load_locked(errand: WorkFile, n_threads: int) -> _LoadedWork:
    with _load_lock:
        return _load(errand, n_threads)


@lru_cache(maxsize=4)
def _load(errand: WorkFile, n_threads: int) -> _LoadedWork:
    work = errand.read().for_worker(n_threads, claim=errand.path)
    return _LoadedWork(work, threading.BoundedSemaphore(work.concurrency))


clears_cache(_load.cache_clear)
