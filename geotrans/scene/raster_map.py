"""Painting vectors on a pixel grid: the map that a network reads, or learns to draw."""

from __future__ import annotations

import math
from dataclasses import dataclass
from os import PathLike
from typing import Any

import numpy as np
import numpy.typing as npt
import pyproj
import shapely
from affine import Affine
from odc.geo.geobox import GeoBox
from rasterio.features import rasterize

from geotrans.scene.style import BLANK, Style, StyleLayer, load_style, palette
from geotrans.scene.vectors import Features, VectorSource

# Samples per pixel edge.
SAMPLES = 4
# Vertices are rounded to this fraction of a sample, so that a shift by whole pixels is exact.
_STEPS = 256


@dataclass(frozen=True)
class _Coat:
    """A layer's shapes in samples of the ground lattice, ready to paint."""

    shapes: npt.NDArray[np.object_]
    tree: shapely.STRtree
    index: int
    over: tuple[int, ...] | None


class MapRenderer:
    """Draws a style's map of a vector file on any grid of one CRS.

    A pixel is a 4 x 4 block of samples on a lattice fixed to the ground, and every sample belongs
    to one class: two grids that share a pixel agree on it to the bit, and neighbouring classes
    meet without a third showing between them.

    Args:
        vectors: Any vector file pyogrio reads.
        style: Name, file or mapping of a style.
        crs: CRS of the grids to draw on.
    """

    def __init__(
        self, vectors: str | PathLike[str], style: str | PathLike[str] | Style, crs: Any
    ) -> None:
        self.source = VectorSource(vectors)
        self.style = load_style(style)
        self.crs = pyproj.CRS.from_user_input(str(crs))
        self.palette = palette(self.style)
        self._colors = np.zeros((256, 3), dtype=np.uint8)
        self._colors[: len(self.palette)] = [color for _, color in self.palette]
        self._ground = [self._ground_shapes(layer) for layer in self.style.layers]
        self._coats: dict[tuple[float, ...], list[_Coat]] = {}

    def read(self, geobox: GeoBox) -> npt.NDArray[np.uint8]:
        """The anti-aliased map on a grid, RGB, shape `(3, H, W)`; 0 where it is blank."""
        cells, mixed = self._cells(geobox)
        image = self._colors[cells[:, :, 0]]
        inner = cells[mixed]
        shown = inner != BLANK
        sums = (self._colors[inner] * shown[:, :, None]).sum(axis=1, dtype=np.uint16)
        n_shown = shown.sum(axis=1, keepdims=True)
        mean = np.rint(sums / np.maximum(n_shown, 1)).astype(np.uint8)
        mean[2 * n_shown[:, 0] < shown.shape[1]] = 0
        image[mixed] = mean
        return np.ascontiguousarray(image.transpose(2, 0, 1))

    def classes(self, geobox: GeoBox) -> npt.NDArray[np.uint8]:
        """The class that covers most of each pixel, by index, shape `(H, W)`; `BLANK` for none."""
        cells, mixed = self._cells(geobox)
        result = cells[:, :, 0].copy()
        inner = cells[mixed]
        counts = (inner[:, :, None] == np.arange(len(self.palette))).sum(axis=1)
        blank = 2 * counts.sum(axis=1) < inner.shape[1]
        result[mixed] = np.where(blank, BLANK, counts.argmax(axis=1))
        return result

    def valid(self, geobox: GeoBox) -> npt.NDArray[np.bool_]:
        """Where the map shows something on at least half of a pixel, shape `(H, W)`."""
        return self.classes(geobox) != BLANK

    def _cells(self, geobox: GeoBox) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_]]:
        """Classes of the samples of each pixel, `(H, W, SAMPLES ** 2)`, and where they differ."""
        height, width = geobox.shape
        cells = self._samples(geobox).reshape(height, SAMPLES, width, SAMPLES).swapaxes(1, 2)
        cells = cells.reshape(height, width, SAMPLES * SAMPLES)
        return cells, (cells != cells[:, :, :1]).any(axis=2)

    def _samples(self, geobox: GeoBox) -> npt.NDArray[np.uint8]:
        """Class of every sample, shape `(SAMPLES * H, SAMPLES * W)`."""
        a = geobox.affine
        linear = ~Affine(a.a, a.b, 0, a.d, a.e, 0)
        col, row = linear @ (a.c, a.f)
        anchor = (round(col), round(row))
        phase = (round(col - anchor[0], 6), round(row - anchor[1], 6))
        coats = self._coats_on((linear.a, linear.b, linear.d, linear.e, *phase))
        height, width = geobox.shape[0] * SAMPLES, geobox.shape[1] * SAMPLES
        left, top = anchor[0] * SAMPLES, anchor[1] * SAMPLES
        out = np.full((height, width), self.style.index(self.style.background), dtype=np.uint8)
        window = shapely.box(left, top, left + width, top + height)
        to_lattice = Affine.translation(left, top)
        for coat in coats:
            found = np.sort(coat.tree.query(window))
            if not len(found):
                continue
            target = out if coat.over is None else np.zeros_like(out)
            value = coat.index if coat.over is None else 1
            rasterize(coat.shapes[found], out=target, transform=to_lattice, default_value=value)
            if coat.over is not None:
                out[(target == 1) & np.isin(out, coat.over)] = coat.index
        return out

    def _coats_on(self, key: tuple[float, ...]) -> list[_Coat]:
        """Every layer's shapes on a lattice, computed once."""
        if key not in self._coats:
            a, b, d, e, col, row = key
            scale = SAMPLES * np.array([[a, b], [d, e]])
            offset = SAMPLES * np.array([col, row])

            def place(xy: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
                return np.rint((xy @ scale.T - offset) * _STEPS) / _STEPS

            self._coats[key] = [
                self._coat(layer, shapely.transform(shapes, place))
                for layer, shapes in zip(self.style.layers, self._ground, strict=True)
            ]
        return self._coats[key]

    def _coat(self, layer: StyleLayer, shapes: npt.NDArray[np.object_]) -> _Coat:
        over = None if layer.over is None else tuple(self.style.index(name) for name in layer.over)
        return _Coat(shapes, shapely.STRtree(shapes), self.style.index(layer.class_name), over)

    def _ground_shapes(self, layer: StyleLayer) -> npt.NDArray[np.object_]:
        """Areas a layer paints, in the CRS of the grid."""
        features = self.source.read(layer.layer, layer.fields)
        shapes = features.geometry[_matches(layer, features)]
        crs = self.source.crs(layer.layer)
        if crs != self.crs:
            transformer = pyproj.Transformer.from_crs(crs, self.crs, always_xy=True)
            shapes = shapely.transform(shapes, transformer.transform, interleaved=False)
        if layer.width_m is not None:
            shapes = shapely.buffer(shapes, layer.width_m / 2, quad_segs=8)
        parts = shapely.get_parts(shapes)
        parts = parts[shapely.get_dimensions(parts) == 2]
        return np.concatenate([parts[:0], *(_split(part) for part in parts)])


def _matches(layer: StyleLayer, features: Features) -> npt.NDArray[np.bool_]:
    keep = np.ones(len(features.geometry), dtype=bool)
    for field, values in layer.where.items():
        keep &= np.isin(features.fields[field].astype(str), values)
    for field, values in layer.unless.items():
        keep &= ~np.isin(features.fields[field].astype(str), values)
    return keep


def _split(area: Any, *, max_vertices: int = 2000) -> npt.NDArray[np.object_]:
    """An area with many vertices as a mosaic of smaller ones."""
    if shapely.get_num_coordinates(area) <= max_vertices:
        return np.array([area], dtype=object)
    xmin, ymin, xmax, ymax = area.bounds
    if xmax - xmin > ymax - ymin:
        middle = math.floor((xmin + xmax) / 2)
        halves = [(xmin, ymin, middle, ymax), (middle, ymin, xmax, ymax)]
    else:
        middle = math.floor((ymin + ymax) / 2)
        halves = [(xmin, ymin, xmax, middle), (xmin, middle, xmax, ymax)]
    pieces = [shapely.get_parts(shapely.clip_by_rect(area, *half)) for half in halves]
    flat = [piece for group in pieces for piece in group if shapely.get_dimensions(piece) == 2]
    return np.concatenate([_split(piece, max_vertices=max_vertices) for piece in flat])
