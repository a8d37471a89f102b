"""`kill -9` of the client, a worker or the scheduler at any moment, and the same command again."""

from __future__ import annotations

import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from geotrans.cli.main import run
from tests.helpers.bundles import random_bundle
from tests.helpers.cluster import RealCluster, real_cluster
from tests.helpers.products import digests
from tests.helpers.scenes import write_scene

N_SCENES = 5

# Every kill costs a start of several processes; give GEOTRANS_KILLS=10 to be sure.
N_KILLS = int(os.environ.get("GEOTRANS_KILLS", "2"))

# Each test starts several processes that load torch, and kills some. Quick tests of the same are
# in test_translate.py and test_batch.py, and of workers in tests/execution and tests/archive.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900), pytest.mark.xdist_group("serial")]


@dataclass(frozen=True)
class Case:
    """A command that writes into a folder of its own.

    Attributes:
        command: `translate` or `batch`.
        folder: Where bundle and scenes are, and `whole`, what an unbroken run leaves.
    """

    command: str
    folder: Path

    def words(self, out: Path, *more: str) -> list[str]:
        """The command line that writes into `out`."""
        scenes = {"translate": self.folder / "large.tif", "batch": self.folder / "in"}
        target = {"translate": out / "large.tif", "batch": out}
        extra = ["--no-preview"] if self.command == "translate" else []
        return [
            self.command, str(scenes[self.command]), "-o", str(target[self.command]),
            "--task", str(self.folder / "noisy.safetensors"), "--tile", "40",
            "--precision", "float32", *extra, *more,
        ]  # fmt: skip

    def start(self, out: Path, *more: str) -> subprocess.Popen[str]:
        """The command as a process."""
        return subprocess.Popen(
            [sys.executable, "-m", "geotrans", *self.words(out, *more)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )  # fmt: skip

    def done(self, out: Path) -> dict[Path, int]:
        """What is recorded as done in a folder, and when it was written."""
        if self.command == "translate":
            found = [path for path in out.glob("*.parts/r*") if path.suffix in (".tif", ".empty")]
        else:
            found = [out / f"{name}_random.tif" for name in _recorded(out)]
        return {path: path.stat().st_mtime_ns for path in found}

    def is_whole(self, out: Path) -> bool:
        """Whether a folder holds what an unbroken run leaves, and nothing else."""
        whole = self.folder / "whole" / self.command
        names = {path.name for path in out.iterdir()}
        return names == {path.name for path in whole.iterdir()} and digests(out) == digests(whole)


def _recorded(out: Path) -> list[str]:
    """Scenes that the journal of a folder says are done."""
    journal = out / "journal.sqlite"
    if not journal.exists():
        return []
    try:
        with closing(sqlite3.connect(journal)) as db:
            return [name for (name,) in db.execute("SELECT name FROM scene WHERE state = 'done'")]
    except sqlite3.OperationalError:  # It was killed before it had made its tables.
        return []


@pytest.fixture(scope="module")
def small_archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a bundle and scenes, and what unbroken runs make of them."""
    folder = tmp_path_factory.mktemp("place")
    random_bundle(folder / "noisy.safetensors", noise=(1, 8))
    (folder / "in").mkdir()
    write_scene(folder / "large.tif", shape=(320, 360))
    for i in range(N_SCENES):
        write_scene(folder / "in" / f"scene{i}.tif", shape=(120, 160 + 8 * i))
    for command in ("translate", "batch"):
        out = folder / "whole" / command
        out.mkdir(parents=True)
        assert run(Case(command, folder).words(out)) == 0
    return folder


@pytest.fixture(params=["translate", "batch"])
def case(request: pytest.FixtureRequest, small_archive: Path) -> Case:
    return Case(request.param, small_archive)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    folder = tmp_path / "out"
    folder.mkdir()
    return folder


def _renew(case: Case, out: Path) -> None:
    """Begin anew once everything is done."""
    n_done = len(list(out.glob("*.tif")))
    if n_done == len(list((case.folder / "whole" / case.command).glob("*.tif"))):
        while out.exists():  # Workers of a client that was killed may still write.
            shutil.rmtree(out, ignore_errors=True)
        out.mkdir()


def _check_kept(before: dict[Path, int], now: dict[Path, int]) -> None:
    """What was done has not been done again; parts vanish once they are a product."""
    assert {p: t for p, t in now.items() if p in before and before[p] != t} == {}


def _finish(case: Case, out: Path, *more: str) -> None:
    """The same command once more, to the end."""
    before = case.done(out)
    process = case.start(out, *more)
    _, err = process.communicate(timeout=300)
    assert (process.returncode, err) == (0, "")
    _check_kept(before, case.done(out))
    assert case.is_whole(out)


def _some_parts(out: Path, process: subprocess.Popen[str], n: int) -> None:
    """Wait until so many tiles have been made."""
    seen: set[Path] = set()
    until = time.monotonic() + 300
    while len(seen) < n and process.poll() is None:
        assert time.monotonic() < until
        seen.update(out.glob("*.parts/r*.tif"))
        time.sleep(0.002)


def _seconds(case: Case, out: Path, *more: str) -> float:
    """How long an unbroken run takes."""
    started = time.monotonic()
    _finish(case, out, *more)
    _renew(case, out)
    return time.monotonic() - started


def test_client_and_worker_killed_once(case: Case, dask_cluster: RealCluster, out: Path) -> None:
    process = case.start(out, "--cluster", dask_cluster.address)
    _some_parts(out, process, 8)
    process.kill()
    process.communicate()
    before = case.done(out)
    with dask_cluster.one_more() as worker:
        process = case.start(out, "--cluster", dask_cluster.address)
        _some_parts(out, process, len(before) + 8)
        worker.kill()
        _, err = process.communicate(timeout=300)
    assert (process.returncode, err) == (0, "")
    _check_kept(before, case.done(out))
    assert case.is_whole(out)


def test_a_client_that_sleeps_for_a_while_goes_on(
    case: Case, dask_cluster: RealCluster, out: Path
) -> None:
    process = case.start(out, "--cluster", dask_cluster.address)
    _some_parts(out, process, 4)
    process.send_signal(signal.SIGSTOP)
    time.sleep(3)  # Workers finish what they have been given.
    at_rest = sorted(out.rglob("*.tif"))
    time.sleep(1)
    assert sorted(out.rglob("*.tif")) == at_rest
    process.send_signal(signal.SIGCONT)
    _, err = process.communicate(timeout=300)
    assert (process.returncode, err) == (0, "")
    assert case.is_whole(out)


@pytest.mark.timeout(3600)
def test_a_client_killed_again_and_again(case: Case, dask_cluster: RealCluster, out: Path) -> None:
    rng, more = random.Random(1), ("--cluster", dask_cluster.address)
    seconds = _seconds(case, out, *more)
    for _ in range(N_KILLS):
        before = case.done(out)
        process = case.start(out, *more)
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=seconds * rng.uniform(0.4, 1.0))
        process.kill()
        process.communicate()
        _check_kept(before, case.done(out))
        # What a worker still writes would be of nobody in a new folder.
        dask_cluster.wait_until_idle()
        _renew(case, out)
    _finish(case, out, *more)


@pytest.mark.timeout(3600)
def test_a_worker_killed_in_run_after_run(case: Case, dask_cluster: RealCluster, out: Path) -> None:
    rng, more = random.Random(2), ("--cluster", dask_cluster.address)
    seconds = _seconds(case, out, *more)
    for _ in range(N_KILLS):
        process = case.start(out, *more)
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=seconds * rng.uniform(0.4, 0.95))
        worker = rng.choice(dask_cluster.workers)
        worker.kill()
        worker.wait()
        _, err = process.communicate(timeout=300)
        assert (process.returncode, err) == (0, "")
        assert case.is_whole(out)
        _renew(case, out)
        dask_cluster.replace_dead()


@pytest.mark.timeout(3600)
def test_a_scheduler_killed_again_and_again(case: Case, out: Path, tmp_path: Path) -> None:
    rng, codes = random.Random(3), []
    with real_cluster(tmp_path / "timed") as cluster:
        seconds = _seconds(case, out, "--cluster", cluster.address)
    for i in range(N_KILLS):
        before = case.done(out)
        with real_cluster(tmp_path / f"cluster{i}") as cluster:
            process = case.start(out, "--cluster", cluster.address)
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout=seconds * rng.uniform(0.4, 0.95))
            cluster.scheduler.kill()
            _, err = process.communicate(timeout=120)
            codes.append(process.returncode)
            if process.returncode:
                assert process.returncode == 1
                assert err.startswith("error: ")
                assert err.count("\n") == 1
        _check_kept(before, case.done(out))
        _renew(case, out)
    assert 1 in codes
    _finish(case, out)
