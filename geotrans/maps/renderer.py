"""Drawing vectors on a pixel grid: the map that a network reads, or learns to draw."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from os import PathLike
from typing import Any

import numpy as np
import numpy.typing as npt
import pyproj
import shapely
from affine import Affine
from odc.geo.geobox import GeoBox

from geotrans.grid import Bounds, Window, window_geobox
from geotrans.maps.areas import AreaReader
from geotrans.maps.osm import open_vectors
from geotrans.maps.outlines import Lattice, Outlines
from geotrans.maps.scanline import LayerEdges, Spans, majority, mean_color, scan_lines
from geotrans.maps.style import BLANK, Style, load_style, palette
from geotrans.maps.vectors import KEPT_FEATURES, VectorSource

# Painted at once: few enough pixels for the processor's cache, many enough for numpy, and never
# so many that a position among them outgrows 32 bits.
_BAND_ROWS, _BAND_PX = 256, 1 << 20


@dataclass(frozen=True)
class Drawing:
    """A map on a grid.

    Attributes:
        image: RGB, `(3, H, W)`, 0 where nothing is shown.
        valid: Where something is shown on at least half a pixel, `(H, W)`.
        is_painted: Whether any layer of the style touches the grid.
    """

    image: npt.NDArray[np.uint8]
    valid: npt.NDArray[np.bool_]
    is_painted: bool


class MapRenderer:
    """Draws a style's map of a vector file on any grid of one CRS.

    Colours are mixed by how much of a pixel each class covers. Two grids on one lattice agree on
    every pixel they share, to the bit. A small source is read once; of a large one only what lies
    near the grid is held.

    Args:
        vectors: Any vector file pyogrio reads, or one that is open already.
        style: Name, file or mapping of a style.
        crs: CRS of the grids to draw on.

    Raises:
        ConfigError: If the style cannot be read, or asks for what the vectors lack.
        SceneError: If the vectors are missing, damaged or without CRS.
    """

    def __init__(
        self,
        vectors: str | PathLike[str] | VectorSource,
        style: str | PathLike[str] | Mapping[str, Any] | Style,
        crs: Any,
    ) -> None:
        self.style = load_style(style)
        self.palette = palette(self.style)
        self.crs = pyproj.CRS.from_user_input(crs if isinstance(crs, (str, int)) else str(crs))
        path = vectors.origin if isinstance(vectors, VectorSource) else vectors
        self._arguments = (path, self.style, self.crs.to_wkt())
        source, self._mapping = open_vectors(vectors, self.style)
        self._reader = AreaReader(source, self._mapping, self.crs)
        self._keeps_all = self._reader.n_features <= KEPT_FEATURES
        self._colors = np.zeros((256, 3), dtype=np.uint8)
        self._colors[: len(self.palette)] = [color for _, color in self.palette]
        self._lock = threading.Lock()
        self._held: tuple[Bounds | None, list[Outlines]] | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return MapRenderer, self._arguments

    @property
    def bounds(self) -> Bounds | None:
        """Bounds of the vectors in the CRS of the grids; None if there are none."""
        return self._reader.bounds

    def draw(self, geobox: GeoBox) -> Drawing:
        """The map on a grid, and where it shows something."""
        height, width = geobox.shape
        image = np.empty((3, height, width), np.uint8)
        valid = np.empty((height, width), bool)
        painted = False
        for rows, stretches in self._scan(geobox):
            image[:, rows], valid[rows] = mean_color(stretches, self._colors)
            painted |= stretches.is_painted
        return Drawing(image, valid, painted)

    def read(self, geobox: GeoBox) -> npt.NDArray[np.uint8]:
        """The map on a grid, RGB, shape `(3, H, W)`; 0 where nothing is shown."""
        return self.draw(geobox).image

    def classes(self, geobox: GeoBox) -> npt.NDArray[np.uint8]:
        """Class that covers most of each pixel, by index, shape `(H, W)`; `BLANK` for none."""
        result = np.empty(tuple(geobox.shape), np.uint8)
        for rows, stretches in self._scan(geobox):
            result[rows] = majority(stretches)
        return result

    def valid(self, geobox: GeoBox) -> npt.NDArray[np.bool_]:
        """Where the map shows something on at least half of a pixel, shape `(H, W)`."""
        shown: npt.NDArray[np.bool_] = self.classes(geobox) != BLANK
        return shown

    def _scan(self, geobox: GeoBox) -> Iterator[tuple[slice, Spans]]:
        """Bands of rows, each with its stretches."""
        outlines = self._outlines(_bounds(geobox))
        height, width = geobox.shape
        n_rows = max(1, min(_BAND_ROWS, _BAND_PX // width))
        for top in range(0, height, n_rows):
            band = window_geobox(geobox, Window(0, top, width, min(n_rows, height - top)))
            lattice, (row, col) = _lattice(band)
            coats = [
                LayerEdges(edges, self.style.index(layer.class_name), self._over(layer.over))
                for layer, outline in zip(self._mapping.layers, outlines, strict=True)
                if (edges := outline.near(_bounds(band), lattice)) is not None
            ]
            background = self.style.index(self._mapping.background)
            stretches = scan_lines(coats, background, top=row, left=col, shape=band.shape.yx)
            yield slice(top, top + band.shape[0]), stretches

    def _over(self, names: tuple[str, ...] | None) -> tuple[int, ...] | None:
        return None if names is None else tuple(self.style.index(name) for name in names)

    def _outlines(self, bounds: Bounds) -> list[Outlines]:
        """Outlines of each layer's areas around a place."""
        with self._lock:
            if self._held is None or not _contains(self._held[0], bounds):
                region = None if self._keeps_all else _ahead(bounds)
                self._held = region, [Outlines(areas) for areas in self._reader.read(region)]
            return self._held[1]


def _lattice(geobox: GeoBox) -> tuple[Lattice, tuple[int, int]]:
    """The lattice a grid lies on, and `(row, col)` of its first pixel there."""
    a = geobox.affine
    linear = ~Affine(a.a, a.b, 0.0, a.d, a.e, 0.0)
    col, row = linear @ (a.c, a.f)
    first_col, first_row = round(col), round(row)
    # Rounded, so that windows of one grid get one lattice.
    phase = round(col - first_col, 6), round(row - first_row, 6)
    return Lattice(linear.a, linear.b, linear.d, linear.e, *phase), (first_row, first_col)


def _bounds(geobox: GeoBox) -> Bounds:
    height, width = geobox.shape
    corners = [geobox.affine @ (col, row) for col in (0, width) for row in (0, height)]
    xs, ys = [x for x, _ in corners], [y for _, y in corners]
    return min(xs), min(ys), max(xs), max(ys)


def _contains(outer: Bounds | None, inner: Bounds) -> bool:
    """Whether a region, or everything, holds another."""
    return outer is None or bool(shapely.box(*outer).covers(shapely.box(*inner)))


def _ahead(bounds: Bounds) -> Bounds:
    """A place and what lies above and below it: a map is drawn in columns of windows."""
    xmin, ymin, xmax, ymax = bounds
    step = 2.0 ** math.ceil(math.log2(max(xmax - xmin, ymax - ymin)))
    return xmin, math.floor(ymin / step) * step, xmax, math.ceil(ymax / step) * step
