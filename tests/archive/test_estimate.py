"""What an archive will cost, told before it is begun."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import geotrans
from geotrans.archive import estimate as pricing
from geotrans.archive import estimate_archive
from tests.helpers.scenes import write_scene


def test_an_archive_is_priced_and_nothing_written(
    scenes: Any, same_bundle: Path, tmp_path: Path
) -> None:
    scenes(3)
    write_scene(tmp_path / "scenes" / "two.tif", bands=2)
    found = estimate_archive(tmp_path / "scenes", task=same_bundle, out=tmp_path / "out")
    assert (found.n_scenes, found.n_px) == (3, (24 + 25 + 26) * 32)
    assert list(found.refused) == [str(tmp_path / "scenes" / "two.tif")]
    assert found.probe is not None
    assert Path(found.probe.source).name == "scene1.tif", "that of middle size"
    assert found.seconds > 0
    assert found.memory_bytes > 0
    assert not (tmp_path / "out").exists()
    state = geotrans.batch(tmp_path / "scenes", task=same_bundle, out=tmp_path / "out")
    assert found.output_bytes == pytest.approx(state.n_bytes, rel=0.02), "all are measured"
    assert "3 of 0.0 Mpx, and 1 that would fail" in str(found)


def test_an_archive_of_nothing_but_bad_scenes(same_bundle: Path, tmp_path: Path) -> None:
    bad = write_scene(tmp_path / "bad.tif", bands=1, dtype="float32")
    foreign = write_scene(tmp_path / "foreign.tif", dtype="uint16")
    found = estimate_archive([bad, foreign], task=same_bundle, out=tmp_path / "out")
    assert found.n_scenes == 0
    assert found.probe is None
    assert set(found.refused) == {str(bad), str(foreign)}
    two = write_scene(tmp_path / "two.tif", bands=2)
    assert list(estimate_archive([two], task=same_bundle, out=tmp_path / "out").refused) == [
        str(two)
    ]


def test_large_scenes_are_measured_by_a_tile(
    same_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [
        write_scene(tmp_path / f"{i}.tif", shape=(64 + 8 * (i // 4), 64), block=64)
        for i in range(20)
    ]
    monkeypatch.setattr(pricing, "_WHOLE_PX", 80 * 64)
    found = estimate_archive(paths, task=same_bundle, out=tmp_path / "out", tile=64)
    assert found.n_px == sum((64 + 8 * (i // 4)) * 64 for i in range(20))
    state = geotrans.batch(paths, task=same_bundle, out=tmp_path / "out")
    # Half of the parts leave out what a file has beside its pixels.
    assert 0.5 * state.n_bytes < found.output_bytes < 1.5 * state.n_bytes
