import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geotrans.errors import SamplingError
from geotrans.grid import Window
from geotrans.sampling.windows import (
    WindowDraw,
    find_masked_placements,
    find_valid_placements,
    find_whole_placements,
    grid_windows,
    philox,
)

edges = st.integers(1, 40)


def _every(placements):
    return [placements[i] for i in range(len(placements))]


@given(st.tuples(edges, edges), st.tuples(edges, edges))
def test_positions_in_a_whole_scene(shape, size):
    found = _every(find_whole_placements(shape, size))
    assert found == [
        Window(col, row, size[1], size[0])
        for row in range(shape[0] - size[0] + 1)
        for col in range(shape[1] - size[1] + 1)
    ]


@given(
    st.tuples(edges, edges),
    st.tuples(st.integers(1, 6), st.integers(1, 6)),
    st.integers(1, 50),
    st.integers(0, 2**32),
)
def test_positions_under_a_mask(shape, size, strip, seed):
    rng = np.random.default_rng(seed)
    allowed = rng.random(shape) < 0.85
    strips = [allowed[i : i + strip] for i in range(0, shape[0], strip)]
    placements = find_masked_placements(strips, size)
    expected = [w for w in _every(find_whole_placements(shape, size)) if allowed[w.slices].all()]
    assert _every(placements) == expected
    assert placements.n_px == allowed.sum()


def test_positions_are_counted():
    placements = find_whole_placements((4, 4), (3, 3))
    assert len(placements) == 4
    for number in (-1, 4):
        with pytest.raises(IndexError):
            placements[number]


# Made with: np.random.Philox(key=[7, 3], counter=[0, 0, 0, 11]).random_raw(2)
GOLDEN = (13435500109278960057, 16188499848749682005)


def test_a_draw_is_its_numbers_alone():
    assert philox(7, 3, 11) == philox(7, 3, 11) == GOLDEN
    assert len({philox(s, e, i) for s in range(4) for e in range(4) for i in range(40)}) == 640


def test_draws_are_uniform():
    draw = WindowDraw([find_whole_placements((5, 6), (3, 3))], seed=1)
    counts = np.zeros((3, 4), int)
    for i in range(6000):
        _, window = draw(0, i)
        counts[window.row_off, window.col_off] += 1
    # Expected 500 each; the standard deviation of a count is 21.
    assert counts.min() > 400
    assert counts.max() < 600


@pytest.mark.parametrize(("by_area", "share"), [(True, 0.8), (False, 0.5)])
def test_scenes_are_drawn_by_area_or_alike(by_area, share):
    small, large, tiny = (find_whole_placements(s, (4, 4)) for s in ((4, 5), (8, 10), (3, 3)))
    draw = WindowDraw([small, large, tiny], seed=0, by_area=by_area)
    scenes = [draw(0, i)[0] for i in range(4000)]
    assert scenes.count(1) / 4000 == pytest.approx(share, abs=0.04)
    assert 2 not in scenes


def test_no_room_is_told():
    with pytest.raises(SamplingError, match="windows of 9 x 9 px; none of 2 scenes has room"):
        WindowDraw([find_whole_placements((8, 30), (9, 9))] * 2, seed=0)


@given(st.tuples(edges, edges), st.tuples(st.integers(3, 20), st.integers(3, 20)), st.data())
def test_cores_of_a_grid_cover_everything_once(shape, size, data):
    halo = data.draw(st.integers(0, (min(size) - 1) // 2))
    stride = data.draw(st.none() | st.integers(1, min(size) - 2 * halo))
    cells = grid_windows(shape, size, halo=halo, stride=stride)
    covered = np.zeros(shape, int)
    whole = Window.whole(shape)
    for cell in cells:
        assert cell.window.shape == size
        assert not cell.core.is_empty
        assert cell.window.contains(cell.core)
        covered[cell.core.slices] += 1
        # The halo is there on each side that is not the edge of the scene.
        assert cell.window.contains(cell.core.grown(halo).intersection(whole))
        for axis, (length, edge) in enumerate(zip(shape, size, strict=True)):
            start = (cell.window.row_off, cell.window.col_off)[axis]
            assert 0 <= start <= max(0, length - edge)
    assert (covered == 1).all()


@pytest.mark.parametrize(("halo", "stride"), [(4, None), (-1, None), (0, 9), (2, 5), (0, 0)])
def test_impossible_grids_are_told(halo, stride):
    with pytest.raises(SamplingError, match="windows of 8 x 8 px"):
        grid_windows((20, 20), (8, 8), halo=halo, stride=stride)


@given(
    st.tuples(edges, edges),
    st.tuples(st.integers(1, 6), st.integers(1, 6)),
    st.integers(1, 50),
    st.integers(0, 2**32),
    st.sampled_from([0, 0.3, 0.5, 0.9, 1]),
)
def test_positions_with_a_share_of_valid_pixels(shape, size, strip, seed, share):
    valid = np.random.default_rng(seed).random(shape) < 0.7
    strips = [valid[row : row + strip] for row in range(0, shape[0], strip)]
    found = find_valid_placements(strips, size, min_valid=share)
    expected = [
        window
        for window in _every(find_whole_placements(shape, size))
        if valid[window.slices].mean() >= max(share - 1e-9, 1e-9)
    ]
    assert _every(found) == expected
    assert found.n_px == valid.sum()
