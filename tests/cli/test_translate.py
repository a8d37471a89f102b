"""`geotrans translate` as a process: what it prints, what it leaves, how it ends."""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

from geotrans.cli.main import run
from tests.helpers.bundles import random_bundle
from tests.helpers.scenes import write_scene
from tests.helpers.thorough import slow

SHAPE, TILE = (320, 360), 40
N_TILES = 81


@pytest.fixture(scope="module")
def holed_scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a bundle, a scene with a hole, and its unbroken product."""
    folder = tmp_path_factory.mktemp("place")
    random_bundle(folder / "noisy.safetensors", noise=(1, 8), gsd_m=(0.6, 0.6))
    invalid = np.zeros(SHAPE, bool)
    invalid[100:200, 90:230] = True
    write_scene(folder / "scene.tif", shape=SHAPE, gsd_m=0.6, mask=True, invalid=invalid)
    assert run(_words(folder, folder / "whole.tif")) == 0
    return folder


def _words(folder: Path, out: Path, *more: str) -> list[str]:
    return [
        "translate", str(folder / "scene.tif"), "--task", str(folder / "noisy.safetensors"),
        "-o", str(out), "--tile", str(TILE), "--precision", "float32", "--no-preview", *more,
    ]  # fmt: skip


def _start(*words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "geotrans", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def _finish(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err


def _n_parts(out: Path) -> int:
    folder = out.with_name(f"{out.name}.parts")
    return len([*folder.glob("r*.tif"), *folder.glob("r*.empty")])


def _wait_for_parts(process: subprocess.Popen[str], out: Path, n: int) -> None:
    until = time.monotonic() + 90
    while _n_parts(out) < n and process.poll() is None:
        assert time.monotonic() < until, "no parts"
        time.sleep(0.005)


def _same(one: Path, other: Path) -> bool:
    with rasterio.open(one) as a, rasterio.open(other) as b:
        masks = np.array_equal(a.dataset_mask(), b.dataset_mask())
        return masks and bool(np.array_equal(a.read(), b.read())) and a.profile == b.profile


def test_a_product_is_written_and_its_paths_printed(
    holed_scene: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([w for w in _words(holed_scene, tmp_path / "out.tif") if w != "--no-preview"]) == 0
    out, err = capsys.readouterr()
    assert out.split() == [str(tmp_path / "out.tif"), str(tmp_path / "out.png")]
    assert err == "", "quiet where nobody watches"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out.png", "out.tif"]
    with rasterio.open(tmp_path / "out.tif") as product:
        tags = product.tags()
        assert product.crs.to_epsg() == 32611
    assert tags["GEOTRANS_TASK"] == "random"
    assert json.loads(tags["GEOTRANS_PARAMS"])["seed"] == 0


def test_json(holed_scene: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(_words(holed_scene, tmp_path / "out.tif", "--json")) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["path"] == str(tmp_path / "out.tif")
    assert told["n_tiles"] == N_TILES
    assert told["n_resumed"] == 0


def test_a_plan_is_told_and_nothing_written(
    holed_scene: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(_words(holed_scene, tmp_path / "out.tif", "--dry-run")) == 0
    told = capsys.readouterr().out
    assert f"{N_TILES} in windows of" in told
    assert "360 x 320 px of 0.6 m" in told
    assert "red = band 1" in told
    assert run(_words(holed_scene, tmp_path / "out.tif", "--dry-run", "--json")) == 0
    assert json.loads(capsys.readouterr().out)["n_tiles"] == N_TILES
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("number", "said"), [(signal.SIGINT, "interrupted"), slow(signal.SIGTERM, "terminated")]
)
def test_a_stopped_run_keeps_what_is_finished_and_says_how_to_go_on(
    holed_scene: Path, tmp_path: Path, number: int, said: str
) -> None:
    out = tmp_path / "out.tif"
    for _ in range(5):  # A run may be faster than the signal.
        process = _start(*_words(holed_scene, out, "--overwrite"))
        _wait_for_parts(process, out, 2)
        process.send_signal(number)
        code, told, err = _finish(process)
        if code != 0:
            break
        out.unlink()
    assert code == 130
    assert told == ""
    assert re.fullmatch(
        rf"{said}; \d+ of {N_TILES} tiles are kept in .*\.parts, and the same command goes "
        r"on from there\n",
        err,
    )
    assert not out.exists()
    assert run(_words(holed_scene, out)) == 0
    assert _same(out, holed_scene / "whole.tif")


@pytest.mark.slow
def test_a_run_that_sleeps_for_a_while_goes_on(holed_scene: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.tif"
    process = _start(*_words(holed_scene, out))
    _wait_for_parts(process, out, 3)
    process.send_signal(signal.SIGSTOP)
    n_made = _n_parts(out)
    time.sleep(1)
    assert _n_parts(out) - n_made <= 2
    process.send_signal(signal.SIGCONT)
    assert _finish(process)[0] == 0
    assert _same(out, holed_scene / "whole.tif")


def test_killed_and_run_again_is_as_if_unbroken(
    holed_scene: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.tif"
    process = _start(*_words(holed_scene, out))
    _wait_for_parts(process, out, random.Random(1).randrange(5, N_TILES))
    process.kill()
    process.communicate()
    # On a busy machine it may have been faster than the kill; then there is a product to replace.
    _check_rerun(holed_scene, out, capsys, *(["--overwrite"] if out.exists() else []))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_killed_ten_times_at_any_moment(
    holed_scene: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    started = time.monotonic()
    assert _finish(_start(*_words(holed_scene, tmp_path / "timed.tif")))[0] == 0
    seconds = time.monotonic() - started
    (tmp_path / "timed.tif").unlink()
    out, rng = tmp_path / "out.tif", random.Random(7)
    for _ in range(10):
        process = _start(*_words(holed_scene, out, "--overwrite"))
        with contextlib.suppress(subprocess.TimeoutExpired):
            # Most of a run is loading torch: let it come to work more often than not.
            process.wait(timeout=seconds * rng.uniform(0.5, 1.05))
        process.kill()
        process.communicate()
    _check_rerun(holed_scene, out, capsys, "--overwrite")


def _check_rerun(place: Path, out: Path, capsys: pytest.CaptureFixture[str], *more: str) -> None:
    """A plain rerun makes the same product, keeps what was finished, and leaves nothing."""
    folder = out.with_name(f"{out.name}.parts")
    finished = {p: p.stat().st_mtime_ns for p in folder.glob("r0*") if p.suffix != ".tmp"}
    capsys.readouterr()
    assert run(_words(place, out, "--json", *more)) == 0
    assert json.loads(capsys.readouterr().out)["n_resumed"] == len(finished)
    assert _same(out, place / "whole.tif")
    assert [p.name for p in out.parent.iterdir()] == ["out.tif"]


def test_bad_input_is_one_line_each(
    holed_scene: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scene, bundle = str(holed_scene / "scene.tif"), str(holed_scene / "noisy.safetensors")
    (tmp_path / "empty.tif").write_bytes(b"")
    (tmp_path / "text.tif").write_text("no raster")
    foreign = tmp_path / "foreign.safetensors"
    foreign.write_bytes(b"\x00" * 64)
    coarse = write_scene(tmp_path / "coarse.tif", gsd_m=10.0)
    nobody = write_scene(tmp_path / "nobody.tif", gsd_m=0.6, bands=2)
    out = ["-o", str(tmp_path / "x.tif")]
    cases: list[tuple[list[str], int, str]] = [
        ([str(tmp_path / "none.tif"), "--task", bundle], 1, "no such file"),
        ([str(tmp_path / "empty.tif"), "--task", bundle], 1, "0 bytes"),
        ([str(tmp_path / "text.tif"), "--task", bundle], 1, "cannot be opened"),
        ([scene, "--task", "nothing", *out], 2, "no task 'nothing'"),
        ([scene, "--task", str(foreign), *out], 1, "foreign.safetensors"),
        ([scene, "--task", bundle, *out, "--tile", "0"], 2, "tiles of 0 px"),
        ([scene, "--task", bundle, *out, "--bbox", "1,2,3"], 2, "--bbox 1,2,3"),
        ([scene, "--task", bundle, *out, "--bbox", "-1,-1,1,1"], 2, "outside the scene"),
        ([scene, "--task", bundle, *out, "--memory", "lots"], 2, "'lots'"),
        ([scene, "--task", bundle, *out, "--co", "COMPRESS"], 2, "--co COMPRESS"),
        ([scene, "--task", bundle, *out, "--bands", "red=1,grean=2,blue=3"], 2, "'green'"),
        ([scene, "--task", bundle, *out, "--device", "abacus"], 2, "'abacus'"),
        ([scene, "--task", bundle, "-o", scene], 1, "the source itself"),
        ([str(coarse), "--task", bundle, *out], 2, "--any-gsd"),
        ([str(nobody), "--task", bundle, *out], 2, "bands"),
    ]
    for words, code, told in cases:
        assert run(["translate", *words]) == code, words
        err = capsys.readouterr().err
        assert told in err, words
        lines = [line for line in err.splitlines() if not line.startswith("warning: ")]
        assert len(lines) == 1, err
        assert lines[0].startswith("error: ")
    assert not list(tmp_path.glob("*.parts"))
    assert not (tmp_path / "x.tif").exists()


def test_a_full_disk_stops_a_run_that_goes_on_once_there_is_room(
    holed_scene: Path, small_disk: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = small_disk("250k")
    out = folder / "out.tif"
    assert run(_words(holed_scene, out)) == 1
    err = capsys.readouterr().err
    assert "No space left on device" in err
    assert re.search(rf"\d+ of {N_TILES} tiles are kept", err)
    assert not out.exists()
    assert not list(folder.rglob("*.tmp"))
    subprocess.run(["mount", "-o", "remount,size=20m", str(folder)], check=True)
    assert run(_words(holed_scene, out)) == 0
    assert _same(out, holed_scene / "whole.tif")
    assert [p.name for p in folder.iterdir()] == ["out.tif"]


def test_a_disk_too_full_to_write_the_product(
    holed_scene: Path, small_disk: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """All parts fit, but the product does not fit beside them."""
    folder = small_disk("900k")
    out = folder / "out.tif"
    assert run(_words(holed_scene, out)) == 1
    err = capsys.readouterr().err
    assert f"{N_TILES} of {N_TILES} tiles are kept" in err
    assert not out.exists()
    subprocess.run(["mount", "-o", "remount,size=20m", str(folder)], check=True)
    assert run(_words(holed_scene, out)) == 0
    assert _same(out, holed_scene / "whole.tif")


def test_a_disk_with_no_room_or_no_writing_is_told_before_any_work(
    holed_scene: Path, small_disk: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(_words(holed_scene, small_disk("8k") / "out.tif")) == 1
    assert "free" in capsys.readouterr().err
    assert run(_words(holed_scene, small_disk("1m", "ro") / "out.tif")) == 1
    assert "read-only" in capsys.readouterr().err
