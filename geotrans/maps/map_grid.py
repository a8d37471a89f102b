"""The grid of a map: that of another raster, or one on the lattice of its CRS."""

from __future__ import annotations

import logging
import math
from typing import Any

import numpy as np
import pyproj
from affine import Affine
from odc.geo.geobox import GeoBox
from pyproj.exceptions import CRSError

from geotrans.errors import SceneError, UsageError
from geotrans.grid import Bounds, make_geobox, project_bounds
from geotrans.grid import gsd_m as grid_gsd_m
from geotrans.maps.areas import utm_crs
from geotrans.maps.vectors import VectorSource
from geotrans.scene.open import open_scene

_log = logging.getLogger(__name__)

_LONLAT = pyproj.CRS.from_epsg(4326)


def check_grid_choice(**choice: Any) -> None:
    """Check that the arguments of a rendering name exactly one grid.

    Raises:
        UsageError: If they name none or several, or a pixel without size.
    """
    named = {name for name, value in choice.items() if value is not None}
    for name in ("like", "geobox"):
        if name in named and len(named) > 1:
            raise UsageError(
                f"'{name}' already says which grid to draw on; leave out "
                f"{', '.join(name.removesuffix('_m') for name in sorted(named - {name}))}"
            )
    if named & {"like", "geobox"}:
        return
    size = choice["gsd_m"]
    if size is None:
        raise UsageError("how large is a pixel? give a gsd in metres, or a raster to draw like")
    if not (math.isfinite(size) and size > 0):
        raise UsageError(f"a gsd of {size:g} m makes no pixels; give a positive number of metres")
    if choice["bbox_crs"] is not None and choice["bbox"] is None:
        raise UsageError("a bbox_crs without a bbox says nothing; give both")


def read_grid(raster: Any) -> tuple[GeoBox, str]:
    """Grid of a raster, and its CRS as the file states it.

    Raises:
        SceneError: If it cannot be opened, or has no CRS.
    """
    with open_scene(raster) as scene:
        if scene.crs_wkt is None:
            raise SceneError(f"cannot draw like {scene.name}: it has no CRS")
        return scene.geobox, scene.crs_wkt


def choose_crs(source: VectorSource, layer: str, asked: Any) -> str:
    """The CRS asked for, else that of the vectors if it is projected, else their UTM zone.

    Raises:
        SceneError: If the vectors have none.
        UsageError: If the one asked for is not known.
    """
    if asked is not None:
        return _parse_crs(asked, "crs").to_string()
    crs, bounds = source.crs(layer), source.bounds(layer)
    if not crs.is_geographic or bounds is None:
        return crs.to_string()
    utm = utm_crs(project_bounds(bounds, crs, _LONLAT))
    _log.warning(
        "%s is in degrees; drawn in %s (%s), whose pixels are metres; any other CRS may be chosen",
        source.name, utm.to_string(), utm.name,
    )  # fmt: skip
    return utm.to_string()


def resolve_bbox(
    vector_bounds: Bounds | None, crs: pyproj.CRS, *, bbox: Bounds | None, bbox_crs: Any
) -> Bounds:
    """Bounds to draw, in the CRS of the map.

    Args:
        vector_bounds: Bounds of the vectors, in the CRS of the map; None if there are none.
        crs: CRS of the map.
        bbox: Bounds to draw; all of the vectors if None.
        bbox_crs: CRS of the bbox; lon-lat degrees if None.

    Raises:
        UsageError: If the bbox is empty, or holds none of the vectors.
    """
    if vector_bounds is None:
        raise UsageError("the vectors are empty; nothing to draw")
    if bbox is None:
        return vector_bounds
    if not (np.isfinite(bbox).all() and bbox[0] < bbox[2] and bbox[1] < bbox[3]):
        raise UsageError(f"bbox {_format_bounds(bbox)} is empty; give xmin,ymin,xmax,ymax")
    box_crs = _LONLAT if bbox_crs is None else _parse_crs(bbox_crs, "bbox_crs")
    bounds = project_bounds(bbox, box_crs, crs)
    if not np.isfinite(bounds).all():
        raise UsageError(
            f"bbox {_format_bounds(bbox)} does not lie in the area of use of {crs.name}"
        )
    if not _overlap(bounds, vector_bounds):
        covered = project_bounds(vector_bounds, crs, box_crs)
        unit = "lon-lat degrees" if bbox_crs is None else box_crs.name
        raise UsageError(
            f"bbox {_format_bounds(bbox)} lies outside the vectors, which cover "
            f"{_format_bounds(covered)} ({unit}); give a bbox that meets them"
        )
    return bounds


def make_lattice_grid(crs: str, *, gsd_m: float, bounds: Bounds) -> GeoBox:
    """The grid of a pixel size that covers bounds, on the lattice from the origin of the CRS."""
    xmin, ymin, xmax, ymax = bounds
    unit = make_geobox((1, 1), Affine(1, 0, (xmin + xmax) / 2, 0, -1, (ymin + ymax) / 2), crs)
    metres = grid_gsd_m(unit)
    assert metres is not None
    size = gsd_m / metres
    # A bound beyond a pixel edge by a rounding error does not touch that pixel.
    left, top = math.floor(xmin / size + 1e-6), math.ceil(ymax / size - 1e-6)
    right, bottom = math.ceil(xmax / size - 1e-6), math.floor(ymin / size + 1e-6)
    shape = max(1, top - bottom), max(1, right - left)
    return make_geobox(shape, Affine(size, 0, left * size, 0, -size, top * size), crs)


def _parse_crs(text: Any, argument: str) -> pyproj.CRS:
    try:
        return pyproj.CRS.from_user_input(text)
    except CRSError:
        raise UsageError(
            f"{argument} '{text}' is not known; give one such as EPSG:32611, or its WKT"
        ) from None


def _overlap(a: Bounds, b: Bounds) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _format_bounds(bounds: Bounds) -> str:
    return ",".join(f"{v:.7g}" for v in bounds)
