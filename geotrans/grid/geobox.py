"""Where a grid lies on the ground, on top of odc-geo's `GeoBox` (crs, transform, shape)."""

from __future__ import annotations

import math
from typing import Any

from affine import Affine
from odc.geo.geobox import GeoBox
from pyproj import Transformer

from geotrans.errors import TilingError
from geotrans.grid.window import Window

Bounds = tuple[float, float, float, float]

# Metres per degree along a meridian of a sphere with the WGS 84 authalic radius, 6 371 007 m.
_METRES_PER_DEGREE = math.pi * 6_371_007 / 180

# Lattices start on whole pixels, halves (Landsat) or simple fractions of the CRS; rounding at any
# of these would let floating point decide. Nothing lies at this phase.
_PHASE = 0.381966


def make_geobox(shape: tuple[int, int], transform: Affine, crs: Any) -> GeoBox:
    """A grid of `shape` `(height, width)`; `crs` is anything odc-geo understands, or None."""
    return GeoBox(shape, transform, crs)


def window_geobox(geobox: GeoBox, window: Window) -> GeoBox:
    """The grid of a window, which may reach beyond the grid it is counted in."""
    offset = Affine.translation(window.col_off, window.row_off)
    return GeoBox(window.shape, geobox.affine @ offset, geobox.crs)


def ground_anchor(geobox: GeoBox) -> tuple[int, int]:
    """`(row, col)` of the first pixel on the lattice that starts at the origin of the CRS.

    Scenes cut from one lattice get anchors that differ by exactly their offset in pixels.
    """
    col, row = ~geobox.affine @ (0.0, 0.0)
    return -math.floor(row + _PHASE), -math.floor(col + _PHASE)


def gsd_m(geobox: GeoBox) -> float | None:
    """Ground sampling distance at the middle of the grid, m; None without a CRS.

    The geometric mean of both pixel edges; degrees are measured on a sphere at the middle latitude.
    """
    if geobox.crs is None:
        return None
    a = geobox.affine
    if not geobox.crs.geographic:
        to_metre = geobox.crs.proj.axis_info[0].unit_conversion_factor
        scale = 1.0
        if geobox.crs.epsg == 3857:  # Web Mercator stretches by 1 / cos(latitude).
            _, y = a @ (geobox.shape[1] / 2, geobox.shape[0] / 2)
            scale = 1 / math.cosh(y / 6_378_137)
        return math.sqrt(abs(a.determinant)) * to_metre * scale
    _, latitude = a @ (geobox.shape[1] / 2, geobox.shape[0] / 2)
    narrowing = max(math.cos(math.radians(latitude)), 1e-6)
    return math.sqrt(abs(a.determinant) * narrowing) * _METRES_PER_DEGREE


def bbox_window(geobox: GeoBox, bbox: Bounds) -> Window:
    """Pixels of a grid that a bounding box touches.

    Args:
        geobox: Pixel grid of the scene.
        bbox: `xmin, ymin, xmax, ymax`; lon-lat degrees if the grid has a CRS, else its own units.

    Returns:
        The smallest window inside the grid that holds every pixel the box touches.

    Raises:
        TilingError: If the box is inside out or does not meet the grid.
    """
    xmin, ymin, xmax, ymax = bbox
    if not (xmin < xmax and ymin < ymax):
        raise TilingError(f"bbox {xmin},{ymin},{xmax},{ymax} is empty; give xmin,ymin,xmax,ymax")
    if geobox.crs is not None:
        xmin, ymin, xmax, ymax = _project_bounds((xmin, ymin, xmax, ymax), 4326, geobox.crs.proj)
    corners = [~geobox.affine @ (x, y) for x in (xmin, xmax) for y in (ymin, ymax)]
    cols, rows = [c for c, _ in corners], [r for _, r in corners]
    # A corner that floating point left a hair beyond a pixel edge does not touch that pixel.
    left, top = math.floor(min(cols) + 1e-6), math.floor(min(rows) + 1e-6)
    right, bottom = math.ceil(max(cols) - 1e-6), math.ceil(max(rows) - 1e-6)
    asked = Window(left, top, max(1, right - left), max(1, bottom - top))
    window = asked.intersection(Window.whole((geobox.shape[0], geobox.shape[1])))
    if window.is_empty:
        extent: Bounds = geobox.extent.boundingbox.bbox
        where = ""
        if geobox.crs is not None:
            extent = _project_bounds(extent, geobox.crs.proj, 4326)
            where = " in lon-lat degrees"
        found = ",".join(f"{v:.6g}" for v in extent)
        raise TilingError(
            f"bbox {','.join(f'{v:.6g}' for v in bbox)} lies outside the scene, "
            f"which covers {found}{where}; give a bbox that meets it"
        )
    return window


def _project_bounds(bounds: Bounds, source: Any, target: Any) -> Bounds:
    """Bounds of the projected box, its edges followed and not only its corners."""
    left, bottom, right, top = bounds
    transformer = Transformer.from_crs(source, target, always_xy=True)
    projected: Bounds = transformer.transform_bounds(left, bottom, right, top)
    return projected
