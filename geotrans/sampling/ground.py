"""Outlines of scenes on the ground, in a CRS common to all of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import shapely
from odc.geo.crs import CRS
from odc.geo.geobox import GeoBox
from pyproj import Transformer

LONLAT = CRS("EPSG:4326")
# Cylindrical equal area: metres, and an area is an area anywhere.
_EQUAL_AREA = CRS("EPSG:6933")
# Longitudes that one UTM zone can still stand for, degrees.
_MAX_UTM_SPAN = 12.0


def outline(geobox: GeoBox, crs: CRS | None) -> Any:
    """Polygon of a grid in a CRS; in the units of the grid if either has none."""
    return project(geobox.extent.geom, geobox.crs, crs, n_steps=32)


def project(shape: Any, source: CRS | None, target: CRS | None, *, n_steps: int = 256) -> Any:
    """A shape in another CRS; as it is if either has none.

    An edge that is straight in one CRS is a curve in another, so edges are cut into steps of the
    longer side of the shape's box over `n_steps`.
    """
    if source is None or target is None or source == target:
        return shape
    left, bottom, right, top = shape.bounds
    step = max(right - left, top - bottom) / n_steps
    dense = shapely.segmentize(shape, step) if step > 0 else shape
    transformer = Transformer.from_crs(source.proj, target.proj, always_xy=True)
    return shapely.transform(dense, transformer.transform, interleaved=False)


def find_common_crs(geoboxes: Iterable[GeoBox]) -> CRS | None:
    """The CRS that all grids share, else longitude and latitude; None if none of them has one.

    A projected CRS is never used for scenes of another: far from its area of use its coordinates
    are meaningless.
    """
    distinct = {geobox.crs for geobox in geoboxes if geobox.crs is not None}
    if not distinct:
        return None
    return distinct.pop() if len(distinct) == 1 else LONLAT


def choose_metric_crs(geoboxes: Sequence[GeoBox]) -> CRS:
    """A CRS in metres for all grids, each of which has a CRS.

    Their own if they share one in metres, else the UTM zone in their middle, else, for scenes
    spread over the world, an equal-area CRS.
    """
    crs = find_common_crs(geoboxes)
    if crs is not None and crs.projected and crs.proj.axis_info[0].unit_conversion_factor == 1:
        return crs
    return choose_metric_crs_of([outline(geobox, LONLAT) for geobox in geoboxes])


def choose_metric_crs_of(shapes: Sequence[Any]) -> CRS:
    """The same for shapes in longitude and latitude."""
    import geopandas as gpd

    series = gpd.GeoSeries(list(shapes), crs="EPSG:4326")
    left, _, right, _ = series.total_bounds
    return CRS(series.estimate_utm_crs()) if right - left <= _MAX_UTM_SPAN else _EQUAL_AREA
