"""A real Dask cluster of processes, which die when a test wants them to."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import geotrans

_PACKAGE = str(Path(geotrans.__file__).parents[1])


@dataclass
class RealCluster:
    """Processes of a scheduler and its workers.

    Attributes:
        folder: Where they run, and where the scheduler's file is.
        scheduler: Process of the scheduler.
        workers: Processes of the workers, which nobody starts again.
    """

    folder: Path
    scheduler: subprocess.Popen[bytes]
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def file(self) -> Path:
        """The scheduler's file."""
        return self.folder / "scheduler.json"

    @property
    def address(self) -> str:
        """The scheduler's address."""
        return str(json.loads(self.file.read_text())["address"])

    def add_worker(
        self, *words: str, env: Mapping[str, str] | None = None, before: tuple[str, ...] = ()
    ) -> subprocess.Popen[bytes]:
        """Start a worker of one thread; `before` is a command that runs it."""
        command = [
            *before, sys.executable, "-m", "distributed.cli.dask_worker", self.address,
            "--no-nanny", "--no-dashboard", "--nthreads", "1", *words,
        ]  # fmt: skip
        worker = _start(command, self.folder, env)
        self.workers.append(worker)
        return worker

    def wait_for_workers(self, n: int) -> None:
        """Wait until there are so many."""
        from distributed import Client

        with Client(self.address, set_as_default=False) as client:
            until = time.monotonic() + 60
            while len(client.nthreads()) != n:
                assert time.monotonic() < until, f"not {n} workers"
                time.sleep(0.02)

    def wait_until_idle(self) -> None:
        """Wait until no worker is at anything; that of a killed client ends what it began."""
        from distributed import Client

        with Client(self.address, set_as_default=False) as client:
            until = time.monotonic() + 60
            while any(client.run(_n_running).values()):
                assert time.monotonic() < until, "workers go on and on"
                time.sleep(0.05)

    def replace_dead(self) -> None:
        """Start as many workers as have died, and wait for them."""
        dead = [worker for worker in self.workers if worker.poll() is not None]
        for worker in dead:
            self.workers.remove(worker)
            self.add_worker()
        self.wait_for_workers(len(self.workers))

    @contextmanager
    def one_more(
        self, *, env: Mapping[str, str] | None = None, before: tuple[str, ...] = ()
    ) -> Iterator[subprocess.Popen[bytes]]:
        """Another worker that has come, for a while."""
        n = len(self.workers)
        worker = self.add_worker(env=env, before=before)
        try:
            self.wait_for_workers(n + 1)
            yield worker
        finally:
            self.workers.remove(worker)
            worker.kill()
            worker.wait()
            self.wait_for_workers(n)


def _start(
    command: list[str], folder: Path, env: Mapping[str, str] | None = None
) -> subprocess.Popen[bytes]:
    found = {**os.environ, "PYTHONPATH": _PACKAGE, "MALLOC_ARENA_MAX": "1", **(env or {})}
    with (folder / "log.txt").open("ab") as log:
        return subprocess.Popen(command, cwd=folder, env=found, stdout=log, stderr=log)


def _n_running(dask_worker: Any) -> int:
    return len(dask_worker.state.all_running_tasks)  # Cancelled ones, too.


def is_left_empty(client: Any) -> bool:
    """Whether its scheduler forgets all tasks within 10 s; letting go takes a while."""
    until = time.monotonic() + 10
    while client.run_on_scheduler(lambda dask_scheduler: len(dask_scheduler.tasks)):
        if time.monotonic() > until:
            return False
        time.sleep(0.05)
    return True


@contextmanager
def real_cluster(folder: Path, *, workers: int = 2) -> Iterator[RealCluster]:
    """A scheduler on a free port of this machine, and some workers that have come."""
    folder.mkdir(exist_ok=True)
    command = [
        sys.executable, "-m", "distributed.cli.dask_scheduler", "--host", "127.0.0.1",
        "--port", "0", "--no-dashboard", "--scheduler-file", "scheduler.json",
    ]  # fmt: skip
    cluster = RealCluster(folder, _start(command, folder))
    try:
        until = time.monotonic() + 60
        while not cluster.file.exists() or not cluster.file.stat().st_size:
            assert time.monotonic() < until, "no scheduler"
            time.sleep(0.05)
        for _ in range(workers):
            cluster.add_worker()
        if workers:
            cluster.wait_for_workers(workers)
        yield cluster
    finally:
        for process in (*cluster.workers, cluster.scheduler):
            process.kill()
            process.wait()
