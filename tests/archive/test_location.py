"""Archives whose products go to a real S3 server of this machine."""

from __future__ import annotations

import json
import logging
import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import cloudpickle
import pystac
import pytest

import geotrans
from geotrans.archive import Status, read_status, scene_task
from geotrans.archive.inputs import Entry
from geotrans.archive.scene_task import SceneTask, SceneWork, Setup
from geotrans.errors import GeotransError, OutputError, UsageError
from geotrans.product.upload import Target
from geotrans.tasks import open_bundle
from geotrans.translation.options import PixelOptions, RunOptions
from tests.helpers.products import digests
from tests.helpers.scenes import write_scene
from tests.helpers.stac import read_valid
from tests.helpers.store import Bucket
from tests.helpers.thorough import slow

pytest.importorskip("obstore")

URL = "s3://shelf/deep/maps"
KEPT = "shelf_deep_maps"
CATALOGUE = {"collection.json", "models/collection.json", "models/same.json"}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to be in."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def _batch(tmp_path: Path, bundle: Path, **options: Any) -> Status:
    return geotrans.batch(tmp_path / "scenes", task=bundle, **{"out": URL, **options})


def _names(bucket: Bucket) -> set[str]:
    """What is in the bucket, all of it where it should be."""
    return {key.removeprefix("deep/maps/") for key in sorted(bucket.keys())}


def _of(*scenes: str) -> set[str]:
    return {f"{scene}_same{end}" for scene in scenes for end in (".tif", ".png", ".json")}


def _files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


