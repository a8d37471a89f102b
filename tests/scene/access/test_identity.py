from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from geotrans.scene import open_scene
from geotrans.scene.access import identity

MakeScene = Callable[..., Path]


def test_a_local_file_is_its_hash(make_scene: MakeScene) -> None:
    path = make_scene()
    found = open_scene(path).identity
    assert found.kind == "sha256"
    assert found.value == hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_bystander_does_not_change_it(make_scene: MakeScene) -> None:
    path = make_scene()
    before = open_scene(path).identity
    path.with_name(path.name + ".aux.xml").write_text("<PAMDataset/>")
    assert open_scene(path).identity == before


def test_a_mask_beside_it_does(make_scene: MakeScene) -> None:
    path = make_scene()
    mask = make_scene(bands=1).rename(path.with_name(path.name + ".msk"))
    several = open_scene(path).identity
    assert several.kind == "sha256-set"
    mask.write_bytes(mask.read_bytes() + b" ")
    assert open_scene(path).identity != several


def test_a_very_large_file_is_told_by_size_and_time(
    make_scene: MakeScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(identity, "MAX_HASHED_BYTES", 10)
    path = make_scene()
    stat = path.stat()
    found = open_scene(path).identity
    assert found.kind == "stat"
    assert found.value == f"{path.name} {stat.st_size} {stat.st_mtime_ns}"
