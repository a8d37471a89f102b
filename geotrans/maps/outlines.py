"""Outlines of areas: their sides, on a pixel lattice, found by place."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import shapely

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Edges:
    """Sides of areas, each from its lower to its higher y.

    Attributes:
        x: Where a side begins.
        y: Where a side begins.
        slope: Change of x with y.
        y_end: Where a side ends.
        sign: Change of the winding number across it.
    """

    x: Floats
    y: Floats
    slope: Floats
    y_end: Floats
    sign: npt.NDArray[np.int8]


@dataclass(frozen=True)
class Lattice:
    """Pixels of a grid continued over the whole CRS, and how a point of the CRS lies among them.

    Attributes:
        x_to_col: Columns per unit of x; likewise the next three.
        y_to_col: Columns per unit of y.
        x_to_row: Rows per unit of x.
        y_to_row: Rows per unit of y.
        col: Fraction of a column by which the lattice is off the origin of the CRS.
        row: Fraction of a row.
    """

    x_to_col: float
    y_to_col: float
    x_to_row: float
    y_to_row: float
    col: float
    row: float

    def place(self, x: Floats, y: Floats) -> tuple[Floats, Floats]:
        """Column and row of points."""
        # Spelled out: a matrix product may round otherwise for another number of points.
        col = self.x_to_col * x + self.y_to_col * y - self.col
        row = self.x_to_row * x + self.y_to_row * y - self.row
        return col, row


class Outlines:
    """Sides of many areas, found by place.

    Args:
        areas: Polygons, shape `(N,)`.
    """

    def __init__(self, areas: npt.NDArray[np.object_]) -> None:
        self._bounds = shapely.bounds(areas)
        rings, area_of_ring = shapely.get_rings(areas, return_index=True)
        points, ring_of_point = shapely.get_coordinates(rings, return_index=True)
        is_shell = np.diff(area_of_ring, prepend=-1) > 0
        # A hole turns the other way round than its shell, whichever way they were digitised.
        turn = np.where(shapely.is_ccw(rings) == is_shell, 1, -1).astype(np.int8)
        inner = np.flatnonzero(np.diff(ring_of_point) == 0)
        self._start, self._end = points[inner], points[inner + 1]
        self._sign = turn[ring_of_point[inner]]
        area = area_of_ring[ring_of_point[inner]]
        self._offsets = np.searchsorted(area, np.arange(len(areas) + 1))

    def near(self, bounds: tuple[float, float, float, float], lattice: Lattice) -> Edges | None:
        """Sides of the areas that may meet a box, on a lattice; None if there are none."""
        xmin, ymin, xmax, ymax = self._bounds.T
        left, bottom, right, top = bounds
        found = np.flatnonzero((xmin <= right) & (xmax >= left) & (ymin <= top) & (ymax >= bottom))
        if not len(found):
            return None
        sides = iter_ranges(self._offsets[found], self._offsets[found + 1])
        x0, y0 = lattice.place(self._start[sides, 0], self._start[sides, 1])
        x1, y1 = lattice.place(self._end[sides, 0], self._end[sides, 1])
        up = y1 > y0
        x, y = np.where(up, x0, x1), np.where(up, y0, y1)
        x_end, y_end = np.where(up, x1, x0), np.where(up, y1, y0)
        with np.errstate(divide="ignore", invalid="ignore"):
            slope = np.where(y_end > y, (x_end - x) / (y_end - y), 0.0)
        sign = np.where(up, self._sign[sides], -self._sign[sides])
        return Edges(x, y, slope, y_end, sign)


def iter_ranges(starts: npt.NDArray[np.integer], stops: npt.NDArray[np.integer]) -> Ints:
    """`start .. stop` of each pair, one after the other."""
    counts = stops - starts
    jumps = np.cumsum(counts) - counts
    return np.repeat(starts - jumps, counts) + np.arange(counts.sum())
