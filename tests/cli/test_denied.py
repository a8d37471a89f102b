"""Folders and files that may not be written or read, and disks that fill up, under `geotrans`."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from geotrans.cli.main import run
from tests.helpers.bundles import identity_bundle
from tests.helpers.scenes import write_scene

# What lets root read and write whatever it likes.
_RIGHTS = "-dac_override,-dac_read_search"


@pytest.fixture
def noise_archive(tmp_path: Path) -> Path:
    """Folder of a bundle and some scenes of 120 kB that no codec makes smaller."""
    rng = np.random.default_rng(0)
    (tmp_path / "in").mkdir()
    identity_bundle(tmp_path / "same.safetensors")
    for i in range(4):
        data = rng.integers(0, 256, (3, 200, 200), np.uint8)
        write_scene(tmp_path / "in" / f"scene{i}.tif", shape=(200, 200), data=data)
    return tmp_path


def _unprivileged(*words: str | Path) -> tuple[int, str, str]:
    """A command as somebody for whom permissions count."""
    before: list[str] = []
    if os.geteuid() == 0:
        if not shutil.which("setpriv"):
            pytest.skip("root may write anywhere, and setpriv is not there to change that")
        before = ["setpriv", "--bounding-set", _RIGHTS, "--inh-caps", _RIGHTS]
    done = subprocess.run(
        [*before, sys.executable, "-m", "geotrans", *map(str, words)],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


def _check_told(ended: tuple[int, str, str], told: str) -> None:
    code, out, err = ended
    assert (code, out) == (1, "")
    assert re.fullmatch(rf"error: .*{told}.*\n", err), err


def test_a_folder_that_may_not_be_written(noise_archive: Path) -> None:
    task, locked = ["--task", noise_archive / "same.safetensors"], noise_archive / "locked"
    locked.mkdir(mode=0o555)
    scene = noise_archive / "in" / "scene0.tif"
    translated = _unprivileged("translate", scene, *task, "-o", locked / "out.tif")
    _check_told(translated, "output directory .*locked is read-only; choose another -o")
    for out, told in (
        (locked, "locked cannot be written: Permission denied; choose another -o"),
        (locked / "new", "new cannot be made: Permission denied; choose another -o"),
    ):
        _check_told(_unprivileged("batch", noise_archive / "in", *task, "-o", out), told)
    assert list(locked.iterdir()) == []


@pytest.mark.slow
def test_a_scene_that_may_not_be_read_and_an_archive_only_to_be_looked_at(
    noise_archive: Path,
) -> None:
    (noise_archive / "in" / "scene1.tif").chmod(0)
    words = [
        "batch",
        noise_archive / "in",
        "--task",
        noise_archive / "same.safetensors",
        "-o",
        noise_archive / "out",
    ]
    code, told, err = _unprivileged(*words)
    assert (code, err) == (3, "")
    assert "3 of 4 scenes done" in told
    assert re.search(r"failed  scene1  .*scene1\.tif cannot be opened.*Permission denied", told)
    (noise_archive / "in" / "scene1.tif").chmod(0o644)
    (noise_archive / "out").chmod(0o555)
    code, told, err = _unprivileged("batch", noise_archive / "out", "--status")
    assert (code, err) == (0, "")
    assert "3 of 4 scenes done" in told
    _check_told(_unprivileged(*words), "out cannot be written: Permission denied")
    (noise_archive / "out").chmod(0o755)
    assert _unprivileged(*words, "--retry-failed")[0] == 0


def test_an_archive_on_a_disk_that_fills_up_or_is_read_only(
    noise_archive: Path, small_disk: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = small_disk("800k")
    out = folder / "out"
    words = [
        "batch",
        str(noise_archive / "in"),
        "--task",
        str(noise_archive / "same.safetensors"),
        "-o",
        str(out),
    ]
    assert run(words) == 1
    err = capsys.readouterr().err
    assert "No space left on device; make room or rights, and the same command goes on" in err
    assert len(list(out.glob("*.tif"))) in (1, 2, 3)
    times = {path: path.stat().st_mtime_ns for path in out.glob("*.tif")}
    subprocess.run(["mount", "-o", "remount,size=20m", str(folder)], check=True)
    assert run(words) == 0
    assert "4 of 4 scenes done" in capsys.readouterr().out
    assert len(list(out.glob("*.tif"))) == 4
    assert not [path for path in out.iterdir() if path.name.endswith((".tmp", ".parts"))]
    subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
    assert run(words) == 1
    assert "Read-only file system; choose another -o" in capsys.readouterr().err
    assert {path: path.stat().st_mtime_ns for path in times} == times
