"""Many scenes in one run: what is done is done once, and one bad scene stops no other."""

from __future__ import annotations

import logging
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

import geotrans
from geotrans.archive import Status, read_status
from geotrans.errors import OutputError, SceneError, TaskError, UsageError
from tests.helpers.bundles import identity_bundle
from tests.helpers.scenes import write_scene


def _batch(folder: Path, bundle: Path, out: Path, **options: Any) -> Status:
    return geotrans.batch(folder, task=bundle, out=out, **options)


def _times(out: Path) -> dict[str, int]:
    return {p.name: p.stat().st_mtime_ns for p in out.glob("*.tif")}


def _same(one: Path, other: Path) -> bool:
    with rasterio.open(one) as a, rasterio.open(other) as b:
        return (a.crs, a.transform) == (b.crs, b.transform) and np.array_equal(a.read(), b.read())


def test_every_scene_becomes_a_product(scenes: Any, same_bundle: Path, tmp_path: Path) -> None:
    sources, out = scenes(3), tmp_path / "deep" / "out"
    state = _batch(tmp_path / "scenes", same_bundle, out)
    assert state.counts == {"waiting": 0, "running": 0, "done": 3, "failed": 0}
    assert state.is_complete
    assert state.n_new == 3
    assert state.n_px == sum((24 + i) * 32 for i in range(3))
    assert state.held_by == ()
    for source in sources:
        assert _same(source, out / f"{source.stem}_same.tif")
    names = {f"scene{i}_same{end}" for i in range(3) for end in (".tif", ".json", ".png")}
    names |= {"journal.sqlite", "collection.json", "models"}
    assert {p.name for p in out.iterdir()} == names, "nothing else is left"
    assert read_status(out) == state


def test_what_is_done_is_skipped_and_what_changed_is_redone(
    scenes: Any, same_bundle: Path, tmp_path: Path
) -> None:
    sources, out = scenes(3), tmp_path / "out"
    _batch(tmp_path / "scenes", same_bundle, out)
    before = _times(out)
    assert _batch(tmp_path / "scenes", same_bundle, out).n_new == 0
    assert _times(out) == before
    os.utime(sources[1])
    assert _batch(tmp_path / "scenes", same_bundle, out).n_new == 1
    after = _times(out)
    assert {name for name in before if before[name] != after[name]} == {"scene1_same.tif"}
    for end in (".tif", ".png", ".json"):
        (out / f"scene2_same{end}").unlink()
        assert _batch(tmp_path / "scenes", same_bundle, out).n_new == 1
    write_scene(tmp_path / "scenes" / "late.tif")
    assert _batch(tmp_path / "scenes", same_bundle, out).counts["done"] == 4


