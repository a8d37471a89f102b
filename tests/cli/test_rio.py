"""`rio geotrans`: a real `rio`, which finds geotrans by the entry point pyproject.toml declares."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio

from geotrans.cli.main import COMMANDS, run
from tests.helpers.bundles import identity_bundle

ROOT = Path(__file__).parents[2]
_RIO = "import sys; from rasterio.rio.main import main_group; sys.exit(main_group())"

Rio = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def rio(tmp_path: Path) -> Rio:
    """Run `rio` where this checkout, and not whatever is installed, says what its plugins are."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    info = tmp_path / "site" / "geotrans-0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: geotrans\nVersion: 0\n")
    lines = [
        line
        for group, entries in project["entry-points"].items()
        for line in (f"[{group}]", *(f"{name} = {what}" for name, what in entries.items()))
    ]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")

    def go(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-W", "error", "-c", _RIO, *words],
            env={**os.environ, "PYTHONPATH": f"{info.parent}{os.pathsep}{ROOT}"},
            capture_output=True, text=True, check=False, timeout=120,
        )  # fmt: skip

    return go


@pytest.mark.slow
def test_rio_lists_it_and_shows_its_help(rio: Rio) -> None:
    assert "Translate rasters between visual domains." in rio("--help").stdout
    told = rio("geotrans", "--help").stdout
    assert told.startswith("Usage: rio geotrans [OPTIONS] COMMAND")
    assert all(name in told for name in COMMANDS)
    assert "rio geotrans translate [OPTIONS]" in rio("geotrans", "translate", "--help").stdout


def test_a_scene_is_translated_as_geotrans_does(
    rio: Rio, make_scene: Callable[..., Path], tmp_path: Path
) -> None:
    scene, bundle = make_scene(), identity_bundle(tmp_path / "same.safetensors")
    words = ["translate", str(scene), "--task", str(bundle), "--no-preview", "--tile", "32"]
    assert run([*words, "-o", str(tmp_path / "own.tif")]) == 0
    done = rio("--aws-no-sign-requests", "geotrans", *words, "-o", str(tmp_path / "rios.tif"))
    assert (done.returncode, done.stdout) == (0, f"{tmp_path / 'rios.tif'}\n"), done.stderr
    with rasterio.open(tmp_path / "own.tif") as own, rasterio.open(tmp_path / "rios.tif") as rios:
        assert np.array_equal(own.read(), rios.read())
        assert own.profile == rios.profile


def test_a_failure_keeps_its_exit_code_and_its_line(rio: Rio, tmp_path: Path) -> None:
    done = rio("geotrans", "translate", str(tmp_path / "none.tif"), "--task", "map2aerial")
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert rio("geotrans", "translat").returncode == 2
