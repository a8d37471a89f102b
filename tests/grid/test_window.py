from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geotrans.grid import Window, reflect_indices

windows = st.builds(
    Window, st.integers(-50, 50), st.integers(-50, 50), st.integers(1, 60), st.integers(1, 60)
)


def _pixels(window: Window) -> set[tuple[int, int]]:
    return {
        (row, col)
        for row in range(window.row_off, window.row_end)
        for col in range(window.col_off, window.col_end)
    }


@given(windows, windows)
def test_intersection_holds_the_pixels_both_hold(one: Window, other: Window) -> None:
    both = one.intersection(other)
    assert _pixels(both) == _pixels(one) & _pixels(other)
    assert both.is_empty == (not _pixels(both))
    assert one.contains(other) == (_pixels(other) <= _pixels(one))


@given(windows, st.integers(-20, 20), st.integers(-20, 20))
def test_shifting_moves_and_relative_to_undoes_it(window: Window, rows: int, cols: int) -> None:
    moved = window.shifted(rows=rows, cols=cols)
    assert (moved.row_off, moved.col_off) == (window.row_off + rows, window.col_off + cols)
    assert moved.relative_to(window) == Window(cols, rows, window.width, window.height)


@given(windows, st.integers(0, 9))
def test_grown_by_n_has_n_more_on_each_side(window: Window, n: int) -> None:
    assert window.grown(n).contains(window)
    assert window.grown(n).shape == (window.height + 2 * n, window.width + 2 * n)
    assert window.grown(n).grown(-n) == window


@given(windows, windows, st.integers(1, 9))
def test_scaled_by_n_holds_n_times_as_many_pixels_each_way(
    window: Window, other: Window, n: int
) -> None:
    assert window.scaled(n).slices == tuple(
        slice(n * one.start, n * one.stop) for one in window.slices
    )
    assert window.scaled(n).relative_to(other.scaled(n)) == window.relative_to(other).scaled(n)


def test_slices_cut_rows_before_columns() -> None:
    array = np.arange(20).reshape(4, 5)
    assert array[Window(1, 2, 3, 1).slices].tolist() == [[11, 12, 13]]


@given(st.integers(2, 12), st.integers(0, 11), st.integers(0, 11))
def test_reflection_is_numpys(size: int, before: int, after: int) -> None:
    axis = np.arange(size)
    expected = np.pad(axis, (min(before, 40), after), mode="reflect")
    assert np.array_equal(axis[reflect_indices(-before, before + size + after, size)], expected)


@given(st.integers(1, 9), st.integers(-40, 40), st.integers(1, 30), st.integers(0, 29))
def test_reflection_of_a_position_does_not_depend_on_the_window(
    size: int, start: int, length: int, skip: int
) -> None:
    skip = min(skip, length - 1)
    longer = reflect_indices(start, length, size)
    assert np.array_equal(longer[skip:], reflect_indices(start + skip, length - skip, size))
    assert longer.min() >= 0
    assert longer.max() < size


def test_a_window_is_immutable() -> None:
    with pytest.raises(AttributeError):
        Window(0, 0, 1, 1).width = 2  # type: ignore[misc]  # that is what is tested
