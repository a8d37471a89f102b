"""A Dask cluster at our work: what its workers are told, asked and given, and what they lack.

Before any work it is checked that they see the folder, the scene and the bundle.
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

# How long a shared folder may take to show what another machine wrote, a cluster that is left to
# drop what it was given; and how often to look whether one that is waited for is still there, s.
_FOLDER_SYNC_S, _CLEANUP_S, _POLL_S = 10.0, 5.0, 2.0


class Cluster:
    """A Dask cluster whose workers can do our work. Its methods may be called by many threads.

    Args:
        client: Connection to its scheduler.
        first: Workers that are asked and given anything, until others take their places; all
            unless given.
    """

    def __init__(self, client: Any, *, first: Collection[str] | None = None) -> None:
        self.client = client
        self._roll = WorkerRegistry(client)
        self._most = None if first is None else len(first)
        self._choosing = threading.Lock()
        self._chosen = list(first or ())
        self._given: dict[Any, frozenset[str]] = {}
        self._is_full = False

    @property
    def address(self) -> str:
        """Of its scheduler."""
        return get_address(self.client)

    @property
    def workers(self) -> dict[str, int]:
        """Threads of each worker by its address, as of a few seconds ago.

        Raises:
            ClusterError: If there has been none for too long.
        """
        found = self._roll.call()
        return found if self._most is None else self._choose(found, self._most)

    def closed(self) -> Cluster:
        """The same with the workers it has now; who comes later takes the place of who left."""
        return Cluster(self.client, first=self.workers)

    def _choose(self, found: dict[str, int], most: int) -> dict[str, int]:
        with self._choosing:
            stayed = [worker for worker in self._chosen if worker in found]
            came = [worker for worker in found if worker not in stayed]
            self._chosen = [*stayed, *came][:most]
            n_left_out = len(found) - len(self._chosen)
            if n_left_out and not self._is_full:
                self._is_full = True
                _log.warning(
                    "%d more workers came than the %d that the memory was divided among; they "
                    "are given nothing unless others leave", n_left_out, most,
                )  # fmt: skip
            return {worker: found[worker] for worker in self._chosen}

    def ask[Result](
        self, function: Callable[..., Result], *words: Any, workers: list[str] | None = None
    ) -> dict[str, Result]:
        """What a function returns on each worker, at once and beside any task.

        Args:
            function: What to call there.
            words: What with.
            workers: Addresses of those to ask; all that may be asked unless given.

        Raises:
            GeotransError: If it fails on any of them; says which.
            ClusterError: If there are none.
        """
        from distributed.comm import CommClosedError

        if workers is None and self._most is not None:
            workers = list(self.workers)
        run = partial(self.client.run, function, *words, workers=workers, on_error="return")
        with translate_dask_errors(self.client):
            answers: dict[str, Any] = self.wait_for(run)
        failed = {w: a for w, a in answers.items() if isinstance(a, BaseException)}
        # One that died while it was asked is no longer a worker.
        lacking = {w: a for w, a in failed.items() if not isinstance(a, CommClosedError)}
        for worker, error in lacking.items():
            more = f" (and {len(lacking) - 1} of {len(answers)} more)" if len(lacking) > 1 else ""
            if isinstance(error, GeotransError):
                raise type(error)(f"worker {worker}{more}: {message_of(error)}") from error
            raise ClusterError(f"worker {worker}{more}: {type(error).__name__}: {error}") from error
        if len(failed) == len(answers):
            raise ClusterError(
                f"the cluster at {self.address} has lost all its workers; start some"
            )
        return {w: a for w, a in answers.items() if w not in failed}

    def wait_for[Result](self, call: Callable[[], Result]) -> Result:
        """What a call returns that waits for the cluster, while there is anybody to answer.

        Raises:
            ClusterError: If there are no workers, or the scheduler is gone or silent, for too long.
        """
        called = run_in_thread(call)
        while wait([called], _POLL_S).not_done:
            self._roll.call()
        return called.result()

    def submit(self, function: Callable[..., Any], *words: Any, key: tuple[Any, ...]) -> Any:
        """A future of what a function returns on any worker; of a closed cluster, see `stranded`.

        Args:
            function: What to call there.
            words: What with.
            key: What a dashboard shows; one that begins alike belongs to the same work.
        """
        # With nobody there, whoever comes first may have it.
        workers = None if self._most is None else list(self.workers) or None
        key = (*key, uuid.uuid4().hex)  # It may be submitted again.
        future = self.client.submit(function, *words, key=key, pure=False, workers=workers)
        if workers is not None:
            self._given[key] = frozenset(workers)
        return future

    def result(self, future: Any) -> Any:
        """What a future that has ended returns, while there is anybody to give it.

        Raises:
            ClusterError: If those who had it have left, or as `wait_for` does.
        """
        called = run_in_thread(future.result)
        while wait([called], _POLL_S).not_done:
            if self._is_stranded(future, self._roll.call()):
                raise ClusterError(
                    "the workers that the memory was divided among have left with a result that "
                    "nobody else may make"
                )
        self._given.pop(future.key, None)
        return called.result()

    def cancel_stranded(self, futures: Collection[Any]) -> list[Any]:
        """Futures that waited for workers who all have left; takes them back.

        Dask gives what is for some workers to no other, and waits for these.
        """
        there = self._roll.call()
        left = [future for future in futures if self._is_stranded(future, there)]
        self.cancel(left)
        for future in left:
            self._given.pop(future.key, None)
        return left

    def _is_stranded(self, future: Any, there: dict[str, int]) -> bool:
        given = self._given.get(future.key)
        return given is not None and bool(there) and given.isdisjoint(there)

    def run[Result](
        self, work: Work[Cell, Result], cells: Collection[Cell], *, done: Callable[[Result], None]
    ) -> None:
        """Work on cells until all are done; see `run_cells`.

        Raises:
            ClusterError: If the cluster is lost, or workers die of the work itself.
            GeotransError: What the work raises.
        """
        with self.serve(work) as errand:
            label, turns = make_label(work), CellBatches(cells)

            def finish(some: list[Cell], future: Any) -> None:
                results, seconds = self.result(future)
                turns.finish(some, len(results), seconds)
                for result in results:
                    done(result)

            submit_items(
                lambda some: self.submit(run_items, errand, some, key=(label, *some[0])),
                turns.take,
                room=lambda: sum(min(n, work.concurrency) + 2 for n in self.workers.values()) or 1,
                done=finish,
                cancel=self.cancel,
                stranded=self.cancel_stranded,
            )

    @contextmanager
    def serve(self, work: Work[Any, Any], *, name: str = "errand") -> Iterator[WorkFile]:
        """Workers that have been told of some work, and have shown that they can do it.

        Args:
            work: What they are told.
            name: What the file that tells it is called by, in the folder of the work.

        Yields:
            What `perform` takes.

        Raises:
            ClusterError: If the cluster is lost meanwhile.
            GeotransError: If a worker cannot do the work; says which.
        """
        errand = WorkFile.of(work, name)
        try:
            with translate_dask_errors(self.client):
                self._rehearse(errand)
                yield errand
        finally:
            for path in errand.path.parent.glob(f"{errand.path.name}*"):
                path.unlink(missing_ok=True)

    def cancel(self, futures: Collection[Any]) -> None:
        """Take back what was handed out, whatever it is at."""
        if futures:
            self._leave(partial(self.client.cancel, list(futures), force=True))

    def forget(self) -> None:
        """Let workers go of everything they hold for us."""
        self._leave(partial(self.client.run, clear_caches, on_error="ignore"))

    def _leave(self, act: Callable[[], Any]) -> None:
        """Do something in parting, unless nobody answers: why we part is what must be told."""
        if self.client.status == "running":
            with suppress(Exception):
                run_in_thread(act).result(_CLEANUP_S)

    def _rehearse(self, errand: WorkFile) -> None:
        folder = errand.path.parent
        for worker, (host, name) in self.ask(check_worker, errand).items():
            trace, until = folder / name, time.monotonic() + _FOLDER_SYNC_S
            while not trace.exists():
                os.listdir(folder)  # Makes a network file system look again.
                if time.monotonic() > until:
                    raise OutputError(
                        f"worker {worker} on {host} has a {folder} of its own; choose "
                        f"{option('out')} in a folder that it shares with this machine, or run in "
                        "one if products go to a store"
                    )
                time.sleep(0.05)
            trace.unlink()


def make_label(work: Work[Any, Any]) -> str:
    """What a dashboard groups the tasks of some work by; what follows "-" tells runs apart."""
    return f"{work.name.replace('-', '_')}-{uuid.uuid4().hex}"
