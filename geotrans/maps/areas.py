"""From features to the areas a style paints, on the ground."""

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
_LONGEST_M = 200.0
# Largest error of a length or an area, beyond which a projection does not measure metres.
_DISTORTION = 0.02


def fields_by_layer(mapping: StyleMapping, source: VectorSource) -> dict[str, tuple[str, ...]]:
    """Fields a style asks about, by layer of a source.

    Raises:
        ConfigError: If the source has no such layer or field.
    """
    fields: dict[str, tuple[str, ...]] = {}
    for layer in mapping.layers:
        name = source.find_layer(layer.layer)
        fields[name] = tuple(dict.fromkeys((*fields.get(name, ()), *layer.fields)))
    for name, asked in fields.items():
        source.check_fields(name, asked)
    return fields


class AreaReader:
    """Areas of a style's layers in one CRS.

    Args:
        source: Where the features are.
        mapping: What to make of them.
        crs: CRS of the areas.

    Raises:
        ConfigError: If the source lacks a layer or field the style asks for.
        SceneError: If the source has no CRS.
    """

    def __init__(self, source: VectorSource, mapping: StyleMapping, crs: pyproj.CRS) -> None:
        self.source, self.mapping, self.crs = source, mapping, crs
        self._fields = fields_by_layer(mapping, source)
        self._crs = {name: source.crs(name) for name in self._fields}
        self.bounds = self._total_bounds()
        self._metric = _metric_crs(crs, self.bounds)

    @property
    def n_features(self) -> int:
        """Features of the layers the style asks for."""
        return sum(map(self.source.n_features, self._fields))

    def read(self, bounds: Bounds | None = None) -> list[Areas]:
        """Polygons each layer of the style paints.

        Args:
            bounds: Place in the CRS of the areas: polygons that meet it are complete, and may
                come with others. All, unless given.
        """
        features = {
            name: self.source.read(name, fields, bounds=self._reach(bounds, name))
            for name, fields in self._fields.items()
        }
        return [self._areas(layer, features) for layer in self.mapping.layers]

    def _areas(self, layer: StyleLayer, features: Mapping[str, Features]) -> Areas:
        name = self.source.find_layer(layer.layer)
        shapes = features[name].geometry[layer_filter(layer, features[name])]
        if layer.width_m is None:
            shapes = _polygons(shapes)
            return _polygons(_reproject(shapes, self._crs[name], self.crs))
        shapes = _reproject(shapes, self._crs[name], self._metric)
        metre = 1 / float(self._metric.axis_info[0].unit_conversion_factor)
        shapes = shapely.buffer(shapes, layer.width_m / 2 * metre, quad_segs=_QUAD_SEGS)
        return _polygons(_reproject(_polygons(shapes), self._metric, self.crs))

    def _reach(self, bounds: Bounds | None, name: str) -> Bounds | None:
        """Bounds in the CRS of a layer, grown by the widest line."""
        if bounds is None:
            return None
        widest = max((layer.width_m or 0.0 for layer in self.mapping.layers), default=0.0)
        grow = 2 * (widest / 2 + 1) / _metres_per_unit(self.crs, bounds)
        xmin, ymin, xmax, ymax = bounds
        grown = (xmin - grow, ymin - grow, xmax + grow, ymax + grow)
        return project_bounds(grown, self.crs, self._crs[name])

    def _total_bounds(self) -> Bounds | None:
        """Bounds of all layers in the CRS of the areas; None if they are empty."""
        found = [
            project_bounds(bounds, crs, self.crs)
            for name, crs in self._crs.items()
            if (bounds := self.source.bounds(name)) is not None
        ]
        if not found:
            return None
        low, high = np.min(found, axis=0), np.max(found, axis=0)
        return float(low[0]), float(low[1]), float(high[2]), float(high[3])


def layer_filter(layer: StyleLayer, features: Features) -> npt.NDArray[np.bool_]:
    """Which features a layer of a style paints."""
    keep = np.ones(len(features.geometry), dtype=bool)
    for name, wanted in layer.where.items():
        keep &= _has_field(features.values(name), wanted)
    for name, unwanted in layer.unless.items():
        keep &= ~_has_field(features.values(name), unwanted)
    return keep


def utm_crs(bounds: Bounds) -> pyproj.CRS:
    """The UTM zone around the middle of lon-lat bounds."""
    lon, lat = (bounds[0] + bounds[2]) / 2, (bounds[1] + bounds[3]) / 2
    zone = min(60, max(1, math.floor((lon + 180) / 6) + 1))
    return pyproj.CRS.from_epsg((32600 if lat >= 0 else 32700) + zone)


def _has_field(values: npt.NDArray[np.str_], wanted: tuple[str, ...]) -> npt.NDArray[np.bool_]:
    found = np.isin(values, wanted)
    return found | (values != "") if "*" in wanted else found


def _polygons(shapes: Areas) -> Areas:
    """Polygons among shapes and inside collections."""
    parts = shapes
    while len(parts) and (shapely.get_type_id(parts) > 3).any():
        parts = shapely.get_parts(parts)
    kept: Areas = parts[(shapely.get_type_id(parts) == 3) & ~shapely.is_empty(parts)]
    return kept


def _reproject(shapes: Areas, source: pyproj.CRS, target: pyproj.CRS) -> Areas:
    if source == target or not len(shapes):
        return shapes
    shapes = shapely.segmentize(shapes, _LONGEST_M / _metres_per_unit(source, None))
    transformer = pyproj.Transformer.from_crs(source, target, always_xy=True)
    moved: Areas = shapely.transform(shapes, transformer.transform, interleaved=False)
    return moved


def _metres_per_unit(crs: pyproj.CRS, bounds: Bounds | None) -> float:
    """Metres in a unit of a CRS, at the least where the narrower direction counts."""
    if not crs.is_geographic:
        return float(crs.axis_info[0].unit_conversion_factor)
    latitude = 0.0 if bounds is None else max(abs(bounds[1]), abs(bounds[3]))
    return 111_320 * max(math.cos(math.radians(min(latitude, 90.0))), 0.01)


def _metric_crs(crs: pyproj.CRS, bounds: Bounds | None) -> pyproj.CRS:
    """A CRS that measures the ground around a place: the given one if it does, else UTM."""
    if bounds is None:
        return crs
    geographic = pyproj.CRS.from_epsg(4326)
    lonlat = project_bounds(bounds, crs, geographic)
    if crs.is_projected:
        middle = (lonlat[0] + lonlat[2]) / 2, (lonlat[1] + lonlat[3]) / 2
        factors: Any = pyproj.Proj(crs).get_factors(*middle)
        scales = np.array([factors.meridional_scale, factors.parallel_scale])
        if np.isfinite(scales).all() and (np.abs(scales - 1) < _DISTORTION).all():
            return crs
    return utm_crs(lonlat)
