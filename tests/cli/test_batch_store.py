"""`geotrans batch -o s3://...` as a process, with a real S3 server of this machine."""

from __future__ import annotations

import json
import logging
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

import pytest

import geotrans
from geotrans.cli.main import run
from tests.helpers.bundles import random_bundle
from tests.helpers.products import digests
from tests.helpers.scenes import write_scene
from tests.helpers.stac import read_valid
from tests.helpers.store import Bucket

pytest.importorskip("obstore")

N_SCENES = 6
SENT = {
    f"maps/scene{i}_random{end}" for i in range(N_SCENES) for end in (".tif", ".png", ".json")
} | {"maps/collection.json", "maps/models/collection.json", "maps/models/random.json"}


@pytest.fixture(scope="module")
def small_archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a bundle, some scenes, and what `translate` makes of them."""
    folder = tmp_path_factory.mktemp("place")
    bundle = random_bundle(folder / "noisy.safetensors", noise=(1, 8))
    (folder / "in").mkdir()
    (folder / "whole").mkdir()
    for i in range(N_SCENES):
        scene = write_scene(folder / "in" / f"scene{i}.tif", shape=(120, 100 + 8 * i))
        geotrans.translate(
            scene, bundle, out=folder / "whole" / f"scene{i}_random.tif", tile=40,
            precision="float32",
        )  # fmt: skip
    return folder


def _words(place: Path, *more: str) -> list[str]:
    return [
        "batch", str(place / "in"), "--task", str(place / "noisy.safetensors"), "-o",
        "s3://shelf/maps", "--tile", "40", "--precision", "float32", *more,
    ]  # fmt: skip


def _start(place: Path, here: Path, *more: str) -> subprocess.Popen[str]:
    here.mkdir(exist_ok=True)
    return subprocess.Popen(
        [sys.executable, "-m", "geotrans", *_words(place, *more)],
        cwd=here,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def _finish(process: subprocess.Popen[str]) -> str:
    told, err = process.communicate(timeout=300)
    assert (process.returncode, err) == (0, ""), told
    return told


def _done(here: Path) -> set[str]:
    """Scenes that the journal says are done."""
    path = here / "shelf_maps" / "journal.sqlite"
    if not path.exists():
        return set()
    with closing(sqlite3.connect(path)) as db, suppress(sqlite3.OperationalError):
        return {name for (name,) in db.execute("SELECT name FROM scene WHERE state = 'done'")}
    return set()  # It is just being made.


def _until(process: subprocess.Popen[str], is_so: Callable[[], bool]) -> None:
    until = time.monotonic() + 240
    while not is_so():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until
        time.sleep(0.01)


def _is_whole(place: Path, here: Path, bucket: Bucket, saved: Path) -> bool:
    """Whether everything is in the store, valid, and only the journal is left here."""
    assert set(bucket.keys()) == SENT
    assert [path.name for path in (here / "shelf_maps").iterdir()] == ["journal.sqlite"]
    assert not bucket.unfinished()
    bucket.save("maps", saved)
    for path in saved.rglob("*.json"):
        read_valid(path)
    return digests(saved) == digests(place / "whole")


@pytest.mark.slow
def test_two_workers_upload_and_a_plan_does_not(
    small_archive: Path,
    bucket: Bucket,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    assert run(_words(small_archive, "--dry-run")) == 0
    assert "s3://shelf/maps: about" in capsys.readouterr().out
    assert not bucket.keys()
    assert not list(here.iterdir())
    told = _finish(_start(small_archive, here, "--workers", "2"))
    assert told.splitlines()[0].startswith(
        f"s3://shelf/maps: {N_SCENES} of {N_SCENES} scenes done ({N_SCENES} by the last run)"
    )
    assert told.splitlines()[1] == f"journal {here / 'shelf_maps'}"
    assert _is_whole(small_archive, here, bucket, tmp_path / "saved")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("workers", "blows"),
    [
        (1, [signal.SIGKILL, signal.SIGTERM]),
        pytest.param(2, [signal.SIGKILL] * 4, marks=[pytest.mark.timeout(900)]),
    ],
)
def test_killed_and_run_again_is_as_if_unbroken(
    small_archive: Path,
    bucket: Bucket,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    workers: int,
    blows: list[signal.Signals],
) -> None:
    here, done = tmp_path / "here", set[str]()
    folder = here / "shelf_maps"
    # One upload that is tried for ever keeps every run at work until the blow.
    bucket.refuse("maps/scene3_random.tif")
    with caplog.at_level(logging.INFO, "werkzeug"):
        for n, blow in enumerate(blows, 1):
            process = _start(
                small_archive, here, "--workers", str(workers), "--max-retries", str(10**9),
                "--retry-failed",
            )  # fmt: skip
            _until(process, lambda n=n: len(_done(here)) >= n)  # type: ignore[misc]
            process.send_signal(blow)
            _, err = process.communicate(timeout=120)
            if blow == signal.SIGTERM:
                assert process.returncode == 130
                assert f"goes on from there (their journal is in {folder})" in err
            assert not _written(caplog) & done, "done is done"
            done = _done(here)
            keys = set(bucket.keys())
            for name in done:
                assert {f"maps/{name}_random{end}" for end in (".tif", ".png", ".json")} <= keys
            for key in keys:
                if key.endswith(".json"):
                    json.loads(bucket.get(key))
        bucket.refuse()
        told = json.loads(_finish(_start(small_archive, here, "--json", "--workers", str(workers))))
        assert told["n_new"] == N_SCENES - len(done)
        assert not _written(caplog) & done
    assert _is_whole(small_archive, here, bucket, tmp_path / "saved")


def _written(caplog: pytest.LogCaptureFixture) -> set[str]:
    """Scenes of which something was uploaded since the last time."""
    lines = [r.getMessage() for r in caplog.records if r.name == "werkzeug"]
    caplog.clear()
    paths = [line.split('"')[1].split()[1] for line in lines if '"PUT /shelf/maps/scene' in line]
    return {path.removeprefix("/shelf/maps/").partition("_")[0] for path in paths}


def test_bad_targets_are_one_line(
    bucket: Bucket,
    small_archive: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    task = ["--task", str(small_archive / "noisy.safetensors")]
    for out, code, told in (
        ("s3://me:pw@shelf/maps", 2, "keys belong into the environment"),
        ("s3:///maps", 2, "names no bucket"),
        ("ftp://shelf/maps", 2, "nothing can be uploaded to ftp://shelf/maps"),
        ("s3://nowhere/maps", 1, "there is no bucket 'nowhere'; make it first"),
    ):
        assert run(["batch", str(small_archive / "in"), *task, "-o", out]) == code
        err = capsys.readouterr().err
        assert told in err
        assert err.count("\n") == 1
        assert "pw" not in err
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "obstore.store", None)
        assert run(["batch", str(small_archive / "in"), *task, "-o", "s3://shelf/maps"]) == 1
        assert "; pip install 'geotrans[store]'" in capsys.readouterr().err
    assert run(["batch", "s3://shelf/maps", "--status"]) == 1
    assert "shelf_maps has no journal.sqlite" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
