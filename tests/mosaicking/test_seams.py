"""Cuts through overlaps, alone and in mosaics."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import geotrans
from geotrans.errors import UsageError
from geotrans.mosaicking import overlaps
from geotrans.mosaicking.seams import Seam, find_seam, load_seam, seam_path
from geotrans.scene import Patch
from tests.helpers.scenes import coded, write_scene
from tests.helpers.thorough import examples

ORIGIN = (360_000.0, 3_770_000.0)
GSD = 10.0


def layers(difference: np.ndarray, *, alone: int = 1) -> tuple[Patch, Patch]:
    """Two layers that differ so, beside which each is alone for some columns."""
    height, width = difference.shape
    data = np.zeros((1, height, width + 2 * alone), np.float32)
    valid = np.ones(data.shape[1:], bool)
    left, right = valid.copy(), valid.copy()
    left[:, -alone:] = right[:, :alone] = False
    other = data.copy()
    other[0, :, alone:-alone] = difference
    return Patch(data, left), Patch(other, right)


def joined(passable: np.ndarray) -> bool:
    """Whether pixels that may be passed lead from the first to the last column."""
    reached = np.zeros_like(passable)
    reached[:, 0] = passable[:, 0]
    while True:
        wider = reached.copy()
        wider[1:] |= reached[:-1]
        wider[:-1] |= reached[1:]
        wider[:, 1:] |= reached[:, :-1]
        wider[:, :-1] |= reached[:, 1:]
        wider &= passable
        if (wider == reached).all():
            return bool(reached[:, -1].any())
        reached = wider


@examples(60)
@given(
    difference=hnp.arrays(
        np.float32, st.tuples(st.integers(1, 9), st.integers(1, 9)),
        elements=st.integers(0, 60).map(float),
    )
)  # fmt: skip
def test_no_cut_has_a_smaller_largest_difference(difference):
    below, above = layers(difference)
    seen = find_seam(below, above)
    assert not seen[:, 0].any()
    assert seen[:, -1].all()
    framed = np.pad(difference, ((0, 0), (1, 1)), constant_values=np.inf)
    # Across each step of the cut shows the smaller of the differences on its sides. Some step of
    # any cut crosses the path whose smallest difference is largest.
    shown = [
        np.minimum(framed[:, :-1], framed[:, 1:])[seen[:, :-1] != seen[:, 1:]],
        np.minimum(framed[:-1], framed[1:])[seen[:-1] != seen[1:]],
    ]
    largest = max(float(s.max()) for s in shown if s.size)
    bottleneck = max(v for v in np.unique(difference) if joined(framed >= v))
    assert largest == bottleneck


def test_the_cut_follows_a_valley():
    rows, cols = np.indices((30, 40))
    valley = 20 + np.rint(8 * np.sin(rows[:, 0] / 4)).astype(int)
    difference = (np.abs(cols - valley[:, None]) * 3).astype(np.float32)
    seen = find_seam(*layers(difference))[:, 1:-1]
    assert (np.abs(seen.argmax(axis=1) - valley) <= 1).all()


def test_where_nothing_differs_the_cut_is_in_the_middle():
    seen = find_seam(*layers(np.zeros((5, 10), np.float32)))
    np.testing.assert_array_equal(seen, np.broadcast_to(np.arange(12) >= 6, (5, 12)))


def test_overlaps_with_holes_and_without_an_own_side():
    data = np.zeros((1, 6, 6), np.uint8)
    whole, part = np.ones((6, 6), bool), np.ones((6, 6), bool)
    part[2:4, 2:4] = False
    assert not find_seam(Patch(data, whole), Patch(data, whole)).any()
    assert not find_seam(Patch(data, whole), Patch(data, part)).any()
    assert find_seam(Patch(data, part), Patch(data, whole)).all()
    nothing = Patch(data, np.zeros((6, 6), bool))
    np.testing.assert_array_equal(find_seam(nothing, Patch(data, part)), part)


def test_classes_differ_or_do_not():
    # As numbers the cut would pass through the 1, as names through the 0 alone.
    below, above = layers(np.array([[200, 1, 90, 0, 2]], np.float32))
    seen = find_seam(below, above, of_classes=True)[0, 1:-1]
    assert seen.argmax() in (3, 4)


def write(folder: Path, tiles: list[tuple[int, int, np.ndarray]], **scene: Any) -> list[Path]:
    return [
        write_scene(
            folder / f"{number}.tif", shape=data.shape[1:], bands=len(data), data=data,
            dtype=str(data.dtype), origin=(ORIGIN[0] + col * GSD, ORIGIN[1] - row * GSD), **scene,
        )
        for number, (row, col, data) in enumerate(tiles)
    ]  # fmt: skip


def read(path: Path) -> np.ndarray:
    with rasterio.open(path) as file:
        data: np.ndarray = file.read()
        return data


@examples(10)
@given(step=st.integers(7, 30), overlap=st.integers(0, 20), order=st.randoms())
def test_tiles_of_a_scene_give_it_back(tmp_path_factory, step, overlap, order):
    folder = tmp_path_factory.mktemp("cut")
    data = coded((50, 45))
    tiles = [
        (row, col, data[:, row : row + step + overlap, col : col + step + overlap])
        for row in range(0, 50, step)
        for col in range(0, 45, step)
    ]
    order.shuffle(tiles)
    made = geotrans.mosaic(write(folder, tiles), out=folder / "out.tif", seamline=True)
    np.testing.assert_array_equal(read(made.path), data)


@pytest.fixture
def noisy(tmp_path: Path) -> list[Path]:
    """Four tiles around one overlap, each with noise and holes of its own."""
    rng = np.random.default_rng(5)
    tiles = []
    for row, col in ((0, 0), (0, 45), (38, 10), (30, 50)):
        data = rng.integers(1, 200, (2, 70, 80)).astype(np.uint8)
        data[:, rng.random((70, 80)) < 0.03] = 0
        tiles.append((row, col, data))
    return write(tmp_path, tiles, nodata=0)


@pytest.mark.parametrize("most_cells", [4 * 2**20, 300])
def test_neither_blocks_nor_cells_leave_a_gap(noisy, tmp_path, monkeypatch, most_cells):
    from geotrans.mosaicking.mosaic import plan_mosaic

    monkeypatch.setattr(overlaps, "_MAX_CELLS", most_cells)
    whole = read(geotrans.mosaic(noisy, out=tmp_path / "whole.tif", seamline=True).path)
    monkeypatch.setattr(
        "geotrans.mosaicking.mosaic.plan_mosaic", lambda scene: plan_mosaic(scene, block=23)
    )
    blocks = read(geotrans.mosaic(noisy, out=tmp_path / "blocks.tif", seamline=True).path)
    np.testing.assert_array_equal(whole, blocks)
    first = read(geotrans.mosaic(noisy, out=tmp_path / "first.tif").path)
    np.testing.assert_array_equal((whole != 0).all(axis=0), (first != 0).all(axis=0))
    # Every pixel is one tile's.
    stack = []
    for path in noisy:
        placed = geotrans.mosaic(path, out=tmp_path / "one.tif", like=tmp_path / "whole.tif",
                                 overwrite=True)  # fmt: skip
        stack.append((read(placed.path) == whole).all(axis=0))
    assert np.logical_or.reduce(stack).all()


def test_seams_that_were_drawn_are_not_drawn_again(noisy, tmp_path, monkeypatch):
    out, drawn, draw = tmp_path / "out.tif", [], overlaps._compute_seam

    def stopping(scene: Any, number: int) -> Seam | None:
        if number == 3 and len(drawn) == 3:
            drawn.append(-1)
            raise MemoryError
        drawn.append(number)
        return draw(scene, number)

    monkeypatch.setattr(overlaps, "_compute_seam", stopping)
    with pytest.raises(MemoryError):
        geotrans.mosaic(noisy, out=out, seamline=True)
    folder = tmp_path / "out.tif.parts" / "seams"
    assert load_seam(seam_path(folder, 0)) is None
    assert load_seam(seam_path(folder, 1)) is not None
    geotrans.mosaic(noisy, out=out, seamline=True)
    assert drawn == [0, 1, 2, -1, 3]
    assert not folder.exists()


def test_a_seamline_leaves_nothing_to_blend(noisy, tmp_path):
    with pytest.raises(UsageError, match="nothing is left to blend; leave out blend mean"):
        geotrans.mosaic(noisy, out=tmp_path / "x.tif", seamline=True, blend="mean")


@pytest.mark.slow
@pytest.mark.realdata
def test_two_landsat_scenes_meet_where_they_agree(data_dir, tmp_path):
    scenes = sorted(data_dir.glob("multispectral/train/landsat8_itaipu_*.tif"))
    made = geotrans.mosaic(scenes, out=tmp_path / "seam.tif", seamline=True)
    one, other = (
        read(geotrans.mosaic(path, out=tmp_path / f"{i}.tif", like=made.path).path).astype(int)
        for i, path in enumerate(scenes)
    )
    joint = read(made.path).astype(int)
    both = (one > 0).all(axis=0) & (other > 0).all(axis=0)
    assert ((joint == one).all(axis=0) | (joint == other).all(axis=0)).all()
    # Along the cut, one side is not the other scene's.
    difference = np.abs(one - other).sum(axis=0)
    from_other = both & (joint == other).all(axis=0) & (difference > 0)
    from_one = both & (joint == one).all(axis=0) & (difference > 0)
    cut_here = (from_one[:, :-1] & from_other[:, 1:]) | (from_other[:, :-1] & from_one[:, 1:])
    shown = np.minimum(difference[:, :-1], difference[:, 1:])[cut_here]
    assert shown.size > 200
    assert np.percentile(shown, 99) < 0.6 * np.percentile(difference[both], 99)
    assert shown.mean() < 0.6 * difference[both].mean()
