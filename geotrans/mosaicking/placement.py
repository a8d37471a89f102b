"""Placement of tiles in a mosaic: its grid, and the window of each tile."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from affine import Affine
from odc.geo.crs import CRS
from odc.geo.geobox import GeoBox
from pyproj import Transformer

from geotrans.errors import SceneError, UsageError
from geotrans.grid import Bounds, Window, bbox_window, gsd_m, make_geobox, window_geobox
from geotrans.mosaicking.sources import Source
from geotrans.scene import open_scene
from geotrans.scene.views.warped import project_window

# Pixels that lie so close to those of the mosaic are the same pixels.
_SAME_PX = 0.01

_FIRST_PIXEL = Window(0, 0, 1, 1)

# Of a coordinate, decimals of a pixel by which lattices are told apart when they are counted.
_DIGITS = 2


@dataclass(frozen=True, slots=True)
class PlacedRaster:
    """A tile in a mosaic.

    Attributes:
        path: Path or URL of the raster.
        window: Pixels of the mosaic it covers.
        corner: `(col, row)` of the tile's pixel at the top left of `window`; None if its pixels
            are not the mosaic's and have to be resampled.
    """

    path: str
    window: Window
    corner: tuple[int, int] | None


def choose_grid(
    sources: Sequence[Source],
    *,
    crs: Any = None,
    gsd_m: float | None = None,
    bbox: Bounds | None = None,
    like: Any = None,
) -> GeoBox:
    """The grid of a mosaic.

    By default it continues the pixels that most of the tiles have, so that these are copied and
    only the others resampled; among equals the finest.

    Args:
        sources: The tiles.
        crs: Its CRS.
        gsd_m: Its pixel size on the ground, m.
        bbox: Part of the mosaic, lon-lat degrees.
        like: Raster whose grid it is, instead of all of these.

    Raises:
        UsageError: If the choices contradict each other or mean nothing.
        SceneError: If no tile lies there.
    """
    if like is not None:
        if any(choice is not None for choice in (crs, gsd_m, bbox)):
            raise UsageError("'like' already says which grid; leave out crs, gsd and bbox")
        with open_scene(like) as scene:
            return scene.geobox
    lattice = _choose_lattice(sources, crs=crs, size_m=gsd_m)
    windows = [w for source in sources if (w := _locate(source.geobox, lattice)[0])]
    if not windows:
        raise SceneError(f"none of the {len(sources)} tiles has a place in {lattice.crs}")
    left, top = min(w.col_off for w in windows), min(w.row_off for w in windows)
    right, bottom = max(w.col_end for w in windows), max(w.row_end for w in windows)
    grid = window_geobox(lattice, Window(left, top, right - left, bottom - top))
    return grid if bbox is None else window_geobox(grid, bbox_window(grid, bbox))


def place_sources(sources: Sequence[Source], grid: GeoBox) -> tuple[PlacedRaster, ...]:
    """Place each tile in a mosaic; those that lie outside are left out.

    Raises:
        SceneError: If none lies inside.
    """
    whole = Window.whole((grid.shape[0], grid.shape[1]))
    placed = []
    for source in sources:
        window, is_same = _locate(source.geobox, grid)
        if window is None or (visible := window.intersection(whole)).is_empty:
            continue
        inside = visible.relative_to(window)
        corner = (inside.col_off, inside.row_off) if is_same else None
        placed.append(PlacedRaster(source.path, visible, corner))
    if not placed:
        raise SceneError(f"none of the {len(sources)} tiles lies on the grid that was asked for")
    return tuple(placed)


def _locate(tile: GeoBox, grid: GeoBox) -> tuple[Window | None, bool]:
    """Window of a tile on a grid, and whether both have the same pixels."""
    height, width = tile.shape
    if tile.crs == grid.crs:
        to_grid = ~grid.affine @ tile.affine
        col, row = to_grid @ (0.0, 0.0)
        left, top = round(col), round(row)
        corners = ((0, 0), (width, 0), (0, height))
        if all(math.dist(to_grid @ c, (left + c[0], top + c[1])) < _SAME_PX for c in corners):
            return Window(left, top, width, height), True
    return project_window(tile, grid, Window.whole((height, width))), False


def _choose_lattice(sources: Sequence[Source], *, crs: Any, size_m: float | None) -> GeoBox:
    """One pixel of the grid, which determines all others."""
    if size_m is not None and not (math.isfinite(size_m) and size_m > 0):
        raise UsageError(f"a gsd of {size_m:g} m makes no pixels; give a positive number of metres")
    common = _find_most_common(sources)
    target_crs = common.crs if crs is None else _parse_crs(crs)
    if target_crs is None and size_m is not None:
        raise UsageError("the tiles have no CRS, so their pixels have no size in m; leave out gsd")
    if common.crs is None and crs is not None:
        raise UsageError(
            f"the tiles have no CRS and cannot be brought to {target_crs}; leave out crs"
        )
    common_m = gsd_m(common)
    if target_crs == common.crs and (size_m is None or _is_near(size_m, common_m)):
        return common
    assert target_crs is not None
    size_m = size_m or common_m
    assert size_m is not None
    x, y = _project_corner(common, target_crs)
    # Pixels lie on multiples of their size from the origin of the CRS.
    unit = make_geobox((1, 1), Affine(1, 0, x, 0, -1, y), target_crs)
    metres = gsd_m(unit)
    assert metres is not None
    size = size_m / metres
    return make_geobox((1, 1), Affine(size, 0, 0, 0, -size, 0), target_crs)


def _project_corner(grid: GeoBox, crs: CRS) -> tuple[float, float]:
    """The first corner of a grid in another CRS."""
    assert grid.crs is not None
    to_crs = Transformer.from_crs(grid.crs.proj, crs.proj, always_xy=True)
    x, y = to_crs.transform(*(grid.affine @ (0.0, 0.0)))
    if not (math.isfinite(x) and math.isfinite(y)):
        raise UsageError(f"the tiles have no place in {crs}; choose another crs")
    return x, y


def _is_near(first: float, second: float | None) -> bool:
    return second is not None and abs(first - second) < 1e-3 * second


def _find_most_common(sources: Sequence[Source]) -> GeoBox:
    """The first pixel of a tile on the lattice that most tiles are on."""
    keys = [_lattice_key(source.geobox) for source in sources]
    counts = Counter(keys)
    n_most = max(counts.values())
    ties = [
        source.geobox for source, key in zip(sources, keys, strict=True) if counts[key] == n_most
    ]
    return window_geobox(min(ties, key=lambda grid: gsd_m(grid) or 0.0), _FIRST_PIXEL)


def _lattice_key(grid: GeoBox) -> tuple[Any, ...]:
    """A key that tiles on one lattice share."""
    a, b, _, d, e, _ = tuple(grid.affine)[:6]
    col, row = ~grid.affine @ (0.0, 0.0)
    phase = (round(col % 1, _DIGITS) % 1, round(row % 1, _DIGITS) % 1)
    return (str(grid.crs), *(f"{v:.5g}" for v in (a, b, d, e)), phase)


def _parse_crs(crs: Any) -> CRS:
    try:
        return CRS(crs)
    except Exception:  # pyproj's errors have no common base class.
        raise UsageError(
            f"crs '{crs}' is not known; give one such as EPSG:32611, or its WKT"
        ) from None
