"""Integer pixel rectangles."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True, order=True)
class Window:
    """A pixel rectangle, in the order GDAL and rasterio use.

    Attributes:
        col_off: First column, px. Negative left of the grid.
        row_off: First row, px. Negative above the grid.
        width: Columns, px.
        height: Rows, px.
    """

    col_off: int
    row_off: int
    width: int
    height: int

    @classmethod
    def whole(cls, shape: tuple[int, int]) -> Window:
        """The window that covers a grid of `shape` `(height, width)`."""
        height, width = shape
        return cls(0, 0, width, height)

    @property
    def shape(self) -> tuple[int, int]:
        """`(height, width)`, px."""
        return self.height, self.width

    @property
    def col_end(self) -> int:
        """First column right of the window."""
        return self.col_off + self.width

    @property
    def row_end(self) -> int:
        """First row below the window."""
        return self.row_off + self.height

    @property
    def is_empty(self) -> bool:
        """Whether the window holds no pixel."""
        return self.width <= 0 or self.height <= 0

    @property
    def slices(self) -> tuple[slice, slice]:
        """`(rows, cols)` to index an array of the grid; only for windows inside it."""
        return slice(self.row_off, self.row_end), slice(self.col_off, self.col_end)

    def shifted(self, *, rows: int, cols: int) -> Window:
        """The window moved down by `rows` and right by `cols`."""
        return Window(self.col_off + cols, self.row_off + rows, self.width, self.height)

    def grown(self, n: int) -> Window:
        """The window with `n` px more on each side."""
        return Window(self.col_off - n, self.row_off - n, self.width + 2 * n, self.height + 2 * n)

    def scaled(self, n: int) -> Window:
        """The same ground on a grid of `n` times as many pixels each way."""
        return Window(self.col_off * n, self.row_off * n, self.width * n, self.height * n)

    def relative_to(self, other: Window) -> Window:
        """The same pixels, counted from the top left of `other`."""
        return self.shifted(rows=-other.row_off, cols=-other.col_off)

    def intersection(self, other: Window) -> Window:
        """The pixels both windows hold; empty if there is none."""
        col, row = max(self.col_off, other.col_off), max(self.row_off, other.row_off)
        width = max(0, min(self.col_end, other.col_end) - col)
        height = max(0, min(self.row_end, other.row_end) - row)
        return Window(col, row, width, height)

    def contains(self, other: Window) -> bool:
        """Whether every pixel of `other` lies in this window."""
        return self.intersection(other) == other


def reflect_indices(start: int, length: int, size: int) -> npt.NDArray[np.intp]:
    """Indices of the pixels `start .. start + length` of an axis mirrored at its ends.

    The edge pixel is not repeated, and short axes are mirrored as often as it takes, so that the
    index of a position never depends on the window.

    Args:
        start: First position, px; may be negative.
        length: Number of positions.
        size: Length of the real axis, px, at least 1.

    Returns:
        Indices in `[0, size)`, shape `(length,)`.
    """
    if size == 1:
        return np.zeros(length, dtype=np.intp)
    period = 2 * (size - 1)
    positions = np.arange(start, start + length) % period
    return np.where(positions < size, positions, period - positions).astype(np.intp)
