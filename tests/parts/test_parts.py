"""Finished tiles on disk."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio

from geotrans.errors import OutputError
from geotrans.grid import plan_tiles
from geotrans.parts import Parts
from geotrans.parts.parts import read_plan
from geotrans.translation import Job
from geotrans.translation.job import translate_tile

MakeJob = Callable[..., Job]


def test_a_part_appears_whole_and_is_found_again(make_job: MakeJob, tmp_path: Path) -> None:
    invalid = np.zeros((48, 64), bool)
    invalid[:20, :30] = True
    job = make_job(mask=True, invalid=invalid)
    parts = Parts.beside(tmp_path / "out.tif")
    parts.begin(job, overwrite=False)
    assert parts.find_finished(job) == set()
    for tile in list(job.plan)[:4]:
        parts.write(job, tile, translate_tile(job, tile))
    assert parts.find_finished(job) == {(t.row, t.col) for t in list(job.plan)[:4]}
    assert parts.is_empty(job.plan.tile(0, 0))
    tile = job.plan.tile(0, 2)
    with rasterio.open(parts.path(tile)) as part, rasterio.open(job.scene.uri) as scene:
        place = job.product_window(tile)
        window = rasterio.windows.Window(place.col_off, place.row_off, place.width, place.height)
        valid = scene.dataset_mask(window=window) != 0
        assert part.crs == scene.crs
        assert part.transform == scene.window_transform(window)
        assert np.array_equal(part.dataset_mask() != 0, valid)
        assert np.array_equal(part.read()[:, valid], scene.read(window=window)[:, valid])
    assert not list(parts.folder.glob("*.tmp"))


def test_four_bands_have_no_alpha(make_job: MakeJob, tmp_path: Path) -> None:
    # GDAL takes the fourth band of four for alpha unless it is told.
    job = make_job(bands=("red", "green", "blue", "nir"))
    parts = Parts.beside(tmp_path / "out.tif")
    parts.begin(job, overwrite=False)
    tile = job.plan.tile(0, 0)
    parts.write(job, tile, translate_tile(job, tile))
    with rasterio.open(parts.path(tile)) as part:
        assert (part.dataset_mask() != 0).all()


def test_a_damaged_part_does_not_count(make_job: MakeJob, tmp_path: Path) -> None:
    job = make_job()
    parts = Parts.beside(tmp_path / "out.tif")
    parts.begin(job, overwrite=False)
    tile = job.plan.tile(0, 0)
    parts.write(job, tile, translate_tile(job, tile))
    path = parts.path(tile)
    whole = path.read_bytes()
    for damaged in (b"", whole[: len(whole) // 2], whole[:-7]):
        path.write_bytes(damaged)
        assert parts.find_finished(job) == set()


def test_a_fingerprint_tells_runs_apart(make_job: MakeJob, tmp_path: Path) -> None:
    job = make_job()
    parts = Parts.beside(tmp_path / "out.tif")
    assert parts.read_fingerprint() is None
    parts.begin(job, overwrite=False)
    assert (
        parts.read_fingerprint() == job.fingerprint() == json.loads(json.dumps(job.fingerprint()))
    )
    assert read_plan(parts.read_fingerprint() or {}) == job.plan
    parts.begin(job, overwrite=False)
    other = make_job(seed=9, tile=40)
    with pytest.raises(OutputError, match=r"seed 0, now 9; tiles .* windows of .*overwrite=True"):
        parts.begin(other, overwrite=False)
    parts.begin(other, overwrite=True)
    assert parts.read_fingerprint() == other.fingerprint()
    parts.discard()
    assert not parts.folder.exists()


def test_a_folder_of_something_else_is_left_alone(make_job: MakeJob, tmp_path: Path) -> None:
    parts = Parts.beside(tmp_path / "out.tif")
    parts.folder.mkdir()
    (parts.folder / "diary.txt").write_text("mine")
    with pytest.raises(OutputError, match=r"run\.json cannot be read"):
        parts.begin(make_job(), overwrite=False)
    (parts.folder / "run.json").write_text("{")
    assert parts.read_fingerprint() == {}
    with pytest.raises(OutputError, match=r"run\.json cannot be read"):
        parts.begin(make_job(), overwrite=False)
    assert (parts.folder / "diary.txt").exists()


def test_a_plan_that_cannot_be_read_is_none() -> None:
    plan = plan_tiles((10, 10), tile=4, halo=1)
    assert read_plan({"tiles": json.loads(plan.to_json())}) == plan
    for recorded in ({}, {"tiles": 3}, {"tiles": {"area": 1}}, {"tiles": None}):
        assert read_plan(recorded) is None
