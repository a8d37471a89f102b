from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geotrans.grid import Window
from geotrans.scene import open_scene, read_padded
from geotrans.scene.padding import fill_gaps
from tests.helpers.scenes import coded, write_scene
from tests.helpers.thorough import examples

MakeScene = Callable[..., Path]


def test_inside_a_whole_scene_padded_is_plain(make_scene: MakeScene) -> None:
    scene = open_scene(make_scene())
    window = Window(3, 4, 20, 10)
    patch = read_padded(scene, window, [2])
    assert np.array_equal(patch.data, scene.read(window, [2]).data)
    assert patch.valid.all()


def test_beyond_the_edge_the_scene_is_mirrored(make_scene: MakeScene) -> None:
    scene = open_scene(make_scene(shape=(20, 30)))
    patch = read_padded(scene, Window(-9, -5, 55, 40))
    expected = np.pad(coded((20, 30)), ((0, 0), (5, 15), (9, 16)), mode="reflect")
    assert np.array_equal(patch.data, expected)


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (5, 2)])
def test_scenes_smaller_than_the_padding_are_mirrored_again(
    make_scene: MakeScene, shape: tuple[int, int]
) -> None:
    scene = open_scene(make_scene(shape=shape))
    patch = read_padded(scene, Window(-20, -20, 60, 60))
    height, width = shape
    expected = np.pad(coded(shape), ((0, 0), (20, 40 - height), (20, 40 - width)), mode="reflect")
    assert np.array_equal(patch.data, expected)


@pytest.fixture(scope="module", params=["uint8", "int16", "float32"])
def holed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A scene with gaps: blobs, lines, single pixels, a corner and half an edge."""
    rng = np.random.default_rng(0)
    invalid = rng.random((90, 110)) < 0.05
    invalid[20:60, 30:80] = True
    invalid[:, 100] = True
    invalid[70:, :40] = True
    return write_scene(
        tmp_path_factory.mktemp("holed") / "holed.tif",
        shape=(90, 110),
        dtype=request.param,
        nodata=float("nan") if request.param == "float32" else 0,
        invalid=invalid,
    )


@given(
    st.integers(-40, 120),
    st.integers(-40, 100),
    st.integers(1, 70),
    st.integers(1, 70),
    st.sampled_from([0, 1, 3, 16]),
)
@examples(40)
def test_what_is_filled_does_not_depend_on_the_window(
    holed: Path, col: int, row: int, width: int, height: int, radius: int
) -> None:
    scene = open_scene(holed)
    frame = Window(-45, -45, 240, 220)
    whole = read_padded(scene, frame, fill_radius=radius, fill_value=5)
    window = Window(col, row, width, height)
    part = read_padded(scene, window, fill_radius=radius, fill_value=5)
    inner = window.relative_to(frame).slices
    assert np.array_equal(part.data, whole.data[:, *inner])
    assert np.array_equal(part.valid, whole.valid[inner])


def test_valid_pixels_stay_and_nothing_else_but_numbers_comes_out(holed: Path) -> None:
    scene = open_scene(holed)
    window = Window.whole(scene.shape)
    plain, filled = scene.read(window), read_padded(scene, window)
    assert np.array_equal(plain.valid, filled.valid)
    assert not filled.valid.all()
    assert np.array_equal(plain.data[:, plain.valid], filled.data[:, plain.valid])
    assert np.isfinite(filled.data).all()
    assert filled.data.dtype == plain.data.dtype


def test_gaps_take_the_mean_of_their_neighbours_ring_by_ring() -> None:
    data = np.array([[[10, 20, 0, 0, 0]]], "uint8")
    valid = np.array([[True, True, False, False, False]])
    filled = fill_gaps(data, valid, n_rings=2, fill_value=7)
    assert filled.tolist() == [[[10, 20, 20, 20, 7]]]
    corner = np.array([[[4, 8], [9, 0]]], "uint8")
    assert fill_gaps(corner, corner[0] > 0, n_rings=1)[0, 1, 1] == 7
    # The nodata value itself must not leak in, whatever it is.
    marked = np.array([[[100.0, np.inf, 100.0]]], "float32")
    assert fill_gaps(marked, np.isfinite(marked[0]), n_rings=1).tolist() == [[[100.0] * 3]]


def test_gaps_fill_as_a_plain_loop_fills_them() -> None:
    rng = np.random.default_rng(1)
    data = rng.integers(1, 4000, (2, 14, 17)).astype("uint16")
    valid = rng.random((14, 17)) < 0.3
    expected, known = data.astype(np.float64), valid.copy()
    for _ in range(3):
        ring = {}
        for r, c in zip(*np.nonzero(~known), strict=True):
            near = np.s_[max(r - 1, 0) : r + 2, max(c - 1, 0) : c + 2]
            if known[near].any():
                ring[r, c] = expected[:, *near][:, known[near]].mean(axis=1)
        for (r, c), mean in ring.items():
            expected[:, r, c], known[r, c] = mean, True
    expected[:, ~known] = 9
    filled = fill_gaps(data, valid, n_rings=3, fill_value=9)
    assert np.abs(filled - expected).max() <= 0.5 + 1e-3


def test_far_inside_a_gap_each_band_has_its_constant() -> None:
    data = np.zeros((2, 5, 40), "uint8")
    valid = np.zeros((5, 40), bool)
    valid[:, 0] = True
    data[:, :, 0] = 50
    filled = fill_gaps(data, valid, n_rings=4, fill_value=(11, 22))
    assert (filled[:, :, :5] == 50).all()
    assert (filled[0, :, 5:] == 11).all()
    assert (filled[1, :, 5:] == 22).all()


def test_a_scene_without_a_valid_pixel_is_all_constant(make_scene: MakeScene) -> None:
    scene = open_scene(make_scene(nodata=0, invalid=np.ones((48, 64), bool)))
    patch = read_padded(scene, Window(-3, -3, 30, 30), fill_value=127)
    assert (patch.data == 127).all()
    assert not patch.valid.any()


def test_large_integers_keep_their_digits() -> None:
    data = np.array([[[2**31 - 5, 0, 2**31 - 5]]], "int32")
    filled = fill_gaps(data, np.array([[True, False, True]]), n_rings=1)
    assert filled.tolist() == [[[2**31 - 5] * 3]]
