"""Dask workers that are processes of this machine."""

from __future__ import annotations

import atexit
import gc
import importlib
import logging
import signal
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import wait
from contextlib import ExitStack, contextmanager
from functools import partial

from geotrans.execution.cluster import Cluster
from geotrans.runtime.process import n_cores
from geotrans.runtime.threads import run_in_thread, wait_interruptibly


@contextmanager
def start_workers(
    cluster: Cluster | None, n_workers: int, *, imports: Sequence[str] = ()
) -> Iterator[Callable[[], Cluster | None]]:
    """Start the workers of a run while it is planned.

    Args:
        cluster: Cluster whose workers do the work, if there is one.
        n_workers: Processes of this machine that do it otherwise; 1 uses threads of this process.
        imports: Modules that workers import meanwhile, which takes a second or two.

    Yields:
        A function that waits for the workers and returns their cluster, or None.
    """
    if cluster is not None and imports:
        # An import that fails here fails again, and is reported, when workers are checked.
        run_in_thread(
            partial(cluster.call_on_workers, _import_modules, imports), name="start workers"
        )
    if cluster is not None or n_workers <= 1:
        yield lambda: cluster
        return
    with ExitStack() as stack:
        local = local_cluster(n_workers, imports=imports)
        pending = run_in_thread(lambda: stack.enter_context(local), name="start workers")
        try:
            yield lambda: wait_interruptibly(pending)
        finally:
            wait([pending])  # Processes can be ended only once they have started.


@contextmanager
def local_cluster(n_workers: int, *, imports: Sequence[str] = ()) -> Iterator[Cluster]:
    """Start worker processes of one thread each, whose networks share the cores."""
    import dask
    from distributed import Client, LocalCluster

    environ = {
        "OMP_NUM_THREADS": str(max(1, n_cores() // n_workers)),
        # Threads start before the network is loaded: memory arenas of their own are too small
        # for its layers, and each layer would take and return its memory by a system call.
        "MALLOC_ARENA_MAX": "1",
    }
    settings = {
        "distributed.nanny.pre-spawn-environ": environ,
        "distributed.worker.memory.terminate": False,
        "distributed.worker.preload": list(imports),
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
        Client(cluster, set_as_default=False) as client,
    ):
        client.run(_silence_worker)
        yield Cluster(client)


def _import_modules(modules: Sequence[str]) -> None:
    for name in modules:
        importlib.import_module(name)


def _silence_worker() -> None:
    """Leave warnings and Ctrl-C, which a terminal sends to every process, to the main process."""
    warnings.simplefilter("ignore")
    atexit.register(gc.freeze)  # Else a process that ends collects garbage in all of torch.
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.SIG_IGN)
