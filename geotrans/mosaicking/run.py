"""Computing the tiles that are still missing: on threads, or on processes of a small cluster."""

from __future__ import annotations

import logging
import os
import signal
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from typing import Any

import dask
import dask.threaded
from dask.callbacks import Callback
from dask.delayed import Delayed

from geotrans.errors import DeviceError
from geotrans.mosaicking.graph import Receipt

# Tasks a worker process has or is about to get: one that runs and one that waits.
_QUEUED_PER_WORKER = 2


def run_tiles(
    tasks: Sequence[Delayed],
    *,
    workers: int,
    in_flight: int,
    done: Callable[[Receipt], None],
) -> None:
    """Compute lazy receipts.

    Args:
        tasks: Some of those `lazy_parts` makes.
        workers: Processes; 1 stays in this one.
        in_flight: Tiles read, computed or written at a time in one process with threads.
        done: Called in this process with each receipt as it comes.
    """
    if not tasks:
        return
    if workers == 1:
        _on_threads(tasks, in_flight, done)
    else:
        with _local_cluster(min(workers, len(tasks))) as client:
            _on_cluster(client, tasks, workers * _QUEUED_PER_WORKER, done)


def _on_threads(tasks: Sequence[Delayed], in_flight: int, done: Callable[[Receipt], None]) -> None:
    """Reading and writing of some tiles go on while another holds the translator."""

    def tell(key: Any, result: Any, dsk: Any, state: Any, worker_id: Any) -> None:
        if isinstance(result, Receipt):  # The other kind of task is the job itself.
            done(result)

    # Leaving the pool waits for tiles that are on their way: a run that ends early keeps them. By
    # the name "threads" Dask would import `distributed` first.
    with ThreadPoolExecutor(in_flight, "tile") as pool, Callback(posttask=tell):
        dask.compute(*tasks, scheduler=dask.threaded.get, pool=pool)


def _on_cluster(
    client: Any, tasks: Sequence[Delayed], in_flight: int, done: Callable[[Receipt], None]
) -> None:
    """A bounded number of tasks at the scheduler, whatever the size of the scene."""
    from distributed import KilledWorker, as_completed

    waiting = iter(tasks)
    running = as_completed(client.compute(list(islice(waiting, in_flight))), with_results=True)
    try:
        for _, receipt in running:
            done(receipt)
            for task in islice(waiting, 1):
                running.add(client.compute(task))
    except KilledWorker as error:
        raise DeviceError(
            "worker processes were killed one after another, most likely for want of memory; give "
            "fewer --workers or a smaller --memory"
        ) from error


@contextmanager
def _local_cluster(n_workers: int) -> Iterator[Any]:
    """Worker processes of one thread each that share the cores for the network's arithmetic."""
    from distributed import Client, LocalCluster

    threads = max(1, n_cores() // n_workers)
    settings = {
        "distributed.nanny.pre-spawn-environ": {"OMP_NUM_THREADS": str(threads)},
        "distributed.worker.memory.terminate": False,
    }
    with (
        dask.config.set(settings),
        LocalCluster(
            n_workers=n_workers,
            threads_per_worker=1,
            processes=True,
            dashboard_address=":0",  # Any free port: two runs may share a machine.
            scheduler_kwargs={"dashboard": False},
            memory_limit=0,
            silence_logs=logging.CRITICAL,
        ) as cluster,
        Client(cluster) as client,
    ):
        client.run(_quieten)
        yield client


def _quieten() -> None:
    """Leave warnings and Ctrl-C, which a terminal sends to every process, to the one we serve."""
    warnings.simplefilter("ignore")
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def n_cores() -> int:
    """Cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
