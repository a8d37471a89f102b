"""Painting along scan lines: against exact geometry, and the same in every window."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from shapely import Polygon

from geotrans.maps.outlines import Lattice, Outlines
from geotrans.maps.scanline import LINES, STEPS, LayerEdges, majority_class, mean_color, scan_lines
from geotrans.maps.style import BLANK

COLORS = np.zeros((256, 3), np.uint8)
COLORS[:3] = [(0, 0, 0), (255, 100, 10), (30, 200, 250)]
PIXELS = Lattice(1, 0, 0, 1, 0, 0)


def areas(*shapes: Any) -> npt.NDArray[np.object_]:
    return np.array(shapes, dtype=object)


def paint(
    coats: list[tuple[npt.NDArray[np.object_], int, tuple[int, ...] | None]],
    *,
    background: int = 0,
    top: int = 0,
    left: int = 0,
    shape: tuple[int, int] = (16, 20),
    lattice: Lattice = PIXELS,
) -> Any:
    everywhere = (-1e9, -1e9, 1e9, 1e9)
    painted = [
        LayerEdges(edges, value, over)
        for shapes, value, over in coats
        if (edges := Outlines(shapes).find_edges(everywhere, lattice)) is not None
    ]
    return scan_lines(painted, background, top=top, left=left, shape=shape)


def cover(shapes: npt.NDArray[np.object_], shape: tuple[int, int]) -> npt.NDArray[np.float64]:
    """Share of each pixel inside shapes along the same scan lines, by shapely."""
    whole = shapely.union_all(shapely.make_valid(shapes))
    shares = np.zeros(shape)
    for row, col in np.ndindex(shape):
        for line in range(LINES):
            y = row + (line + 0.5) / LINES
            shares[row, col] += whole.intersection(
                shapely.LineString([(col, y), (col + 1, y)])
            ).length
    return shares / LINES


def polygons(n: int) -> npt.NDArray[np.object_]:
    rng = np.random.default_rng(n)
    shapes: list[Any] = []
    for _ in range(n):
        middle = rng.uniform(-4, 24, 2)
        street = shapely.LineString(rng.uniform(-6, 26, (3, 2))).buffer(rng.uniform(0.2, 2))
        ring = middle + rng.uniform(1, 6) * np.array([(1, 0), (0, 1), (-1, 0), (0, -1)])
        hole = middle + 0.4 * (ring - middle)
        shapes += [street, Polygon(ring, [hole])]
    return areas(*shapes)


@pytest.mark.parametrize("n", [1, 2, 5])
def test_cover_is_that_of_the_geometry(n: int) -> None:
    shapes = polygons(n)
    image, valid = mean_color(paint([(shapes, 1, None)]), COLORS)
    assert valid.all()
    expected = cover(shapes, (16, 20))[None] * COLORS[1][:, None, None]
    # Each line of a pixel is cut twice at most here, each time to half a step.
    assert np.abs(image - expected).max() <= 255 * 2 / STEPS / 2 + 0.5


def test_the_nearest_class_and_the_direction_of_rings_do_not_matter() -> None:
    square = shapely.box(2, 2, 10, 10)
    hole = shapely.box(4, 4, 7, 7).exterior.coords
    one = Polygon(square.exterior.coords, [hole])
    other = Polygon(square.exterior.coords[::-1], [hole])
    third = Polygon(square.exterior.coords, [hole[::-1]])
    results = [majority_class(paint([(areas(shape), 1, None)])) for shape in (one, other, third)]
    assert (results[0] == results[1]).all()
    assert (results[0] == results[2]).all()
    expected = np.zeros((16, 20), np.uint8)
    expected[2:10, 2:10] = 1
    expected[4:7, 4:7] = 0
    assert (results[0] == expected).all()


def test_areas_of_one_coat_are_joined_and_never_cancel() -> None:
    twice = areas(shapely.box(1, 1, 9, 9), shapely.box(1, 1, 9, 9), shapely.box(5, 5, 15, 12))
    image, _ = mean_color(paint([(twice, 1, None)]), COLORS)
    expected = np.rint(cover(twice, (16, 20)))[None] * COLORS[1][:, None, None]
    assert (image == expected).all()
    bowtie = areas(Polygon([(2, 2), (10, 10), (10, 2), (2, 10)]))
    assert (majority_class(paint([(bowtie, 1, None)]))[6, [3, 4, 8]] == 1).all()


def test_neighbours_meet_without_a_third_class_between() -> None:
    left = Polygon([(-5, -5), (7.3, -5), (11.9, 30), (-5, 30)])
    right = Polygon([(7.3, -5), (40, -5), (40, 30), (11.9, 30)])
    painted = paint([(areas(left), 1, None), (areas(right), 2, None)])
    assert set(np.unique(painted.value)) == {1, 2}
    image, _ = mean_color(painted, COLORS)
    # On the straight line between the two colours, red says how far along.
    share = (image[0].astype(float) - 30) / (255 - 30)
    assert np.abs(image[1] - (200 - 100 * share)).max() < 1.5


def test_a_coat_covers_only_what_it_may() -> None:
    base = (areas(shapely.box(0, 0, 10, 16)), 1, None)
    band = areas(shapely.box(5, 5, 15, 9))
    result = majority_class(paint([base, (band, 2, (1,))]))
    assert (result[5:9, 5:10] == 2).all()
    assert (result[5:9, 10:] == 0).all()
    result = majority_class(paint([base, (band, 2, (0,))]))
    assert (result[5:9, 5:10] == 1).all()
    assert (result[5:9, 10:15] == 2).all()


def test_blank_ground_is_not_mixed_in() -> None:
    shape = areas(shapely.box(2, 2, 6.75, 6.25))
    painted = paint([(shape, 1, None)], background=BLANK)
    image, valid = mean_color(painted, COLORS)
    expected = np.zeros((16, 20), bool)
    expected[2:6, 2:7] = True  # Three quarters of column 6, one quarter of row 6.
    assert (valid == expected).all()
    assert (image[:, valid] == COLORS[1][:, None]).all()
    assert (image[:, ~valid] == 0).all()
    assert ((majority_class(painted) != BLANK) == expected).all()
    hole = paint([(shape, BLANK, None)])
    assert (mean_color(hole, COLORS)[1] == ~expected).all()


def test_the_class_that_covers_most_wins() -> None:
    coats = [
        (areas(shapely.box(0, 0, 3.4, 16)), 1, None),
        (areas(shapely.box(3.4, 0, 9, 16)), 2, None),
    ]
    assert majority_class(paint(coats))[0, :5].tolist() == [1, 1, 1, 2, 2]


def test_nothing_to_paint() -> None:
    assert Outlines(areas()).find_edges((0, 0, 1, 1), PIXELS) is None
    painted = paint([])
    assert not painted.is_painted
    assert (majority_class(painted) == 0).all()
    beside = paint([(areas(shapely.box(100, 100, 110, 110)), 1, None)])
    assert not beside.is_painted
    flat = paint([(areas(Polygon([(1, 1), (5, 1), (9, 1)])), 1, None)])
    assert not flat.is_painted


def test_sides_left_of_a_window_count_and_those_right_of_it_do_not_leak() -> None:
    shapes = areas(shapely.box(-50, -50, 50, 5), shapely.box(-50, 9, 8, 50))
    result = majority_class(paint([(shapes, 1, None)]))
    assert (result[:5] == 1).all()
    assert (result[5:9] == 0).all()
    assert (result[9:, :8] == 1).all()
    assert (result[9:, 8:] == 0).all()


@given(
    top=st.integers(-8, 20),
    left=st.integers(-8, 24),
    height=st.integers(1, 20),
    width=st.integers(1, 24),
    turn=st.floats(-3, 3),
    phase=st.tuples(st.floats(-0.5, 0.5), st.floats(-0.5, 0.5)),
)
def test_windows_agree_to_the_bit(
    top: int, left: int, height: int, width: int, turn: float, phase: tuple[float, float]
) -> None:
    cos, sin = float(np.cos(turn)), float(np.sin(turn))
    lattice = Lattice(cos, -sin, sin, cos, *phase)
    coats = [(polygons(4), 1, None), (polygons(3), 2, (1,)), (polygons(2), BLANK, None)]
    whole = paint(coats, top=-10, left=-10, shape=(52, 60), lattice=lattice)
    part = paint(coats, top=top, left=left, shape=(height, width), lattice=lattice)
    rows, cols = slice(top + 10, top + 10 + height), slice(left + 10, left + 10 + width)
    image, valid = mean_color(whole, COLORS)
    part_image, part_valid = mean_color(part, COLORS)
    assert (image[:, rows, cols] == part_image).all()
    assert (valid[rows, cols] == part_valid).all()
    assert (majority_class(whole)[rows, cols] == majority_class(part)).all()
