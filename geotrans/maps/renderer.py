"""Drawing vectors on a pixel grid: maps as the source or the target of a network."""

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
from geotrans.maps.scanline import LayerEdges, Spans, majority_class, mean_color, scan_lines
from geotrans.maps.style import BLANK, Style, load_style, palette
from geotrans.maps.vectors import MAX_CACHED_FEATURES, VectorSource

# Painted at once: few enough pixels for the processor's cache, many enough for numpy, and never
# so many that a position among them outgrows 32 bits.
_STRIP_ROWS, _STRIP_PX = 256, 1 << 20


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
    every pixel they share, to the bit. A small source is read once; of a large one only features
    near the grid are kept in memory.

    Args:
        vectors: Any vector file pyogrio reads, or an open source.
        style: Name, file or mapping of a style.
        crs: CRS of the grids to draw on.

    Raises:
        ConfigError: If the style cannot be read, or needs a layer or field the vectors lack.
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
        self._keeps_all = self._reader.n_features <= MAX_CACHED_FEATURES
        self._colors = np.zeros((256, 3), dtype=np.uint8)
        self._colors[: len(self.palette)] = [color for _, color in self.palette]
        self._lock = threading.Lock()
        self._cached: tuple[Bounds | None, list[Outlines]] | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return MapRenderer, self._arguments

    @property
    def bounds(self) -> Bounds | None:
        """Bounds of the vectors in the CRS of the grids; None if there are none."""
        return self._reader.bounds

    def draw(self, geobox: GeoBox) -> Drawing:
        """Draw the map on a grid, with its valid pixels."""
        height, width = geobox.shape
        image = np.empty((3, height, width), np.uint8)
        valid = np.empty((height, width), bool)
        is_painted = False
        for rows, spans in self._scan(geobox):
            image[:, rows], valid[rows] = mean_color(spans, self._colors)
            is_painted |= spans.is_painted
        return Drawing(image, valid, is_painted)

    def read(self, geobox: GeoBox) -> npt.NDArray[np.uint8]:
        """The map on a grid, RGB, shape `(3, H, W)`; 0 where nothing is shown."""
        return self.draw(geobox).image

    def draw_classes(self, geobox: GeoBox) -> npt.NDArray[np.uint8]:
        """Class that covers most of each pixel, by index, shape `(H, W)`; `BLANK` for none."""
        result = np.empty(tuple(geobox.shape), np.uint8)
        for rows, spans in self._scan(geobox):
            result[rows] = majority_class(spans)
        return result

    def draw_valid(self, geobox: GeoBox) -> npt.NDArray[np.bool_]:
        """Where the map shows something on at least half of a pixel, shape `(H, W)`."""
        is_shown: npt.NDArray[np.bool_] = self.draw_classes(geobox) != BLANK
        return is_shown

    def _scan(self, geobox: GeoBox) -> Iterator[tuple[slice, Spans]]:
        """Strips of rows, each with its spans."""
        outlines = self._load_outlines(_get_bounds(geobox))
        height, width = geobox.shape
        n_rows = max(1, min(_STRIP_ROWS, _STRIP_PX // width))
        for top in range(0, height, n_rows):
            strip = window_geobox(geobox, Window(0, top, width, min(n_rows, height - top)))
            lattice, (row, col) = _split_transform(strip)
            layers = [
                LayerEdges(
                    edges, self.style.index(layer.class_name), self._find_indices(layer.over)
                )
                for layer, outlines_of_layer in zip(self._mapping.layers, outlines, strict=True)
                if (edges := outlines_of_layer.find_edges(_get_bounds(strip), lattice)) is not None
            ]
            background = self.style.index(self._mapping.background)
            spans = scan_lines(layers, background, top=row, left=col, shape=strip.shape.yx)
            yield slice(top, top + strip.shape[0]), spans

    def _find_indices(self, names: tuple[str, ...] | None) -> tuple[int, ...] | None:
        return None if names is None else tuple(self.style.index(name) for name in names)

    def _load_outlines(self, bounds: Bounds) -> list[Outlines]:
        """Outlines of each layer's areas within bounds."""
        with self._lock:
            if self._cached is None or not _contains(self._cached[0], bounds):
                region = None if self._keeps_all else _extend(bounds)
                self._cached = region, [Outlines(areas) for areas in self._reader.read(region)]
            return self._cached[1]


def _split_transform(geobox: GeoBox) -> tuple[Lattice, tuple[int, int]]:
    """The lattice of a grid, and `(row, col)` of its first pixel on the lattice."""
    a = geobox.affine
    linear = ~Affine(a.a, a.b, 0.0, a.d, a.e, 0.0)
    col, row = linear @ (a.c, a.f)
    first_col, first_row = round(col), round(row)
    # Rounded, so that all windows of a grid have the same lattice.
    phase = round(col - first_col, 6), round(row - first_row, 6)
    return Lattice(linear.a, linear.b, linear.d, linear.e, *phase), (first_row, first_col)


def _get_bounds(geobox: GeoBox) -> Bounds:
    height, width = geobox.shape
    corners = [geobox.affine @ (col, row) for col in (0, width) for row in (0, height)]
    xs, ys = [x for x, _ in corners], [y for _, y in corners]
    return min(xs), min(ys), max(xs), max(ys)


def _contains(outer: Bounds | None, inner: Bounds) -> bool:
    """Whether bounds contain others; None contains everything."""
    return outer is None or bool(shapely.box(*outer).covers(shapely.box(*inner)))


def _extend(bounds: Bounds) -> Bounds:
    """Bounds extended upwards and downwards, since a map is drawn in columns of windows."""
    xmin, ymin, xmax, ymax = bounds
    step = 2.0 ** math.ceil(math.log2(max(xmax - xmin, ymax - ymin)))
    return xmin, math.floor(ymin / step) * step, xmax, math.ceil(ymax / step) * step
