"""Which scenes are meant by what was given."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from geotrans.archive.inputs import find_entries
from geotrans.errors import SceneError, UsageError
from geotrans.tasks import BandSpec, GeneratorSpec, TaskSpec

SPEC = TaskSpec(
    name="same",
    source=[BandSpec(name="red"), BandSpec(name="nir")],
    target=[BandSpec(name="red")],
    generator=GeneratorSpec(arch="identity"),
    halo=0,
    align=1,
)


def _touch(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def _names(folder: Path, *inputs: object) -> list[str]:
    found = find_entries([str(text) for text in inputs], outside=folder / "out")
    return [os.path.relpath(entry.uri, folder.resolve()) for entry in found]


def test_a_folder_is_searched_to_the_bottom_and_past_what_is_no_scene(tmp_path: Path) -> None:
    _touch(
        tmp_path, "b.tif", "a.TIFF", "deep/er/c.vrt", "notes.txt", ".hidden.tif", "b.tif.aux.xml",
        "b_map.tif.parts/r0.tif", "out/product.tif",
    )  # fmt: skip
    assert _names(tmp_path, tmp_path) == ["a.TIFF", "b.tif", "deep/er/c.vrt"]


def test_links_are_followed_once(tmp_path: Path) -> None:
    _touch(tmp_path, "real/a.tif")
    (tmp_path / "real" / "loop").symlink_to(tmp_path / "real", target_is_directory=True)
    (tmp_path / "again").symlink_to(tmp_path / "real", target_is_directory=True)
    (tmp_path / "other.tif").symlink_to(tmp_path / "real" / "a.tif")
    assert _names(tmp_path, tmp_path) == ["real/a.tif"]


def test_names_of_any_kind(tmp_path: Path) -> None:
    _touch(tmp_path, "größe 1/日本.tif", "[1].tif")
    assert _names(tmp_path, tmp_path) == ["[1].tif", "größe 1/日本.tif"]
    assert _names(tmp_path, tmp_path / "[1].tif") == ["[1].tif"]
    odd = os.fsencode(tmp_path) + b"/\xff.tif"
    Path(os.fsdecode(odd)).write_bytes(b"x")
    (entry,) = find_entries([os.fsdecode(odd)], outside=tmp_path / "out")
    assert entry.name.encode() == rb"\xff"


def test_globs(tmp_path: Path) -> None:
    _touch(tmp_path, "a.tif", "b.tif", "deep/c.tif", "d.png")
    assert _names(tmp_path, tmp_path / "?.tif") == ["a.tif", "b.tif"]
    assert _names(tmp_path, tmp_path / "**" / "*.tif") == ["a.tif", "b.tif", "deep/c.tif"]
    with pytest.raises(SceneError, match="nothing matches"):
        _names(tmp_path, tmp_path / "*.jp2")


def test_lists_name_scenes_beside_them(tmp_path: Path) -> None:
    _touch(tmp_path, "data/a.tif", "data/b.tif")
    (tmp_path / "data" / "list.txt").write_text("# ours\n\na.tif\nhttps://host/c.tif?sig=1\n")
    (tmp_path / "data" / "list.csv").write_text("id,path\n1,b.tif\n2,a.tif\n3,\n")
    found = find_entries(
        [tmp_path / "data" / "list.txt", tmp_path / "data" / "list.csv"], outside=tmp_path / "out"
    )
    assert [entry.name for entry in found] == ["a", "c", "b"]
    assert found[1].uri == "https://host/c.tif?sig=1"
    assert found[1].key == "https://host/c.tif", "a signature is not what a scene is known by"


def test_lists_that_cannot_be_meant(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("id,scne\n1,b.tif\n")
    with pytest.raises(UsageError, match="has the columns id, scne"):
        find_entries([tmp_path / "list.csv"], outside=tmp_path / "out")
    (tmp_path / "list.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="cannot be read"):
        find_entries([tmp_path / "list.txt"], outside=tmp_path / "out")
    (tmp_path / "empty.txt").write_text("# nothing\n")
    with pytest.raises(SceneError, match="holds no scene"):
        find_entries([tmp_path / "empty.txt"], outside=tmp_path / "out")


def test_a_scene_that_is_not_there_fails_alone(tmp_path: Path) -> None:
    (entry,) = find_entries([tmp_path / "gone.tif"], outside=tmp_path / "out")
    with pytest.raises(SceneError, match="no such file"):
        entry.open(SPEC)