def test_bad_scenes_are_told_and_stop_no_other(
    scenes: Any, same_bundle: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    scenes(2)
    folder, out = tmp_path / "scenes", tmp_path / "out"
    truncated = write_scene(folder / "a.tif", shape=(400, 400), compress=None)
    truncated.write_bytes(truncated.read_bytes()[:300_000])
    write_scene(folder / "b.tif", bands=2)
    nothing = np.zeros((3, 32, 32), np.uint8)
    write_scene(folder / "c.tif", shape=(32, 32), data=nothing, nodata=0)
    write_scene(folder / "d.tif", crs=None)
    with caplog.at_level(logging.WARNING, "geotrans"):
        state = geotrans.batch(
            [folder, "http://127.0.0.1:9/e.tif", folder / "gone.tif"], task=same_bundle, out=out
        )
    assert state.counts == {"waiting": 0, "running": 0, "done": 3, "failed": 5}
    told = {failure.name: failure for failure in state.failures}
    assert "a.tif cannot be opened as a raster" in told["a"].reason
    assert "it lacks red, green, blue" in told["b"].reason
    assert "no valid pixel" in told["c"].reason
    assert "127.0.0.1:9/e.tif cannot be opened" in told["e"].reason
    assert "no such file" in told["gone"].reason
    assert {told[name].tries for name in "ace"} == {2}, "trying again might have helped"
    assert told["b"].tries == 1, "and here it could not"
    assert str(state).count("\nfailed  ") == 5
    assert "no CRS" in caplog.text, "what a scene is warned of is passed on"

    assert _batch(folder, same_bundle, out).n_new == 0
    assert read_status(out).counts["failed"] == 5, "failed scenes rest until asked for"
    write_scene(folder / "b.tif")
    assert _batch(folder, same_bundle, out).n_new == 1, "what changed is tried without asking"
    shutil.copy(folder / "scene0.tif", folder / "gone.tif")
    state = _batch(folder, same_bundle, out, retry_failed=True, max_retries=0)
    assert {failure.name: failure.tries for failure in state.failures} == {"a": 1, "c": 1}


def test_scenes_of_one_name_are_kept_apart(tmp_path: Path, same_bundle: Path) -> None:
    for place, width in (("north", 20), ("south", 30)):
        (tmp_path / "in" / place).mkdir(parents=True)
        write_scene(tmp_path / "in" / place / "tile 1.tif", shape=(16, width))
    state = _batch(tmp_path / "in", same_bundle, tmp_path / "out")
    assert state.counts["done"] == 2
    products = sorted((tmp_path / "out").glob("*.tif"))
    assert [p.name[:7] for p in products] == ["tile 1-", "tile 1-"]
    widths = [rasterio.open(p).width for p in products]
    assert sorted(widths) == [20, 30]


def test_a_folder_of_another_job_is_refused(scenes: Any, same_bundle: Path, tmp_path: Path) -> None:
    scenes(2)
    out = tmp_path / "out"
    _batch(tmp_path / "scenes", same_bundle, out)
    with pytest.raises(OutputError, match=r"another job \(seed 0, now 5\)"):
        _batch(tmp_path / "scenes", same_bundle, out, seed=5)
    other = identity_bundle(tmp_path / "other.safetensors", halo=4)
    with pytest.raises(OutputError, match=r"another job \(weights"):
        _batch(tmp_path / "scenes", other, out)
    assert _batch(tmp_path / "scenes", same_bundle, out, seed=5, overwrite=True).n_new == 2


def test_a_product_that_is_not_ours_is_left_alone(
    scenes: Any, same_bundle: Path, tmp_path: Path
) -> None:
    scenes(1)
    out = tmp_path / "out"
    out.mkdir()
    (out / "scene0_same.tif").write_text("somebody's")
    for _ in range(2):
        state = _batch(tmp_path / "scenes", same_bundle, out, retry_failed=True)
        assert "is not of this job" in state.failures[0].reason
    assert (out / "scene0_same.tif").read_text() == "somebody's"
    assert _batch(tmp_path / "scenes", same_bundle, out, overwrite=True).is_complete
    other = tmp_path / "other"
    other.mkdir()
    (other / "collection.json").write_text("somebody's")
    with pytest.raises(OutputError, match=r"other/collection.json exists and is not of this job"):
        _batch(tmp_path / "scenes", same_bundle, other)
    assert (other / "collection.json").read_text() == "somebody's"


def test_what_concerns_all_scenes_is_raised(scenes: Any, same_bundle: Path, tmp_path: Path) -> None:
    scenes(1)
    folder, out = tmp_path / "scenes", tmp_path / "out"
    with pytest.raises(TaskError):
        geotrans.batch(folder, task="nothing", out=out)
    with pytest.raises(SceneError, match="holds no scene"):
        geotrans.batch([], task=same_bundle, out=out)
    with pytest.raises(UsageError, match="0 workers"):
        _batch(folder, same_bundle, out, workers=0)
    with pytest.raises(UsageError, match="too little"):
        _batch(folder, same_bundle, out, memory=10**6)
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be made"):
        _batch(folder, same_bundle, tmp_path / "file")


def test_the_network_is_loaded_once(
    scenes: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from geotrans.inference import translator

    made = []
    real = translator.Translator.__init__

    def spy(self: Any, *args: Any, **options: Any) -> None:
        made.append(1)
        real(self, *args, **options)

    monkeypatch.setattr(translator.Translator, "__init__", spy)
    scenes(4)
    # A bundle of its own: another test's may be loaded already.
    bundle = identity_bundle(tmp_path / "own.safetensors", title="own")
    assert _batch(tmp_path / "scenes", bundle, tmp_path / "out").is_complete
    assert len(made) == 1


@pytest.mark.slow
def test_processes_share_the_scenes(scenes: Any, same_bundle: Path, tmp_path: Path) -> None:
    sources = scenes(5)
    folder = tmp_path / "scenes"
    write_scene(folder / "bad.tif", bands=1)
    state = _batch(folder, same_bundle, tmp_path / "out", workers=2, memory=4 * 10**9)
    assert state.counts == {"waiting": 0, "running": 0, "done": 5, "failed": 1}
    for source in sources:
        assert _same(source, tmp_path / "out" / f"{source.stem}_same.tif")