def _asked(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What the server was asked for since the last time, as `PUT /shelf/key`."""
    lines = [r.getMessage() for r in caplog.records if r.name == "werkzeug" and '"' in r.message]
    caplog.clear()
    return [" ".join(line.split('"')[1].removeprefix("\x1b[33m").split()[:2]) for line in lines]


def _written(caplog: pytest.LogCaptureFixture) -> set[str]:
    """Names of the objects written since the last time."""
    asked = (line.split()[1] for line in _asked(caplog) if line.startswith(("PUT", "POST")))
    return {path.removeprefix("/shelf/deep/maps/") for path in asked}


def test_products_and_a_catalogue_are_in_the_store_and_the_journal_is_here(
    scenes: Any, same_bundle: Path, bucket: Bucket, here: Path, tmp_path: Path
) -> None:
    sources = [*scenes(2), write_scene(tmp_path / "scenes" / "ä#1 50%.tif")]
    state = _batch(tmp_path, same_bundle)
    assert state.is_complete
    assert (state.out, state.folder) == (URL, str(here / KEPT))
    assert f"\njournal {here / KEPT}" in str(state)
    assert _files(here) == {KEPT, f"{KEPT}/journal.sqlite"}
    assert _names(bucket) == _of("scene0", "scene1", "ä#1 50%") | CATALOGUE
    assert not bucket.unfinished()
    assert read_status(KEPT).counts == read_status(URL).counts == state.counts

    saved = bucket.save("deep/maps", tmp_path / "saved")
    alone = tmp_path / "alone"
    alone.mkdir()
    for source in sources:
        geotrans.translate(source, same_bundle, out=alone / f"{source.stem}_same.tif")
    assert digests(saved) == digests(alone)
    for file in (here / KEPT / "journal.sqlite", *saved.rglob("*.*")):
        assert b"s3cr3t" not in file.read_bytes()


def test_the_catalogue_is_valid_and_its_links_are_right(
    scenes: Any, same_bundle: Path, bucket: Bucket, here: Path, tmp_path: Path
) -> None:
    sources = scenes(2)
    bucket.put("in/far.tif", sources[0].read_bytes())
    geotrans.batch([*sources, "s3://shelf/in/far.tif"], same_bundle, out=URL)
    saved = bucket.save("deep/maps", tmp_path / "saved")
    head = read_valid(saved / "collection.json")
    assert isinstance(head, pystac.Collection)
    items = {item.id: item for item in head.get_items()}
    assert set(items) == {"scene0_same", "scene1_same", "far_same"}
    for name, item in items.items():
        read_valid(saved / f"{name}.json")
        assert item.get_collection() is head
        assert item.collection_id == head.id
        for asset in item.assets.values():
            assert Path(asset.get_absolute_href() or "").parent == saved
            assert Path(asset.get_absolute_href() or "").is_file()
        source, model = item.get_links("derived_from")
        near = sources[int(name[5])].as_uri() if name.startswith("scene") else None
        assert source.href == (near or "s3://shelf/in/far.tif"), "what does not move is named whole"
        network = read_valid(Path(model.get_absolute_href() or ""))
        assert isinstance(network, pystac.Item)
        assert network.assets["weights"].href == same_bundle.as_uri()
        links = json.loads((saved / f"{name}.json").read_text())["links"]
        assert {link["href"] for link in links[1:]} == {"./models/same.json", "./collection.json"}


@pytest.mark.slow
def test_what_is_done_costs_a_listing_and_what_is_gone_or_changed_is_made_again(
    scenes: Any,
    same_bundle: Path,
    bucket: Bucket,
    here: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    sources = scenes(5)
    with caplog.at_level(logging.INFO, "werkzeug"):
        _batch(tmp_path, same_bundle)
        assert not any(r.getMessage().count("POST") for r in caplog.records), "no pieces"
        assert _written(caplog) == _of(*(f"scene{i}" for i in range(5))) | CATALOGUE
        assert _batch(tmp_path, same_bundle).n_new == 0
        asked = _asked(caplog)
        assert len(asked) == 5, "two lists, and the three documents"
        assert all(line.startswith("GET") for line in asked)
        for end in (".tif", ".png", ".json"):
            bucket.remove(f"deep/maps/scene2_same{end}")
            _asked(caplog)
            assert _batch(tmp_path, same_bundle).n_new == 1
            assert _of("scene2") <= _written(caplog) <= _of("scene2") | CATALOGUE
        write_scene(sources[1], shape=(60, 70))
        assert _batch(tmp_path, same_bundle).n_new == 1
        assert _of("scene1") <= _written(caplog) <= _of("scene1") | CATALOGUE
        bucket.remove("deep/maps/collection.json")
        _asked(caplog)
        assert _batch(tmp_path, same_bundle).n_new == 0
        assert _written(caplog) == {"collection.json"}
    geotrans.batch(tmp_path / "scenes", same_bundle, out=tmp_path / "alone")
    assert digests(bucket.save("deep/maps", tmp_path / "saved")) == digests(tmp_path / "alone")
    assert _files(here) == {KEPT, f"{KEPT}/journal.sqlite"}


@pytest.mark.parametrize("end", [slow(".png"), ".tif", slow(".json")])
def test_a_failed_upload_is_a_failure_and_needs_no_second_translation(
    end: str,
    scenes: Any,
    same_bundle: Path,
    bucket: Bucket,
    here: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sources = scenes(3)
    bucket.refuse(f"deep/maps/scene1_same{end}")
    state = _batch(tmp_path, same_bundle)
    assert (state.counts["done"], state.counts["failed"]) == (2, 1)
    (failure,) = state.failures
    assert failure.reason.startswith(f"{URL}/scene1_same{end} cannot be written: ")
    assert "403 Forbidden" in failure.reason
    assert (failure.kind, failure.tries) == ("OutputError", 2)
    sent = _names(bucket) - _of("scene0", "scene2") - CATALOGUE
    assert sent <= _of("scene1") - {"scene1_same.json", f"scene1_same{end}"}, "the item comes last"
    assert "scene1" not in bucket.get("deep/maps/collection.json").decode()
    assert _batch(tmp_path, same_bundle).n_new == 0, "it rests until asked for"

    made: list[str] = []
    translate = scene_task.translate

    def watched(scene: Any, task: Any, **options: Any) -> Any:
        made.append(Path(options["out"]).name)
        return translate(scene, task, **options)

    monkeypatch.setattr(scene_task, "translate", watched)
    bucket.refuse()
    assert _batch(tmp_path, same_bundle, retry_failed=True).is_complete
    assert not made, "it was whole, and only had to be sent"
    assert _names(bucket) == _of("scene0", "scene1", "scene2") | CATALOGUE
    assert _files(here) == {KEPT, f"{KEPT}/journal.sqlite"}

    os.utime(sources[1])
    bucket.refuse(f"deep/maps/scene1_same{end}")
    assert not _batch(tmp_path, same_bundle).is_complete
    bucket.refuse()
    write_scene(sources[1], shape=(50, 50))
    made.clear()
    assert _batch(tmp_path, same_bundle).is_complete
    assert made == ["scene1_same.tif"], "what waits to be sent is of a scene that has changed"
    geotrans.batch(tmp_path / "scenes", same_bundle, out=tmp_path / "alone")
    assert digests(bucket.save("deep/maps", tmp_path / "saved")) == digests(tmp_path / "alone")


def test_a_store_that_is_lost_ends_the_run_which_then_goes_on(
    scenes: Any,
    same_bundle: Path,
    bucket: Bucket,
    here: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scenes(4)
    send = Target.upload

    def losing(target: Target, file: Path, **more: Any) -> None:
        if "scene2" in target.key:
            bucket.refuse("*")
        send(target, file, **more)

    monkeypatch.setattr(Target, "upload", losing)
    with pytest.raises(OutputError, match=r"403 Forbidden; make room or rights, and the same"):
        _batch(tmp_path, same_bundle)
    state = read_status(KEPT)
    assert (state.counts["done"], state.counts["waiting"], state.counts["failed"]) == (2, 2, 0)
    assert _names(bucket) >= _of("scene0", "scene1")
    monkeypatch.setattr(Target, "upload", send)
    bucket.refuse()
    assert _batch(tmp_path, same_bundle).n_new == 2
    assert _names(bucket) == _of(*(f"scene{i}" for i in range(4))) | CATALOGUE
    assert _files(here) == {KEPT, f"{KEPT}/journal.sqlite"}


@pytest.mark.slow
def test_what_is_not_ours_is_left_alone(
    scenes: Any, same_bundle: Path, bucket: Bucket, here: Path, tmp_path: Path
) -> None:
    scenes(2)
    for end in ("tif", "json"):
        key = f"deep/maps/scene0_same.{end}"
        bucket.put(key, b"somebody's")
        for _ in range(2):
            state = _batch(tmp_path, same_bundle, retry_failed=True)
            (failure,) = state.failures
            assert failure.reason.startswith(f"s3://shelf/{key} exists and is not of this job")
        assert bucket.get(key) == b"somebody's"
        assert _names(bucket) == _of("scene1") | CATALOGUE | {f"scene0_same.{end}"}
        bucket.remove(key)
    assert _batch(tmp_path, same_bundle, retry_failed=True).is_complete
    bucket.put("other/collection.json", b"{}")
    with pytest.raises(OutputError, match=r"other/collection.json exists and is not of this job"):
        _batch(tmp_path, same_bundle, out="s3://shelf/other")
    assert bucket.get("other/collection.json") == b"{}"
    assert _batch(tmp_path, same_bundle, out="s3://shelf/other", overwrite=True).n_new == 2


def test_a_second_directory_has_no_journal_and_says_so(
    scenes: Any,
    same_bundle: Path,
    bucket: Bucket,
    here: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scenes(1)
    _batch(tmp_path, same_bundle)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    with pytest.raises(OutputError, match=rf"whose journal would be in {elsewhere / KEPT}; go on"):
        _batch(tmp_path, same_bundle)


def test_a_journal_of_another_store_is_refused(
    scenes: Any, same_bundle: Path, bucket: Bucket, here: Path, tmp_path: Path
) -> None:
    scenes(1)
    _batch(tmp_path, same_bundle)
    before = bucket.keys()
    for options in ({}, {"overwrite": True}):
        with pytest.raises(
            OutputError, match=rf"is the journal of {URL}; for s3://shelf/deep_maps"
        ):
            _batch(tmp_path, same_bundle, out="s3://shelf/deep_maps", **options)
        with pytest.raises(OutputError, match=rf"is the journal of {URL}; for others choose"):
            _batch(tmp_path, same_bundle, out=KEPT, **options)
    _batch(tmp_path, same_bundle, out="shelf_local")
    with pytest.raises(OutputError, match="is the journal of the products beside it; for s3://"):
        _batch(tmp_path, same_bundle, out="s3://shelf/local")
    assert bucket.keys() == before


@pytest.mark.slow
def test_overwrite_does_all_anew(
    scenes: Any, same_bundle: Path, bucket: Bucket, here: Path, tmp_path: Path
) -> None:
    scenes(2)
    _batch(tmp_path, same_bundle)
    with pytest.raises(OutputError, match=r"another job \(seed 0, now 5\)"):
        _batch(tmp_path, same_bundle, seed=5)
    bucket.refuse("deep/maps/scene1_same.tif")
    assert _batch(tmp_path, same_bundle, seed=5, overwrite=True).n_new == 1
    bucket.refuse()
    assert _batch(tmp_path, same_bundle, seed=7, overwrite=True).n_new == 2
    for scene in ("scene0", "scene1"):
        assert '"seed": 7' in bucket.get(f"deep/maps/{scene}_same.json").decode()


def test_what_cannot_be_written_to_is_told_before_any_work(
    scenes: Any,
    same_bundle: Path,
    bucket: Bucket,
    here: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scenes(1)
    monkeypatch.setattr(scene_task, "translate", lambda *words, **options: pytest.fail("work"))

    def price(tmp_path: Path, bundle: Path, **options: Any) -> Any:
        return geotrans.archive.estimate_archive(tmp_path / "scenes", same_bundle, **options)

    def told(out: str | Path, error: type[GeotransError], match: str) -> None:
        for work in (_batch, price):
            with pytest.raises(error, match=match) as caught:
                work(tmp_path, same_bundle, out=out)
            assert "\n" not in str(caught.value)
            assert "pw" not in str(caught.value)
            assert "s3cr3t" not in str(caught.value)

    told("s3://me:pw@shelf/maps", UsageError, "keys belong into the environment")
    told("s3://shelf/maps?sig=pw", UsageError, "keys belong into the environment")
    told("s3://", UsageError, "names no bucket; give s3://bucket/prefix")
    told("s3:///maps", UsageError, "names no bucket; give s3://bucket/prefix")
    told("https://host/maps", UsageError, "nothing can be uploaded to https://host/maps")
    told(Path("s3://shelf/maps"), UsageError, "was given as a path; give a URL as text")
    told("s3://nowhere/maps", OutputError, "there is no bucket 'nowhere'; make it first")
    assert not _files(here)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    told(URL, OutputError, rf"{URL} cannot be listed: .*error sending request")


def test_a_key_without_rights_is_told_before_any_work(
    scenes: Any,
    same_bundle: Path,
    bucket: Bucket,
    here: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scenes(1)
    translate = scene_task.translate

    def refused() -> None:
        bucket.refuse("*")
        monkeypatch.setattr(scene_task, "translate", lambda *words, **options: pytest.fail("work"))
        with pytest.raises(
            OutputError, match=rf"{URL}/models/\S+ cannot be written: .*403"
        ) as told:
            _batch(tmp_path, same_bundle)
        assert "\n" not in str(told.value)
        monkeypatch.setattr(scene_task, "translate", translate)

    refused()
    assert not bucket.keys()
    bucket.refuse()
    assert _batch(tmp_path, same_bundle).is_complete
    bucket.refuse("*")
    assert _batch(tmp_path, same_bundle).n_new == 0, "what is done needs no rights"
    write_scene(tmp_path / "scenes" / "late.tif")
    refused()


def test_a_plan_writes_nothing(
    scenes: Any, same_bundle: Path, bucket: Bucket, here: Path, tmp_path: Path
) -> None:
    scenes(2)
    price = geotrans.archive.estimate_archive(tmp_path / "scenes", same_bundle, out=URL)
    assert (price.n_scenes, price.out) == (2, URL)
    assert price.output_bytes > 0
    assert not bucket.keys()
    assert not _files(here)


def test_a_run_that_is_over_uploads_nothing(
    scenes: Any, same_bundle: Path, bucket: Bucket, here: Path, tmp_path: Path
) -> None:
    """A worker whose run was killed must not replace what a later run has uploaded."""
    (source,) = scenes(1)
    options = PixelOptions(precision="float32"), RunOptions(device="cpu")
    claim = tmp_path / "errand"
    claim.touch()
    setup = Setup(open_bundle(same_bundle), *options, target=Target(URL))
    assert b"s3cr3t" not in cloudpickle.dumps(SceneWork(setup, here)), "keys stay where they are"
    work = SceneWork(setup, here).for_worker(1, claim=claim)
    order = SceneTask(Entry.from_file(source), here / "scene0_same.tif")
    bucket.refuse("deep/maps/scene0_same.tif")
    assert work(order).state == "failed"
    bucket.refuse()
    claim.unlink()
    outcome = work(order)
    assert (outcome.state, outcome.kind) == ("failed", "OutputError")
    assert "is over" in str(outcome.reason)
    assert not bucket.keys()
    claim.touch()
    assert work(order).state == "done"
    assert _names(bucket) == _of("scene0")
    assert _files(here) == set()


def test_nothing_is_recorded_before_it_is_in_the_store(
    scenes: Any,
    same_bundle: Path,
    bucket: Bucket,
    here: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scenes(2)
    send, states = Target.upload, []

    def watched(target: Target, file: Path, **more: Any) -> None:
        send(target, file, **more)
        with closing(sqlite3.connect(here / KEPT / "journal.sqlite")) as db:
            states.append((target.key, dict(db.execute("SELECT name, state FROM scene"))))

    monkeypatch.setattr(Target, "upload", watched)
    assert _batch(tmp_path, same_bundle).is_complete
    assert len(states) == 6
    for key, state in states:
        assert state[key.removeprefix("deep/maps/").partition("_")[0]] == "running"
