"""TIFF files taken apart and put together again."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rio_cogeo.cogeo import cog_validate

from geotrans.product.cog.tiff import (
    LONG,
    LONG8,
    SHORT,
    SUBFILE,
    Image,
    Level,
    Tag,
    read_images,
    write_levels,
)
from tests.helpers.scenes import write_scene


def test_tags_hold_numbers() -> None:
    for kind in (SHORT, LONG, LONG8):
        assert Tag.pack(kind, 1, 2, 500).numbers == (1, 2, 500)


@pytest.mark.parametrize("is_big", [False, True, None])
@pytest.mark.parametrize("mask", [False, True])
def test_a_file_taken_apart_and_put_together_is_the_same_raster(
    tmp_path: Path, is_big: bool | None, mask: bool
) -> None:
    shape = (700, 900)
    invalid = np.zeros(shape, bool)
    invalid[300:, 100:500] = True
    path = write_scene(
        tmp_path / "scene.tif", shape=shape, block=512, mask=mask, invalid=invalid,
        interleave="pixel",
    )  # fmt: skip
    with path.open("rb") as file:
        images = read_images(file)
        assert [image.shape for image in images] == [shape] * (1 + mask)
        assert [image.is_mask for image in images] == [False, True][: 1 + mask]
        level = Level(images[0], images[1] if mask else None)
        write_levels(tmp_path / "again.tif", [level], is_big=is_big)
    again = tmp_path / "again.tif"
    assert again.read_bytes()[2] == (43 if is_big else 42)
    with rasterio.open(path) as one, rasterio.open(again) as other:
        assert one.profile == other.profile
        assert other.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert np.array_equal(one.read(), other.read())
        assert np.array_equal(one.dataset_mask(), other.dataset_mask())
    valid, errors, _ = cog_validate(again, quiet=True)
    assert valid
    assert not errors
    with again.open("rb") as file:
        blocks = [block for image in read_images(file) for block in image.blocks]
        for block in blocks:
            file.seek(block.offset - 4)
            assert int.from_bytes(file.read(4), "little") == block.size
            content = file.read(block.size)
            assert file.read(4) == content[-4:]


def test_big_files_are_bigtiff_of_their_own_accord(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from geotrans.product.cog import tiff

    path = write_scene(tmp_path / "scene.tif", shape=(300, 300), block=256)
    monkeypatch.setattr(tiff, "_CLASSIC_LIMIT", 1000)
    images = read_images(io.BytesIO(path.read_bytes()))
    write_levels(tmp_path / "big.tif", [Level(images[0])])
    assert (tmp_path / "big.tif").read_bytes()[2] == 43
    with rasterio.open(path) as one, rasterio.open(tmp_path / "big.tif") as other:
        assert np.array_equal(one.read(), other.read())


def test_kin_repeat_pixels_and_not_places(tmp_path: Path) -> None:
    path = write_scene(tmp_path / "scene.tif", shape=(64, 64), nodata=3, tags={"A": "B"})
    image = read_images(io.BytesIO(path.read_bytes()))[0]
    tags = image.derive_tags((32, 16), subfile=1)
    kin = Image(tags, ())
    assert kin.shape == (32, 16)
    assert tags[SUBFILE].numbers == (1,)
    assert tags[42113].content == b"3\x00"
    assert not {33550, 33922, 34735, 42112} & set(tags)
