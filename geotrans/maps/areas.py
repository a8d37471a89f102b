"""From features to the polygons a style paints, in one CRS."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyproj
import shapely

from geotrans.grid import Bounds, project_bounds
from geotrans.maps.style import StyleLayer, StyleMapping
from geotrans.maps.vectors import Features, VectorSource

Areas = npt.NDArray[np.object_]

# Corners of a quarter circle around the end of a street: 0.03 m off for a street of 12 m.
_QUAD_SEGS = 8
# Longest side that is bent by reprojection only at its ends, m.
_MAX_SIDE_M = 200.0
# Largest error of a length or an area, beyond which a projection does not measure metres.
_MAX_DISTORTION = 0.02


def collect_fields(mapping: StyleMapping, source: VectorSource) -> dict[str, tuple[str, ...]]:
    """Fields a style reads, by layer of a source.

    Raises:
        ConfigError: If the source has no such layer or field.
    """
    fields: dict[str, tuple[str, ...]] = {}
    for layer in mapping.layers:
        name = source.find_layer(layer.layer)
        fields[name] = tuple(dict.fromkeys((*fields.get(name, ()), *layer.fields)))
    for name, names in fields.items():
        source.check_fields(name, names)
    return fields


class AreaReader:
    """Areas of a style's layers in one CRS.

    Args:
        source: Vector source of the features.
        mapping: Layers of a style that paint them.
        crs: CRS of the areas.

    Raises:
        ConfigError: If the source lacks a layer or field the style needs.
        SceneError: If the source has no CRS.
    """

    def __init__(self, source: VectorSource, mapping: StyleMapping, crs: pyproj.CRS) -> None:
        self.source, self.mapping, self.crs = source, mapping, crs
        self._fields = collect_fields(mapping, source)
        self._crs = {name: source.crs(name) for name in self._fields}
        self.bounds = self._compute_bounds()
        self._metric = _choose_metric_crs(crs, self.bounds)

    @property
    def n_features(self) -> int:
        """Features of the layers the style reads."""
        return sum(map(self.source.n_features, self._fields))

    def read(self, bounds: Bounds | None = None) -> list[Areas]:
        """Polygons each layer of the style paints.

        Args:
            bounds: Bounds in the CRS of the areas: polygons that meet them are complete, and
                others may be included. All, unless given.
        """
        features = {
            name: self.source.read(name, fields, bounds=self._search_bounds(bounds, name))
            for name, fields in self._fields.items()
        }
        return [self._make_areas(layer, features) for layer in self.mapping.layers]

    def _make_areas(self, layer: StyleLayer, features: Mapping[str, Features]) -> Areas:
        name = self.source.find_layer(layer.layer)
        shapes = features[name].geometry[layer_filter(layer, features[name])]
        if layer.width_m is None:
            shapes = _extract_polygons(shapes)
            return _extract_polygons(_reproject(shapes, self._crs[name], self.crs))
        shapes = _reproject(shapes, self._crs[name], self._metric)
        metre = 1 / float(self._metric.axis_info[0].unit_conversion_factor)
        shapes = shapely.buffer(shapes, layer.width_m / 2 * metre, quad_segs=_QUAD_SEGS)
        return _extract_polygons(_reproject(_extract_polygons(shapes), self._metric, self.crs))

    def _search_bounds(self, bounds: Bounds | None, name: str) -> Bounds | None:
        """Bounds in the CRS of a layer, grown by the widest line."""
        if bounds is None:
            return None
        widest = max((layer.width_m or 0.0 for layer in self.mapping.layers), default=0.0)
        margin = 2 * (widest / 2 + 1) / _metres_per_unit(self.crs, bounds)
        xmin, ymin, xmax, ymax = bounds
        grown = (xmin - margin, ymin - margin, xmax + margin, ymax + margin)
        return project_bounds(grown, self.crs, self._crs[name])

    def _compute_bounds(self) -> Bounds | None:
        """Bounds of all layers in the CRS of the areas; None if they are empty."""
        layer_bounds = [
            project_bounds(bounds, crs, self.crs)
            for name, crs in self._crs.items()
            if (bounds := self.source.bounds(name)) is not None
        ]
        if not layer_bounds:
            return None
        low, high = np.min(layer_bounds, axis=0), np.max(layer_bounds, axis=0)
        return float(low[0]), float(low[1]), float(high[2]), float(high[3])


def layer_filter(layer: StyleLayer, features: Features) -> npt.NDArray[np.bool_]:
    """Which features a layer of a style paints."""
    is_painted = np.ones(len(features.geometry), dtype=bool)
    for name, accepted in layer.where.items():
        is_painted &= _has_field(features.values(name), accepted)
    for name, rejected in layer.unless.items():
        is_painted &= ~_has_field(features.values(name), rejected)
    return is_painted


def utm_crs(bounds: Bounds) -> pyproj.CRS:
    """The UTM zone around the middle of lon-lat bounds."""
    lon, lat = (bounds[0] + bounds[2]) / 2, (bounds[1] + bounds[3]) / 2
    zone = min(60, max(1, math.floor((lon + 180) / 6) + 1))
    return pyproj.CRS.from_epsg((32600 if lat >= 0 else 32700) + zone)


def _has_field(values: npt.NDArray[np.str_], accepted: tuple[str, ...]) -> npt.NDArray[np.bool_]:
    matches = np.isin(values, accepted)
    return matches | (values != "") if "*" in accepted else matches


def _extract_polygons(shapes: Areas) -> Areas:
    """Polygons among shapes, including those inside collections."""
    parts = shapes
    while len(parts) and (shapely.get_type_id(parts) > 3).any():
        parts = shapely.get_parts(parts)
    polygons: Areas = parts[(shapely.get_type_id(parts) == 3) & ~shapely.is_empty(parts)]
    return polygons


def _reproject(shapes: Areas, source: pyproj.CRS, target: pyproj.CRS) -> Areas:
    if source == target or not len(shapes):
        return shapes
    shapes = shapely.segmentize(shapes, _MAX_SIDE_M / _metres_per_unit(source, None))
    transformer = pyproj.Transformer.from_crs(source, target, always_xy=True)
    reprojected: Areas = shapely.transform(shapes, transformer.transform, interleaved=False)
    return reprojected


def _metres_per_unit(crs: pyproj.CRS, bounds: Bounds | None) -> float:
    """Metres per unit of a CRS; of degrees, along the parallel where they are shortest."""
    if not crs.is_geographic:
        return float(crs.axis_info[0].unit_conversion_factor)
    latitude = 0.0 if bounds is None else max(abs(bounds[1]), abs(bounds[3]))
    return 111_320 * max(math.cos(math.radians(min(latitude, 90.0))), 0.01)


def _choose_metric_crs(crs: pyproj.CRS, bounds: Bounds | None) -> pyproj.CRS:
    """A CRS in metres on the ground: the given one if its scale error is small, else UTM."""
    if bounds is None:
        return crs
    geographic = pyproj.CRS.from_epsg(4326)
    lonlat = project_bounds(bounds, crs, geographic)
    if crs.is_projected:
        middle = (lonlat[0] + lonlat[2]) / 2, (lonlat[1] + lonlat[3]) / 2
        factors: Any = pyproj.Proj(crs).get_factors(*middle)
        scales = np.array([factors.meridional_scale, factors.parallel_scale])
        if np.isfinite(scales).all() and (np.abs(scales - 1) < _MAX_DISTORTION).all():
            return crs
    return utm_crs(lonlat)
