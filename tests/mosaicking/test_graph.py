"""The lazy array: one task per tile, nothing read before it is asked for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

from geotrans.mosaicking import Job, Parts, graph
from geotrans.mosaicking.assemble import read_parts, write_vrt
from geotrans.mosaicking.graph import Receipt, lazy_parts, lazy_product
from geotrans.mosaicking.run import run_tiles

MakeJob = Callable[..., Job]


def test_the_lazy_product_is_the_scene(make_job: MakeJob) -> None:
    invalid = np.zeros((48, 64), bool)
    invalid[5:40, 20:60] = True
    job = make_job(mask=True, invalid=invalid)
    data, valid = lazy_product(job)
    assert data.shape == (3, 48, 64)
    assert data.chunks[1:] == job.plan.chunks
    assert np.array_equal(valid.compute(scheduler="threads"), ~invalid)
    with rasterio.open(job.scene.uri) as scene:
        expected = np.where(invalid, 0, scene.read())
    assert np.array_equal(data.compute(scheduler="threads"), expected)


def test_keys_are_those_of_the_pixels(make_job: MakeJob, tmp_path: Path) -> None:
    job = make_job()
    parts = Parts(tmp_path / "x.parts")
    keys = [task.key for task in lazy_parts(job, parts).values()]
    assert len(set(keys)) == len(job.plan)
    assert keys == [task.key for task in lazy_parts(job, parts).values()]
    assert lazy_product(job)[0].name == lazy_product(job)[0].name
    other = make_job(seed=5)
    assert not {task.key for task in lazy_parts(other, parts).values()} & set(keys)


def test_one_task_per_tile_and_nothing_read_before(
    make_job: MakeJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = make_job()
    made: list[tuple[int, int]] = []
    translate_tile = graph.translate_tile

    def counted(job: Job, tile: Any) -> Any:
        made.append((tile.row, tile.col))
        return translate_tile(job, tile)

    monkeypatch.setattr(graph, "translate_tile", counted)
    tasks = lazy_parts(job, Parts(tmp_path / "x.parts"))
    assert list(tasks) == [(tile.row, tile.col) for tile in job.plan]
    # The tile, and the job all share.
    assert all(len(dict(task.__dask_graph__())) == 2 for task in tasks.values())
    data, _ = lazy_product(job)
    assert data.npartitions == len(job.plan)
    assert made == []


@pytest.mark.parametrize("in_flight", [1, 3])
def test_only_what_is_asked_for_is_made_and_a_few_at_a_time(
    make_job: MakeJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_flight: int
) -> None:
    import threading
    import time

    job = make_job()
    parts = Parts.beside(tmp_path / "out.tif")
    parts.begin(job, overwrite=False)
    lock, running, most = threading.Lock(), 0, 0
    translate_tile = graph.translate_tile

    def watched(job: Job, tile: Any) -> Any:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.01)
        patch = translate_tile(job, tile)
        with lock:
            running -= 1
        return patch

    monkeypatch.setattr(graph, "translate_tile", watched)
    cells = [(t.row, t.col) for t in job.plan][3:]
    receipts: list[Receipt] = []
    tasks = [task for cell, task in lazy_parts(job, parts).items() if cell in cells]
    run_tiles(tasks, workers=1, in_flight=in_flight, done=receipts.append)
    assert sorted((r.row, r.col) for r in receipts) == cells
    assert parts.finished(job) == set(cells)
    assert most == in_flight
    assert sum(r.n_px for r in receipts) < 48 * 64


def test_parts_are_one_raster(make_job: MakeJob, tmp_path: Path) -> None:
    from geotrans.grid import Window

    invalid = np.zeros((48, 64), bool)
    invalid[:20, :30] = True
    invalid[40, 50] = True
    job = make_job(mask=True, invalid=invalid)
    parts = Parts.beside(tmp_path / "out.tif")
    parts.begin(job, overwrite=False)
    tasks = list(lazy_parts(job, parts).values())
    run_tiles(tasks, workers=1, in_flight=2, done=lambda receipt: None)
    vrt = write_vrt(job, parts, tags={"A": "<b & c>"}, xmp="<x/>", is_masked=True)
    with rasterio.open(vrt) as mosaic, rasterio.open(job.scene.uri) as scene:
        assert mosaic.crs == scene.crs
        assert mosaic.transform == scene.transform
        assert mosaic.descriptions == scene.descriptions
        assert mosaic.tags()["A"] == "<b & c>"
        assert np.array_equal(mosaic.dataset_mask() != 0, ~invalid)
        assert np.array_equal(mosaic.read()[:, ~invalid], scene.read()[:, ~invalid])
        window = Window(10, 7, 45, 30)
        patch = read_parts(job, parts, window)
        rows, cols = window.slices
        assert np.array_equal(patch.valid, ~invalid[rows, cols])
        assert np.array_equal(patch.data, np.where(patch.valid, scene.read()[:, rows, cols], 0))
