"""OpenStreetMap files, and others without a spatial index, copied into an indexed file."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Iterable
from os import PathLike
from pathlib import Path

import pyogrio
import shapely

from geotrans.maps.style import Style, StyleLayer, StyleMapping
from geotrans.maps.vectors import MAX_CACHED_FEATURES, VectorSource

# Formats in which GDAL finds the features of a place without reading all the others.
_INDEXED = ("GPKG", "FlatGeobuf", "ESRI Shapefile", "OpenFileGDB", "SQLite")


def open_vectors(
    vectors: str | PathLike[str] | VectorSource, style: Style
) -> tuple[VectorSource, StyleMapping]:
    """Open vectors for a style, and choose the style's mapping for them.

    An OpenStreetMap file is read from end to end at every query, so the layers the style needs are
    copied once into a temporary GeoPackage; likewise from any large file without an index.

    Raises:
        ConfigError: If the style has no mapping for the vectors, or they lack a layer or field.
        SceneError: If the vectors are missing or damaged.
    """
    source = vectors if isinstance(vectors, VectorSource) else VectorSource(vectors)
    mapping = style.choose_mapping(source.layers, source.only_fields)
    if source.driver in _INDEXED:
        return source, mapping
    names = {source.find_layer(layer.layer) for layer in mapping.layers}
    if source.driver == "OSM" or sum(map(source.n_features, names)) > MAX_CACHED_FEATURES:
        return _IndexedCopy(source, mapping), mapping
    return source, mapping


class _IndexedCopy(VectorSource):
    """The layers a style needs, in a GeoPackage that is removed with this object."""

    def __init__(self, source: VectorSource, mapping: StyleMapping) -> None:
        folder = tempfile.mkdtemp(prefix="geotrans-")
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        path = Path(folder) / "vectors.gpkg"
        for name, layers in _group_layers(source, mapping).items():
            fields = dict.fromkeys(field for layer in layers for field in layer.fields)
            source.check_fields(name, fields)
            crs = source.crs(name).to_wkt()
            sql = _make_query(source, name, layers) if source.driver == "OSM" else ""
            features = source.read(name, list(fields), sql=sql)
            pyogrio.raw.write(
                path,
                shapely.to_wkb(features.geometry),
                list(features.fields.values()),
                list(features.fields),
                layer=name,
                driver="GPKG",
                geometry_type="Unknown",
                crs=crs,
            )
        super().__init__(path)
        self.name, self.origin = source.name, source.origin


def _group_layers(source: VectorSource, mapping: StyleMapping) -> dict[str, list[StyleLayer]]:
    groups: dict[str, list[StyleLayer]] = {}
    for layer in mapping.layers:
        groups.setdefault(source.find_layer(layer.layer), []).append(layer)
    return groups


def _make_query(source: VectorSource, name: str, layers: Iterable[StyleLayer]) -> str:
    """The features of an OpenStreetMap layer that a style may paint.

    A query and not a filter, so that the driver skips the other layers instead of collecting them
    in memory.
    """
    existing = list(source.info(name)["fields"])
    requested = {field for layer in layers for field in layer.fields}
    columns = [field for field in existing if field in requested or field == "other_tags"]
    conditions = [_make_condition(layer, existing) for layer in layers]
    fields = ", ".join(f'"{column}"' for column in columns)
    where = f" WHERE {' OR '.join(conditions)}" if all(conditions) else ""
    return f'SELECT {fields} FROM "{name}"{where}'


def _make_condition(layer: StyleLayer, existing: list[str]) -> str:
    """SQL condition of a style layer, or a weaker one; empty if it takes every feature."""
    terms = []
    for field, values in layer.where.items():
        if field not in existing:
            terms.append(f"other_tags LIKE {_quote(f'%"{field}"=>%')}")
        elif "*" in values:
            terms.append(f'"{field}" IS NOT NULL')
        else:
            terms.append(f'"{field}" IN ({", ".join(map(_quote, values))})')
    return f"({' AND '.join(terms)})" if terms else ""


def _quote(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
