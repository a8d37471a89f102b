from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geotrans.errors import TilingError
from geotrans.grid import TilePlan, Window, plan_tiles
from tests.helpers.thorough import examples


@st.composite
def plans(draw: st.DrawFn) -> tuple[TilePlan, int]:
    """A plan of a scene, and the largest core edge asked for."""
    height, width = draw(st.integers(1, 130)), draw(st.integers(1, 130))
    col_off, row_off = draw(st.integers(0, width - 1)), draw(st.integers(0, height - 1))
    area = Window(
        col_off,
        row_off,
        draw(st.integers(1, width - col_off)),
        draw(st.integers(1, height - row_off)),
    )
    align = draw(st.sampled_from([1, 2, 4, 16, 32]))
    tile = draw(st.integers(1, 100))
    plan = plan_tiles(
        (height, width),
        tile=tile,
        halo=draw(st.integers(0, 60)),
        align=align,
        area=draw(st.sampled_from([area, Window.whole((height, width))])),
        anchor=(draw(st.integers(-10_000, 10_000)), draw(st.integers(-10_000, 10_000))),
    )
    return plan, tile


@given(plans())
def test_cores_partition_the_area(drawn: tuple[TilePlan, int]) -> None:
    plan, _ = drawn
    count = np.zeros((200, 200), int)
    for tile in plan:
        assert not tile.core.is_empty
        count[tile.core.slices] += 1
    expected = np.zeros_like(count)
    expected[plan.area.slices] = 1
    assert np.array_equal(count, expected)


@given(plans())
def test_every_read_has_the_same_size_and_phase_and_holds_core_and_halo(
    drawn: tuple[TilePlan, int],
) -> None:
    plan, tile_px = drawn
    assert all(n % plan.align == 0 for n in plan.window_shape)
    for tile in plan:
        assert tile.read.shape == plan.window_shape
        assert tile.read.contains(tile.core.grown(plan.halo))
        assert (tile.read.row_off + plan.anchor[0]) % plan.align == 0
        assert (tile.read.col_off + plan.anchor[1]) % plan.align == 0
        assert max(tile.core.shape) <= max(tile_px, plan.align)


@given(plans())
def test_cores_are_as_equal_as_the_lattice_allows(drawn: tuple[TilePlan, int]) -> None:
    plan, _ = drawn
    for sizes in plan.chunks:
        inner = sizes[1:-1]
        assert len(set(inner)) <= 1
        assert all(size % plan.align == 0 for size in inner)
        assert sum(sizes) in plan.area.shape


@given(plans())
@examples(40)
def test_json_brings_the_plan_back(drawn: tuple[TilePlan, int]) -> None:
    plan, _ = drawn
    text = plan.to_json()
    again = TilePlan.from_json(text)
    assert again == plan
    assert again.to_json() == text
    assert "\n" not in text
    json.loads(text)


@given(plans(), st.integers(-3, 3), st.integers(-3, 3))
def test_neighbouring_scenes_on_one_lattice_read_in_one_phase(
    drawn: tuple[TilePlan, int], rows: int, cols: int
) -> None:
    """A scene cut a few pixels further on has windows on the same absolute lattice."""
    plan, tile_px = drawn
    height, width = plan.area.shape
    moved = plan_tiles(
        (height, width),
        tile=tile_px,
        halo=plan.halo,
        align=plan.align,
        anchor=(plan.anchor[0] + rows, plan.anchor[1] + cols),
    )
    for tile in moved:
        assert (tile.read.row_off + moved.anchor[0]) % plan.align == 0
        assert (tile.read.col_off + moved.anchor[1]) % plan.align == 0


def test_a_plan_is_a_sequence_row_by_row() -> None:
    plan = plan_tiles((100, 130), tile=50, halo=3)
    assert len(plan) == plan.n_rows * plan.n_cols == 6
    assert [(t.row, t.col) for t in plan] == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)]
    assert plan[-1] == plan[5] == list(plan)[5]
    assert plan[1:3] == (plan[1], plan[2])
    with pytest.raises(IndexError):
        plan[6]


def test_chunks_are_dasks() -> None:
    plan = plan_tiles((100, 130), tile=50, halo=3)
    assert plan.chunks == ((50, 50), (44, 44, 42))


def test_no_sliver_is_left_at_the_end() -> None:
    plan = plan_tiles((1030, 1030), tile=1024, halo=0)
    assert plan.chunks[0] == (515, 515)


def test_overhead_counts_pixels_read_per_pixel_translated() -> None:
    plan = plan_tiles((100, 100), tile=50, halo=10)
    assert plan.overhead == pytest.approx(4 * 70 * 70 / 100**2)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"tile": 0, "halo": 1}, "tiles of 0 px"),
        ({"tile": -4, "halo": 1}, "tiles of -4 px"),
        ({"tile": 8, "halo": -1}, "halo of -1 px"),
        ({"tile": 8, "halo": 1, "align": 0}, "aligned to 0 px"),
        ({"tile": 8, "halo": 1, "area": Window(0, 0, 21, 5)}, "lie inside the scene"),
        ({"tile": 8, "halo": 1, "area": Window(0, 0, 0, 5)}, "at least one pixel"),
    ],
)
def test_what_cannot_be_planned_is_said(options: dict[str, int], says: str) -> None:
    with pytest.raises(TilingError, match=says):
        plan_tiles((10, 20), **options)
