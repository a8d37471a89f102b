"""Many scenes of all kinds, some of them bad, on two processes: the benchmark in small."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

import geotrans
from geotrans.cli.main import run
from tests.helpers.bundles import random_bundle
from tests.helpers.scenes import write_scene

N_SCENES, N_BAD = 24, 7
KINDS = [("EPSG:32611", "uint8"), ("EPSG:4326", "uint8"), ("EPSG:3857", "uint16")]
URL = "http://127.0.0.1:9/nobody.tif"
CHOICES: dict[str, Any] = {"precision": "float32", "any_gsd": True, "any_values": True}


def _write(folder: Path) -> dict[str, str]:
    """Scenes of several kinds and sizes; those that are bad, and why."""
    folder.mkdir()
    paths = []
    for i in range(N_SCENES - 1):
        crs, dtype = KINDS[i % len(KINDS)]
        path, shape = folder / f"scene {i:02d}.tif", (40 + 7 * i, 150 - 5 * i)
        paths.append(write_scene(path, crs=crs, dtype=dtype, shape=shape))
    for path in paths[:3]:
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    for path in paths[3:5]:
        write_scene(path, bands=["red"])
    write_scene(paths[5], data=np.zeros((3, 48, 64), np.uint8), nodata=0)
    write_scene(paths[6], crs=None)  # It has no place, and its pixels are fine.
    (folder / "list.txt").write_text(f"{URL}\n")
    reasons = {path.stem: f"{path.name} cannot be opened as a raster" for path in paths[:3]}
    reasons |= {path.stem: "it lacks green, blue" for path in paths[3:5]}
    return reasons | {paths[5].stem: "no valid pixel", "nobody": "Could not connect to server"}


def _pixels(path: Path) -> tuple[Any, ...]:
    with rasterio.open(path) as file:
        return file.crs, file.transform, file.read().tobytes(), file.dataset_mask().tobytes()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_an_archive_of_all_kinds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    expected = _write(folder)
    bundle = random_bundle(tmp_path / "random.safetensors", noise=(1, 8))
    words = [
        "batch", str(folder), str(folder / "list.txt"), "--task", str(bundle), "-o", str(out),
        "--precision", "float32", "--any-gsd", "--any-values", "--json", "--workers",
    ]  # fmt: skip

    def again(workers: int) -> dict[str, Any]:
        assert run([*words, str(workers)]) == 3
        state: dict[str, Any] = json.loads(capsys.readouterr().out)
        assert state["counts"]["done"] == N_SCENES - N_BAD
        return state

    failures = {one["name"]: one["reason"] for one in again(2)["failures"]}
    assert failures.keys() == expected.keys()
    for name, told in expected.items():
        assert told in failures[name]
    products = sorted(out.glob("*.tif"))
    assert len(products) == N_SCENES - N_BAD
    for path in products:
        source = folder / f"{path.stem.removesuffix('_random')}.tif"
        alone = tmp_path / "alone.tif"
        geotrans.translate(source, bundle, out=alone, overwrite=True, **CHOICES)
        assert _pixels(path) == _pixels(alone)
    before = {path: path.stat().st_mtime_ns for path in products}
    assert again(1)["n_new"] == 0
    os.utime(folder / "scene 10.tif")
    assert again(1)["n_new"] == 1
    changed = [path for path, time in before.items() if path.stat().st_mtime_ns != time]
    assert changed == [out / "scene 10_random.tif"]
