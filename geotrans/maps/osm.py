"""OpenStreetMap files, and others without an index, made quick to read by place."""

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
from geotrans.maps.vectors import KEPT_FEATURES, VectorSource

# Formats in which GDAL finds the features of a place without reading all the others.
_INDEXED = ("GPKG", "FlatGeobuf", "ESRI Shapefile", "OpenFileGDB", "SQLite")


def open_vectors(
    vectors: str | PathLike[str] | VectorSource, style: Style
) -> tuple[VectorSource, StyleMapping]:
    """Open vectors for a style, and choose what to make of them.

    An OpenStreetMap file is read from end to end for every question, so what the style asks for is
    copied from it once, into a temporary GeoPackage; likewise from any large file without an index.

    Raises:
        ConfigError: If the style has no mapping for the vectors, or they lack a layer or field.
        SceneError: If the vectors are missing or damaged.
    """
    source = vectors if isinstance(vectors, VectorSource) else VectorSource(vectors)
    mapping = style.mapping_for(source.layers, source.only_fields)
    if source.driver in _INDEXED:
        return source, mapping
    names = {source.find_layer(layer.layer) for layer in mapping.layers}
    if source.driver == "OSM" or sum(map(source.n_features, names)) > KEPT_FEATURES:
        return _IndexedCopy(source, mapping), mapping
    return source, mapping


class _IndexedCopy(VectorSource):
    """What a style asks for, in a GeoPackage that lives as long as this object."""

    def __init__(self, source: VectorSource, mapping: StyleMapping) -> None:
        folder = tempfile.mkdtemp(prefix="geotrans-")
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        path = Path(folder) / "vectors.gpkg"
        for name, layers in _layers_by_name(source, mapping).items():
            asked = dict.fromkeys(field for layer in layers for field in layer.fields)
            source.check_fields(name, asked)
            crs = source.crs(name).to_wkt()
            sql = _query(source, name, layers) if source.driver == "OSM" else ""
            features = source.read(name, list(asked), sql=sql)
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


def _layers_by_name(source: VectorSource, mapping: StyleMapping) -> dict[str, list[StyleLayer]]:
    groups: dict[str, list[StyleLayer]] = {}
    for layer in mapping.layers:
        groups.setdefault(source.find_layer(layer.layer), []).append(layer)
    return groups


def _query(source: VectorSource, name: str, layers: Iterable[StyleLayer]) -> str:
    """The features of an OpenStreetMap layer that a style may paint.

    A query, and not a filter: it tells the driver to leave the other layers alone, which it would
    otherwise pile up in memory.
    """
    known = list(source.info(name)["fields"])
    asked = {field for layer in layers for field in layer.fields}
    columns = [field for field in known if field in asked or field == "other_tags"]
    conditions = [_condition(layer, known) for layer in layers]
    fields = ", ".join(f'"{column}"' for column in columns)
    where = f" WHERE {' OR '.join(conditions)}" if all(conditions) else ""
    return f'SELECT {fields} FROM "{name}"{where}'


def _condition(layer: StyleLayer, known: list[str]) -> str:
    """What a layer of a style demands, or less; empty if it takes everything."""
    demands = []
    for field, values in layer.where.items():
        if field not in known:
            demands.append(f"other_tags LIKE {_quoted(f'%"{field}"=>%')}")
        elif "*" in values:
            demands.append(f'"{field}" IS NOT NULL')
        else:
            demands.append(f'"{field}" IN ({", ".join(map(_quoted, values))})')
    return f"({' AND '.join(demands)})" if demands else ""


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
