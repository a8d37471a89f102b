"""`geotrans batch` as a process: what it prints, how it ends, what is left when it is killed."""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from geotrans.archive import read_status
from geotrans.cli.main import run
from tests.helpers.bundles import identity_bundle, random_bundle
from tests.helpers.products import digests
from tests.helpers.scenes import write_scene

N_SCENES = 6


@pytest.fixture(scope="module")
def small_archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of two bundles, some scenes, and their products by an unbroken run."""
    folder = tmp_path_factory.mktemp("place")
    identity_bundle(folder / "same.safetensors")
    random_bundle(folder / "noisy.safetensors", noise=(1, 8))
    (folder / "in").mkdir()
    for i in range(N_SCENES):
        write_scene(folder / "in" / f"scene{i}.tif", shape=(120, 100 + 8 * i))
    assert run(_words(folder, folder / "whole")) == 0
    return folder


def _words(folder: Path, out: Path, *more: str, task: str = "noisy") -> list[str]:
    return [
        "batch", str(folder / "in"), "--task", str(folder / f"{task}.safetensors"),
        "-o", str(out), "--tile", "40", "--precision", "float32", *more,
    ]  # fmt: skip


def _start(*words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "geotrans", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def _states(out: Path) -> dict[str, str]:
    with closing(sqlite3.connect(out / "journal.sqlite")) as db:
        return dict(db.execute("SELECT name, state FROM scene"))


def _recorded(out: Path) -> list[Path]:
    """Products that the journal says are done."""
    return [out / f"{name}_random.tif" for name, state in _states(out).items() if state == "done"]


def _wait_for(process: subprocess.Popen[str], out: Path, n_done: int) -> None:
    until = time.monotonic() + 90
    while process.poll() is None:
        assert time.monotonic() < until, "nothing is done"
        done = list(out.glob("*.tif"))
        if len(done) >= n_done and any(out.glob("*.parts/r*.tif")):
            return
        time.sleep(0.005)


def _wait_for_holders(out: Path, n: int) -> None:
    """Wait until so many runs have written into the journal that they are at work."""
    until = time.monotonic() + 90
    while len(read_status(out).held_by) < n:
        assert time.monotonic() < until, "nobody joined"
        time.sleep(0.05)


def test_how_it_ends(
    small_archive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    bad = write_scene(tmp_path / "bad.tif", bands=2)
    assert run([*_words(small_archive, out, task="same"), str(bad)]) == 3
    told = capsys.readouterr().out.splitlines()
    assert told[0].startswith(f"{out}: {N_SCENES} of {N_SCENES + 1} scenes done")
    assert told[1].startswith("failed  bad  task 'same' reads bands")
    assert run(["batch", str(out), "--status", "--json"]) == 0, "asking is no failure"
    state = json.loads(capsys.readouterr().out)
    assert state["counts"] == {"waiting": 0, "running": 0, "done": N_SCENES, "failed": 1}
    assert state["failures"][0]["scene"] == str(bad)
    assert run(_words(small_archive, out, task="same")) == 0, "all that was asked for now is done"
    capsys.readouterr()
    assert run([*_words(small_archive, out, "--json", task="same"), str(bad)]) == 3
    assert json.loads(capsys.readouterr().out)["n_new"] == 0


def test_a_plan_writes_nothing(
    small_archive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert run(_words(small_archive, out, "--dry-run")) == 0
    assert capsys.readouterr().out.startswith(f"scenes  {N_SCENES} of 0.1 Mpx")
    assert run(_words(small_archive, out, "--dry-run", "--json")) == 0
    assert json.loads(capsys.readouterr().out)["n_scenes"] == N_SCENES
    assert not out.exists()


def test_bad_input_is_one_line_each(
    small_archive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scenes, whole = str(small_archive / "in"), str(small_archive / "whole")
    task = ["--task", str(small_archive / "noisy.safetensors")]
    full = [scenes, *task, "-o", str(tmp_path / "o")]
    cases: list[tuple[list[str], int, str]] = [
        ([scenes], 2, "give scenes, --task and -o"),
        ([scenes, *task], 2, "give scenes, --task and -o"),
        ([scenes, whole, "--status"], 2, "one folder"),
        ([str(tmp_path), "--status"], 1, "has no journal.sqlite"),
        ([str(tmp_path), *task, "-o", str(tmp_path / "o")], 1, "holds no scene"),
        ([str(tmp_path / "*.tif"), *task, "-o", str(tmp_path / "o")], 1, "nothing matches"),
        ([scenes, "--task", "noise", "-o", str(tmp_path / "o")], 2, "no task 'noise'"),
        ([scenes, *task, "-o", whole, "--seed", "9"], 1, "precision float32, now auto"),
        ([scenes, *task, "-o", scenes + "/scene0.tif"], 1, "cannot be made"),
        ([*full, "--cluster", "tcp://host:1", "--workers", "2"], 2, "leave out --workers"),
        ([*full, "--cluster", "host"], 2, "neither an address"),
    ]
    for words, code, told in cases:
        assert run(["batch", *words]) == code, words
        err = capsys.readouterr().err
        assert told in err, words
        assert err.startswith("error: ")
        assert err.count("\n") == 1


def test_sigterm_leaves_what_the_same_command_goes_on_from(
    small_archive: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    process = _start(*_words(small_archive, out))
    _wait_for(process, out, 1)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert f"of {N_SCENES} scenes are done, and the same command goes on from there" in err
    assert err.startswith("terminated; ")
    assert "running" not in _states(out).values()
    assert run(_words(small_archive, out)) == 0
    assert digests(out) == digests(small_archive / "whole")


def test_a_second_run_says_who_holds_the_folder_or_shares_the_work(
    small_archive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    process = _start(*_words(small_archive, out))
    _wait_for(process, out, 1)
    process.send_signal(signal.SIGSTOP)  # Asleep is not dead.
    assert run(_words(small_archive, out)) == 1
    assert f"is being worked on by process {process.pid} on" in capsys.readouterr().err
    assert run(["batch", str(out), "--status", "--json"]) == 0
    state = json.loads(capsys.readouterr().out)
    assert state["counts"]["running"] == 1
    assert f"process {process.pid} " in state["held_by"][0]
    joined = _start(*_words(small_archive, out, "--join", "--json"))
    _wait_for_holders(out, 2)
    process.send_signal(signal.SIGCONT)
    assert process.communicate(timeout=120)
    told, err = joined.communicate(timeout=120)
    assert (process.returncode, joined.returncode) == (0, 0), told + err
    assert json.loads(told)["counts"]["done"] == N_SCENES
    with closing(sqlite3.connect(out / "journal.sqlite")) as db:
        assert db.execute("SELECT max(tries) FROM scene").fetchone() == (1,), "never doubled"
    assert digests(out) == digests(small_archive / "whole")


@pytest.mark.slow
def test_who_shares_work_waits_for_what_the_other_has_begun(
    small_archive: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    words = ["batch", str(small_archive / "in" / "scene0.tif"), *_words(small_archive, out)[2:]]
    process = _start(*words)
    _wait_for(process, out, 0)
    process.send_signal(signal.SIGSTOP)
    assert list(_states(out).values()) == ["running"]
    joined = _start(*words, "--join")
    _wait_for_holders(out, 2)
    with pytest.raises(subprocess.TimeoutExpired):
        joined.communicate(timeout=3)  # There is nothing left to take, and it is not done.
    process.send_signal(signal.SIGCONT)
    assert process.communicate(timeout=120)
    _, err = joined.communicate(timeout=120)
    assert (process.returncode, joined.returncode) == (0, 0), err


@pytest.mark.parametrize(
    ("workers", "n_kills"),
    [(1, 2), pytest.param(2, 5, marks=[pytest.mark.slow, pytest.mark.timeout(600)])],
)
def test_killed_and_run_again_is_as_if_unbroken(
    small_archive: Path, tmp_path: Path, workers: int, n_kills: int
) -> None:
    out, rng = tmp_path / "out", random.Random(workers)
    words = _words(small_archive, out, "--workers", str(workers))
    times: dict[Path, int] = {}
    for _ in range(n_kills):
        process = _start(*words)
        _wait_for(process, out, len(times) + rng.randrange(2))
        time.sleep(rng.uniform(0, 0.2))
        process.kill()
        process.communicate()
        assert {p: p.stat().st_mtime_ns for p in times} == times, "done is done"
        times = {p: p.stat().st_mtime_ns for p in _recorded(out)}
    assert run(words) == 0
    assert {p: p.stat().st_mtime_ns for p in times} == times
    assert digests(out) == digests(small_archive / "whole")
    assert {p.name for p in out.iterdir()} == {p.name for p in (small_archive / "whole").iterdir()}
