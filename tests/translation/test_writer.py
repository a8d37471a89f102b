"""One piece of work per tile: nothing more than what is asked for, and a few at a time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

from geotrans.execution.run import run_cells
from geotrans.parts import Parts
from geotrans.parts.assemble import read_parts, write_vrt
from geotrans.parts.writer import Receipt
from geotrans.translation import Job
from geotrans.translation import writer as graph
from geotrans.translation.lazy import eager_product
from geotrans.translation.writer import TileWriter

MakeJob = Callable[..., Job]


def test_a_product_in_memory_is_the_scene(make_job: MakeJob) -> None:
    invalid = np.zeros((48, 64), bool)
    invalid[5:40, 20:60] = True
    job = make_job(mask=True, invalid=invalid)
    data, valid = eager_product(job)
    assert np.array_equal(valid, ~invalid)
    with rasterio.open(job.scene.uri) as scene:
        assert np.array_equal(data, np.where(invalid, 0, scene.read()))


@pytest.mark.parametrize("at_once", [1, 3])
def test_only_what_is_asked_for_is_made_and_a_few_at_a_time(
    make_job: MakeJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_once: int
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
    monkeypatch.setattr(graph, "tiles_in_flight", lambda device, precision: at_once)
    cells = [(t.row, t.col) for t in job.plan][3:]
    receipts: list[Receipt] = []
    run_cells(TileWriter(job, parts), cells, on_done=receipts.append)
    assert sorted((r.row, r.col) for r in receipts) == cells
    assert parts.find_finished(job) == set(cells)
    assert most == at_once
    assert sum(r.n_px for r in receipts) < 48 * 64


def test_parts_are_one_raster(make_job: MakeJob, tmp_path: Path) -> None:
    from geotrans.grid import Window

    invalid = np.zeros((48, 64), bool)
    invalid[:20, :30] = True
    invalid[40, 50] = True
    job = make_job(mask=True, invalid=invalid)
    parts = Parts.beside(tmp_path / "out.tif")
    parts.begin(job, overwrite=False)
    cells = [(tile.row, tile.col) for tile in job.plan]
    run_cells(TileWriter(job, parts), cells, on_done=lambda receipt: None)
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
