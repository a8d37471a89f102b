"""The archive as a static STAC catalogue that pystac validates and walks through."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pystac

import geotrans
from tests.helpers.scenes import write_scene
from tests.helpers.stac import read_valid


def test_items_a_collection_and_the_network(scenes: Any, same_bundle: Path, tmp_path: Path) -> None:
    sources = scenes(2, tags={"ACQUISITIONDATETIME": "2020-06-01T10:00:00Z"})
    write_scene(tmp_path / "scenes" / "nowhere.tif", crs=None)
    undated = write_scene(tmp_path / "scenes" / "undated.tif")
    os.utime(undated, (1_600_000_000, 1_600_000_000))
    out = tmp_path / "out"
    assert geotrans.batch(tmp_path / "scenes", same_bundle, out=out).is_complete
    head = read_valid(out / "collection.json")
    assert isinstance(head, pystac.Collection)
    items = {item.id: item for item in head.get_items()}
    assert set(items) == {"scene0_same", "scene1_same", "nowhere_same", "undated_same"}
    for name, item in items.items():
        read_valid(out / f"{name}.json")
        assert item.get_collection() is head
        for asset in item.assets.values():
            assert Path(asset.get_absolute_href() or "").is_file()
        source, model = item.get_links("derived_from")
        assert (out / source.href).resolve().parent == tmp_path / "scenes"
        read_valid(Path(model.get_absolute_href() or ""))
    assert items["scene0_same"].properties["datetime"] == "2020-06-01T10:00:00Z"
    undated_times = items["undated_same"].properties
    assert undated_times["datetime"] is None
    assert undated_times["end_datetime"] == "2020-09-13T12:26:40Z", "not after the file was written"
    assert head.extent.spatial.bboxes[0] == items["undated_same"].bbox
    assert sources[0].exists()


def test_the_collection_follows_what_is_done(
    scenes: Any, same_bundle: Path, tmp_path: Path
) -> None:
    scenes(1)
    out = tmp_path / "out"
    geotrans.batch(tmp_path / "scenes", same_bundle, out=out)
    before = (out / "collection.json").stat().st_mtime_ns
    geotrans.batch(tmp_path / "scenes", same_bundle, out=out)
    assert (out / "collection.json").stat().st_mtime_ns == before, "nothing new, nothing written"
    write_scene(tmp_path / "scenes" / "late.tif")
    geotrans.batch(tmp_path / "scenes", same_bundle, out=out)
    head = pystac.read_file(str(out / "collection.json"))
    assert {link.href for link in head.get_links("item")} == {
        "./late_same.json", "./scene0_same.json",
    }  # fmt: skip
