"""Grids on the ground, on top of odc-geo's `GeoBox` (crs, transform, shape)."""

from __future__ import annotations

import math
from typing import Any

from affine import Affine
from odc.geo.crs import CRS
from odc.geo.geobox import GeoBox
from pyproj import Proj, Transformer

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

    The geometric mean of both pixel edges; degrees are measured on a sphere at the middle latitude,
    and a projection that stretches the ground there, such as Mercator, is corrected for.
    """
    if geobox.crs is None:
        return None
    nominal = math.sqrt(abs(geobox.affine.determinant))
    x, y = geobox.affine @ (geobox.shape[1] / 2, geobox.shape[0] / 2)
    if geobox.crs.geographic:
        narrowing = max(math.cos(math.radians(y)), 1e-6)
        return nominal * math.sqrt(narrowing) * _METRES_PER_DEGREE
    to_metre: float = geobox.crs.proj.axis_info[0].unit_conversion_factor
    return nominal * to_metre / _compute_stretch(geobox.crs, x, y)


def _compute_stretch(crs: CRS, x: float, y: float) -> float:
    """Length in a projected CRS per length on the ground, at a point.

    Projections made for surveying keep it within a percent of 1, and their nominal pixel size is
    then used; others, such as Mercator, stretch the ground by any factor.
    """
    if not crs.projected:  # A local CRS, such as that of a building or a camera.
        return 1.0
    to_lon_lat = Transformer.from_crs(crs.proj, crs.proj.geodetic_crs, always_xy=True)
    lon, lat = to_lon_lat.transform(x, y)
    if not (math.isfinite(lon) and math.isfinite(lat)):
        return 1.0
    scale = math.sqrt(Proj(crs.proj).get_factors(lon, lat).areal_scale)
    return scale if math.isfinite(scale) and abs(scale - 1) > 0.01 else 1.0


def bbox_window(geobox: GeoBox, bbox: Bounds) -> Window:
    """Pixels of a grid that a bounding box touches.

    Args:
        geobox: Pixel grid of the scene.
        bbox: `xmin, ymin, xmax, ymax`; lon-lat degrees if the grid has a CRS, else its own units.

    Returns:
        The smallest window inside the grid that holds every pixel the box touches.

    Raises:
        TilingError: If the box is empty, not finite or does not meet the grid.
    """
    xmin, ymin, xmax, ymax = bbox
    if not (xmin < xmax and ymin < ymax):
        raise TilingError(f"bbox {xmin},{ymin},{xmax},{ymax} is empty; give xmin,ymin,xmax,ymax")
    if not all(math.isfinite(v) for v in bbox):
        raise TilingError(f"bbox {xmin},{ymin},{xmax},{ymax} is not finite")
    covered: Bounds = geobox.extent.boundingbox.bbox
    if geobox.crs is not None:
        covered = project_bounds(covered, geobox.crs.proj, 4326)
        projected = project_bounds(bbox, 4326, geobox.crs.proj)
        if not all(math.isfinite(v) for v in projected):
            # The box leaves the domain of the projection; only the covered part matters.
            left, bottom, right, top = _intersect_bounds(bbox, covered)
            if not (left < right and bottom < top):
                raise _make_outside_error(bbox, covered, geobox)
            projected = project_bounds((left, bottom, right, top), 4326, geobox.crs.proj)
        xmin, ymin, xmax, ymax = projected
    corners = [~geobox.affine @ (x, y) for x in (xmin, xmax) for y in (ymin, ymax)]
    cols, rows = [c for c, _ in corners], [r for _, r in corners]
    # A corner beyond a pixel edge by a rounding error does not touch that pixel.
    left, top = math.floor(min(cols) + 1e-6), math.floor(min(rows) + 1e-6)
    right, bottom = math.ceil(max(cols) - 1e-6), math.ceil(max(rows) - 1e-6)
    requested = Window(left, top, max(1, right - left), max(1, bottom - top))
    window = requested.intersection(Window.whole((geobox.shape[0], geobox.shape[1])))
    if window.is_empty:
        raise _make_outside_error(bbox, covered, geobox)
    return window


def _make_outside_error(bbox: Bounds, covered: Bounds, geobox: GeoBox) -> TilingError:
    units = "" if geobox.crs is None else " in lon-lat degrees"
    requested_text, covered_text = (
        ",".join(f"{v:.6g}" for v in bounds) for bounds in (bbox, covered)
    )
    return TilingError(
        f"bbox {requested_text} lies outside the scene, which covers {covered_text}{units}; "
        "give a bbox that meets it"
    )


def _intersect_bounds(first: Bounds, second: Bounds) -> Bounds:
    return (
        max(first[0], second[0]),
        max(first[1], second[1]),
        min(first[2], second[2]),
        min(first[3], second[3]),
    )


def project_bounds(bounds: Bounds, source: Any, target: Any) -> Bounds:
    """Bounds of a box in another CRS, along its edges and not only at its corners."""
    if source == target:
        return bounds
    transformer = Transformer.from_crs(source, target, always_xy=True)
    projected: Bounds = transformer.transform_bounds(*bounds)
    return projected
