"""Outlines of areas: their sides on a pixel lattice, selected by bounds."""

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
        x: Column of the lower end.
        y: Row of the lower end.
        slope: Change of x with y.
        y_end: Row of the higher end.
        sign: Change of the winding number across it.
    """

    x: Floats
    y: Floats
    slope: Floats
    y_end: Floats
    sign: npt.NDArray[np.int8]


@dataclass(frozen=True)
class Lattice:
    """The pixels of a grid continued over the whole CRS, as a transform from CRS to pixels.

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

    def to_pixels(self, x: Floats, y: Floats) -> tuple[Floats, Floats]:
        """Column and row of points."""
        # Written out, since a matrix product may round differently for other numbers of points.
        col = self.x_to_col * x + self.y_to_col * y - self.col
        row = self.x_to_row * x + self.y_to_row * y - self.row
        return col, row


class Outlines:
    """Sides of many areas, selected by bounds.

    Args:
        areas: Polygons, shape `(N,)`.
    """

    def __init__(self, areas: npt.NDArray[np.object_]) -> None:
        self._bounds = shapely.bounds(areas)
        rings, area_of_ring = shapely.get_rings(areas, return_index=True)
        points, ring_of_point = shapely.get_coordinates(rings, return_index=True)
        is_shell = np.diff(area_of_ring, prepend=-1) > 0
        # A hole winds opposite to its shell, in whichever direction they were digitised.
        orientation = np.where(shapely.is_ccw(rings) == is_shell, 1, -1).astype(np.int8)
        inside = np.flatnonzero(np.diff(ring_of_point) == 0)
        self._start, self._end = points[inside], points[inside + 1]
        self._sign = orientation[ring_of_point[inside]]
        area = area_of_ring[ring_of_point[inside]]
        self._offsets = np.searchsorted(area, np.arange(len(areas) + 1))

    def find_edges(
        self, bounds: tuple[float, float, float, float], lattice: Lattice
    ) -> Edges | None:
        """Sides of the areas that may meet a box, on a lattice; None if there are none."""
        xmin, ymin, xmax, ymax = self._bounds.T
        left, bottom, right, top = bounds
        hits = np.flatnonzero((xmin <= right) & (xmax >= left) & (ymin <= top) & (ymax >= bottom))
        if not len(hits):
            return None
        sides = concatenate_ranges(self._offsets[hits], self._offsets[hits + 1])
        x0, y0 = lattice.to_pixels(self._start[sides, 0], self._start[sides, 1])
        x1, y1 = lattice.to_pixels(self._end[sides, 0], self._end[sides, 1])
        is_upward = y1 > y0
        x, y = np.where(is_upward, x0, x1), np.where(is_upward, y0, y1)
        x_end, y_end = np.where(is_upward, x1, x0), np.where(is_upward, y1, y0)
        with np.errstate(divide="ignore", invalid="ignore"):
            slope = np.where(y_end > y, (x_end - x) / (y_end - y), 0.0)
        sign = np.where(is_upward, self._sign[sides], -self._sign[sides])
        return Edges(x, y, slope, y_end, sign)


def concatenate_ranges(starts: npt.NDArray[np.integer], stops: npt.NDArray[np.integer]) -> Ints:
    """`start .. stop` of each pair, one after the other."""
    counts = stops - starts
    offsets = np.cumsum(counts) - counts
    return np.repeat(starts - offsets, counts) + np.arange(counts.sum())
