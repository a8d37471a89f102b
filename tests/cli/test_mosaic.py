"""`geotrans mosaic`, of tiles that `geotrans tile` has cut."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from geotrans.cli.main import run
from tests.mosaicking.test_cut import assert_same


def test_tiles_of_a_scene_are_that_scene(
    make_scene: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scene, out = make_scene(shape=(20, 40), name="scene.tif"), str(tmp_path / "out.tif")
    words = ["tile", str(scene), "--tile", "16", "--json"]
    assert run([*words, "-o", str(tmp_path / "png"), "--format", "png"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["n_tiles"] == 2 * 3
    assert run(["mosaic", str(tmp_path / "png"), "-o", out, "--plan", told["plan"]]) == 0
    assert capsys.readouterr().out == f"{out}\n"
    assert_same(Path(out), scene)
    assert run([*words, "-o", str(tmp_path / "tif"), "--halo", "2"]) == 0
    capsys.readouterr()
    assert run(["mosaic", str(tmp_path / "tif"), "-o", str(tmp_path / "x.tif"), "--dry-run"]) == 0
    assert "40 x 20 px of 10 m, EPSG:32611" in capsys.readouterr().out
    assert not (tmp_path / "x.tif").exists()
