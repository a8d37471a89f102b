import json
from pathlib import Path

import numpy as np
import pytest

from geotrans.errors import OutputError, SamplingError
from geotrans.sampling.cache import (
    Manifest,
    PatchCache,
    PatchRecord,
    SideRecord,
)
from geotrans.sampling.writing import CachedPatch, write_cache

MARGIN = 3


def _patch(i, *, size=8):
    rng = np.random.default_rng(i)
    wide = size + 2 * MARGIN
    record = PatchRecord(
        name=f"town_{i}",
        place=f"{i % 2}",
        group="2020",
        crs="EPSG:26911",
        transform=(0.6, 0.0, 365000.0 + i, 0.0, -0.6, 3770000.0),
        shape=(size, size),
        window=(0, 0, size, size),
    )
    return CachedPatch(
        record,
        source=rng.integers(0, 255, (3, wide, wide), dtype=np.uint8),
        target=rng.integers(0, 60000, (4, size, size), dtype=np.uint16),
        valid=rng.random((size, size)) > 0.1,
        classes=rng.integers(0, 9, (size, size), dtype=np.uint8),
    )


@pytest.fixture
def manifest():
    return Manifest(
        source=SideRecord(bands=("red", "green", "blue"), dtype="uint8"),
        target=SideRecord(bands=("red", "green", "blue", "nir"), dtype="uint16"),
        margin=MARGIN,
        drawn="source",
        palette=(("road", (255, 255, 255)), ("park", (0, 200, 0))),
    )


@pytest.fixture
def cache(tmp_path, manifest):
    splits = {"train": map(_patch, range(5)), "val": map(_patch, range(5, 7))}
    return write_cache(tmp_path / "cache", manifest, splits)


def test_what_is_written_is_read(cache):
    opened = PatchCache.open(cache.path)
    assert opened.manifest == cache.manifest
    assert opened.splits == ("train", "val")
    patches = opened.load("train", margin=MARGIN)
    assert len(patches) == 5
    for i in range(5):
        patch = _patch(i)
        for name in ("source", "target", "valid", "classes"):
            np.testing.assert_array_equal(getattr(patches, name)[i], getattr(patch, name))
            assert getattr(patches, name).dtype == getattr(patch, name).dtype
        assert patches.records[i] == patch.record
    assert patches.places == ["0", "1", "0", "1", "0"]
    assert patches.names[1] == "town_1"
    assert patches.groups == ["2020"] * 5


@pytest.mark.parametrize("margin", range(MARGIN + 1))
@pytest.mark.parametrize("mmap", [False, True])
def test_margin_is_cut_evenly_from_the_drawn_side(cache, margin, mmap):
    patches = cache.load("val", margin=margin, mmap=mmap)
    cut = MARGIN - margin
    whole = _patch(5).source
    np.testing.assert_array_equal(
        patches.source[0], whole[:, cut : whole.shape[1] - cut, cut : whole.shape[2] - cut]
    )
    assert patches.target.shape[-2:] == patches.valid.shape[-2:] == (8, 8)


def test_arrays_need_nothing_but_numpy(cache):
    array = np.load(cache.path / "train.target.npy", allow_pickle=False)
    assert array.shape == (5, 4, 8, 8)


def test_an_interrupted_write_leaves_nothing(tmp_path, manifest):
    def patches():
        yield _patch(0)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_cache(tmp_path / "cache", manifest, {"train": patches()})
    assert list(tmp_path.iterdir()) == []


def test_a_failed_overwrite_keeps_the_old_cache(cache, manifest):
    def patches():
        yield _patch(0)
        raise SamplingError("no")

    with pytest.raises(SamplingError):
        write_cache(cache.path, manifest, {"train": patches()}, overwrite=True)
    assert len(PatchCache.open(cache.path).load("train")) == 5
    assert [path.name for path in cache.path.parent.iterdir()] == ["cache"]


def test_overwrite_replaces(cache, manifest):
    with pytest.raises(OutputError, match="overwrite=True"):
        write_cache(cache.path, manifest, {"train": [_patch(0)]})
    write_cache(cache.path, manifest, {"train": [_patch(0)]}, overwrite=True)
    assert len(PatchCache.open(cache.path).load("train")) == 1


def test_foreign_folders_are_left_alone(tmp_path, manifest):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "mine.jpg").touch()
    with pytest.raises(OutputError, match="no patch cache"):
        write_cache(tmp_path / "photos", manifest, {"train": [_patch(0)]}, overwrite=True)
    with pytest.raises(OutputError, match="does not exist"):
        write_cache(tmp_path / "missing" / "cache", manifest, {"train": [_patch(0)]})


def test_a_split_without_patches_is_told(tmp_path, manifest):
    with pytest.raises(SamplingError, match="'val' holds no patch"):
        write_cache(tmp_path / "cache", manifest, {"train": [_patch(0)], "val": []})
    assert list(tmp_path.iterdir()) == []


def test_wrong_questions_are_told(cache, tmp_path):
    with pytest.raises(SamplingError, match="no split 'test', but train, val"):
        cache.load("test")
    with pytest.raises(SamplingError, match="margin of 4 px"):
        cache.load("train", margin=MARGIN + 1)
    with pytest.raises(SamplingError, match="geotrans tile"):
        PatchCache.open(tmp_path)


def test_damage_is_told(cache):
    _truncate(cache.path / "train.source.npy")
    with pytest.raises(SamplingError, match=r"train\.source\.npy is missing or damaged"):
        cache.load("train")
    (cache.path / "val.valid.npy").unlink()
    with pytest.raises(SamplingError, match=r"val\.valid\.npy is missing or damaged"):
        cache.load("val")
    np.save(cache.path / "val.valid.npy", np.ones((9, 8, 8), bool))
    with pytest.raises(SamplingError, match="holds 9 patches, its manifest 2"):
        cache.load("val")
    manifest = json.loads((cache.path / "manifest.json").read_text())
    (cache.path / "manifest.json").write_text(json.dumps(manifest | {"version": 2}))
    with pytest.raises(SamplingError, match="another version"):
        PatchCache.open(cache.path)


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])
