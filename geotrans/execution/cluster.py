"""A Dask cluster that runs our work: calls on its workers, tasks, and workers that are lost.

Before any work it is checked that every worker sees the folder, the scene and the bundle.
"""

from __future__ import annotations

import logging
import os
import threading
import time
import uuid
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import wait
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

from geotrans.errors import ClusterError, GeotransError, OutputError, message_of, option
from geotrans.execution.batching import CellBatches
from geotrans.execution.health import WorkerRegistry, get_address, translate_dask_errors
from geotrans.execution.work import Cell, Work, submit_items
from geotrans.execution.work_file import WorkFile, check_worker, run_items
from geotrans.runtime.caches import clear_caches
from geotrans.runtime.threads import run_in_thread

_log = logging.getLogger(__name__)

# How long a shared folder may take to show what another machine wrote; how long a cluster may take
# to release its tasks and caches at the end; how often to check that it still has workers, s.
_FOLDER_SYNC_S, _CLEANUP_S, _POLL_S = 10.0, 5.0, 2.0


class Cluster:
    """A Dask cluster whose workers can do our work. Its methods may be called by many threads.

    Args:
        client: Connection to its scheduler.
        first: Workers that are used, until others replace those that leave; all unless given.
    """

    def __init__(self, client: Any, *, first: Collection[str] | None = None) -> None:
        self.client = client
        self._registry = WorkerRegistry(client)
        self._n_max = None if first is None else len(first)
        self._lock = threading.Lock()
        self._chosen = list(first or ())
        # Workers that may run a task, by its key.
        self._allowed: dict[Any, frozenset[str]] = {}
        self._has_warned = False

    @property
    def address(self) -> str:
        """Address of its scheduler."""
        return get_address(self.client)

    @property
    def workers(self) -> dict[str, int]:
        """Threads of each worker by its address, as of a few seconds ago.

        Raises:
            ClusterError: If there has been none for too long.
        """
        available = self._registry.get_workers()
        return available if self._n_max is None else self._choose_workers(available, self._n_max)

    def limit_workers(self) -> Cluster:
        """The same cluster with no more workers than now; new ones only replace lost ones."""
        return Cluster(self.client, first=self.workers)

    def _choose_workers(self, available: dict[str, int], n_max: int) -> dict[str, int]:
        with self._lock:
            kept = [worker for worker in self._chosen if worker in available]
            new = [worker for worker in available if worker not in kept]
            self._chosen = [*kept, *new][:n_max]
            n_unused = len(available) - len(self._chosen)
            if n_unused and not self._has_warned:
                self._has_warned = True
                _log.warning(
                    "%d more workers came than the %d that the memory was divided among; they "
                    "are given nothing unless others leave", n_unused, n_max,
                )  # fmt: skip
            return {worker: available[worker] for worker in self._chosen}

    def call_on_workers[Result](
        self, function: Callable[..., Result], *args: Any, workers: list[str] | None = None
    ) -> dict[str, Result]:
        """Call a function on each worker, at once and beside any task.

        Args:
            function: What to call.
            args: Its arguments.
            workers: Addresses of the workers; all that are used unless given.

        Returns:
            What it returned, by the address of the worker.

        Raises:
            GeotransError: If it fails on any of them; says which.
            ClusterError: If there are none.
        """
        from distributed.comm import CommClosedError

        if workers is None and self._n_max is not None:
            workers = list(self.workers)
        run = partial(self.client.run, function, *args, workers=workers, on_error="return")
        with translate_dask_errors(self.client):
            answers: dict[str, Any] = self.wait_for(run)
        errors = {w: a for w, a in answers.items() if isinstance(a, BaseException)}
        # A worker that died during the call is no longer a worker.
        failures = {w: e for w, e in errors.items() if not isinstance(e, CommClosedError)}
        for worker, error in failures.items():
            more = f" (and {len(failures) - 1} of {len(answers)} more)" if len(failures) > 1 else ""
            if isinstance(error, GeotransError):
                raise type(error)(f"worker {worker}{more}: {message_of(error)}") from error
            raise ClusterError(f"worker {worker}{more}: {type(error).__name__}: {error}") from error
        if len(errors) == len(answers):
            raise ClusterError(
                f"the cluster at {self.address} has lost all its workers; start some"
            )
        return {w: a for w, a in answers.items() if w not in errors}

    def wait_for[Result](self, call: Callable[[], Result]) -> Result:
        """Wait for a call that waits for the cluster, as long as the cluster has workers.

        Raises:
            ClusterError: If there are no workers, or the scheduler is gone or silent, for too long.
        """
        future = run_in_thread(call)
        while wait([future], _POLL_S).not_done:
            self._registry.get_workers()
        return future.result()

    def submit(self, function: Callable[..., Any], *args: Any, key: tuple[Any, ...]) -> Any:
        """Submit a task to any of the workers; see `cancel_stranded` for limited ones.

        Args:
            function: What to call.
            args: Its arguments.
            key: What a dashboard shows; keys with the same first item belong to the same work.

        Returns:
            Dask's future.
        """
        # Without any worker now, the first one that joins may take it.
        workers = None if self._n_max is None else list(self.workers) or None
        key = (*key, uuid.uuid4().hex)  # The same item may be submitted again.
        future = self.client.submit(function, *args, key=key, pure=False, workers=workers)
        if workers is not None:
            self._allowed[key] = frozenset(workers)
        return future

    def get_result(self, future: Any) -> Any:
        """Fetch the result of a finished future, as long as a worker can send it.

        Raises:
            ClusterError: If the workers that hold it have left, or as `wait_for` does.
        """
        transfer = run_in_thread(future.result)
        while wait([transfer], _POLL_S).not_done:
            if self._is_stranded(future, self._registry.get_workers()):
                raise ClusterError(
                    "the workers that the memory was divided among have left with a result that "
                    "nobody else may make"
                )
        self._allowed.pop(future.key, None)
        return transfer.result()

    def cancel_stranded(self, futures: Collection[Any]) -> list[Any]:
        """Cancel, and return, the futures all of whose workers have left.

        Dask never moves a task to a worker other than those it was submitted for, and waits for
        them.
        """
        available = self._registry.get_workers()
        stranded = [future for future in futures if self._is_stranded(future, available)]
        self.cancel(stranded)
        for future in stranded:
            self._allowed.pop(future.key, None)
        return stranded

    def _is_stranded(self, future: Any, available: dict[str, int]) -> bool:
        allowed = self._allowed.get(future.key)
        return allowed is not None and bool(available) and allowed.isdisjoint(available)

    def run[Result](
        self,
        work: Work[Cell, Result],
        cells: Collection[Cell],
        *,
        on_done: Callable[[Result], None],
    ) -> None:
        """Work on cells until all are done; see `run_cells`.

        Raises:
            ClusterError: If the cluster is lost, or workers die of the work itself.
            GeotransError: What the work raises.
        """
        with self.serve(work) as work_file:
            label, batches = make_label(work), CellBatches(cells)

            def finish(batch: list[Cell], future: Any) -> None:
                results, seconds = self.get_result(future)
                batches.finish(batch, len(results), seconds)
                for result in results:
                    on_done(result)

            def capacity() -> int:
                return sum(min(n, work.concurrency) + 2 for n in self.workers.values()) or 1

            submit_items(
                lambda batch: self.submit(run_items, work_file, batch, key=(label, *batch[0])),
                batches.take,
                capacity=lambda: (
                    sum(min(n, work.concurrency) + 2 for n in self.workers.values()) or 1
                ),
                on_done=finish,
                cancel=self.cancel,
                cancel_stranded=self.cancel_stranded,
            )

    @contextmanager
    def serve(self, work: Work[Any, Any], *, name: str = "errand") -> Iterator[WorkFile]:
        """Write some work into its folder, and check that every worker can do it.

        Args:
            work: The work.
            name: What the name of its file begins with.

        Yields:
            The file, which `run_item` takes; it is removed afterwards.

        Raises:
            ClusterError: If the cluster is lost meanwhile.
            GeotransError: If a worker cannot do the work; says which.
        """
        work_file = WorkFile.write(work, name)
        try:
            with translate_dask_errors(self.client):
                self._check_workers(work_file)
                yield work_file
        finally:
            for path in work_file.path.parent.glob(f"{work_file.path.name}*"):
                path.unlink(missing_ok=True)

    def cancel(self, futures: Collection[Any]) -> None:
        """Cancel futures, also those that are running."""
        if futures:
            self._call_at_end(partial(self.client.cancel, list(futures), force=True))

    def clear_worker_caches(self) -> None:
        """Have every worker release all that it keeps for us."""
        self._call_at_end(partial(self.client.run, clear_caches, on_error="ignore"))

    def _call_at_end(self, call: Callable[[], Any]) -> None:
        """Call something for cleanup, with a time limit; its errors would hide why the run ends."""
        if self.client.status == "running":
            with suppress(Exception):
                run_in_thread(call).result(_CLEANUP_S)

    def _check_workers(self, work_file: WorkFile) -> None:
        folder = work_file.path.parent
        for worker, (host, name) in self.call_on_workers(check_worker, work_file).items():
            marker, deadline = folder / name, time.monotonic() + _FOLDER_SYNC_S
            while not marker.exists():
                os.listdir(folder)  # Makes a network file system refresh.
                if time.monotonic() > deadline:
                    raise OutputError(
                        f"worker {worker} on {host} has a {folder} of its own; choose "
                        f"{option('out')} in a folder that it shares with this machine, or run in "
                        "one if products go to a store"
                    )
                time.sleep(0.05)
            marker.unlink()


def make_label(work: Work[Any, Any]) -> str:
    """What a dashboard groups the tasks of some work by; what follows "-" tells runs apart."""
    return f"{work.name.replace('-', '_')}-{uuid.uuid4().hex}"
