"""Vector sources: features of a layer within bounds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from os import PathLike, fspath
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyogrio
import pyogrio.errors
import pyproj
import shapely

from geotrans.errors import ConfigError, SceneError, suggest
from geotrans.grid import Bounds
from geotrans.scene.samples import PREFIX, sample_vectors

# Sources of at most this many features are read at once and kept.
MAX_CACHED_FEATURES = 20_000

_HSTORE = "other_tags"


@dataclass(frozen=True)
class Features:
    """Features of one layer.

    Attributes:
        geometry: Shapely geometries, none missing, shape `(N,)`.
        fields: Values by field, each of shape `(N,)`.
    """

    geometry: npt.NDArray[np.object_]
    fields: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)

    def values(self, name: str) -> npt.NDArray[np.str_]:
        """Values of a field or an OpenStreetMap tag as text; `""` where there is none."""
        if name in self.fields:
            return _as_text(self.fields[name])
        if _HSTORE in self.fields:
            return _parse_tag(self.fields[_HSTORE], name)
        return np.full(len(self.geometry), "", dtype="<U1")


class VectorSource:
    """A file of vectors that pyogrio reads.

    Args:
        path: File, folder of shapefiles, URL, or `sample:NAME` of a sample that has vectors.

    Attributes:
        path: Path or URL it is read from.
        origin: Path of the original, if `path` is a copy.
        name: Name in messages.
        layers: Names of its layers.

    Raises:
        SceneError: If it is missing, or not a vector file.
    """

    def __init__(self, path: str | PathLike[str]) -> None:
        self.path = self.origin = _resolve_path(fspath(path))
        self.name = Path(self.path).name
        if not (_is_remote(self.path) or Path(self.path).exists()):
            raise SceneError(f"no vectors at {self.path}: there is no such file")
        try:
            self.layers = tuple(str(name) for name, _ in pyogrio.list_layers(self.path))
        except (pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError) as error:
            raise SceneError(
                f"{self.path} cannot be read as vectors: {_join_lines(error)}"
            ) from error
        if not self.layers:
            raise SceneError(f"{self.path} holds no layer")
        self._info: dict[str, Mapping[str, Any]] = {}

    @cached_property
    def driver(self) -> str:
        """GDAL's name of the format."""
        return str(self.info(self.layers[0])["driver"])

    @property
    def only_fields(self) -> tuple[str, ...]:
        """Fields of the only layer; none if there are several."""
        return tuple(self.info(self.layers[0])["fields"]) if len(self.layers) == 1 else ()

    def find_layer(self, name: str | None) -> str:
        """The layer that a style names, or the only layer of the source.

        Raises:
            ConfigError: If there are several and none has the name.
        """
        if name in self.layers:
            return str(name)
        if len(self.layers) == 1:
            return self.layers[0]
        request = (
            "the style names no layer" if name is None else f"the style asks for layer '{name}'"
        )
        raise ConfigError(
            f"{request}; {self.name} has {', '.join(self.layers)}{suggest(name or '', self.layers)}"
        )

    def info(self, layer: str) -> Mapping[str, Any]:
        """Metadata of a layer from pyogrio."""
        if layer not in self._info:
            self._info[layer] = pyogrio.read_info(self.path, layer=layer)
        return self._info[layer]

    def crs(self, layer: str) -> pyproj.CRS:
        """CRS of a layer.

        Raises:
            SceneError: If it has none.
        """
        crs = self.info(layer)["crs"]
        if crs is None:
            raise SceneError(
                f"layer '{layer}' of {self.name} has no CRS; give it one, for example with "
                "`ogr2ogr -a_srs EPSG:...`"
            )
        return pyproj.CRS.from_user_input(crs)

    def check_fields(self, layer: str, requested: Iterable[str]) -> None:
        """Check that a layer can have the fields a style reads.

        Raises:
            ConfigError: If it cannot. Where fields are free tags, only if it has none of them.
        """
        names = list(dict.fromkeys(requested))
        known = list(self.info(layer)["fields"])
        missing = [name for name in names if name not in known]
        has_free_tags = _HSTORE in known or self.driver in ("GeoJSON", "GeoJSONSeq", "OSM")
        if not missing or (has_free_tags and (_HSTORE in known or len(missing) < len(names))):
            return
        raise ConfigError(
            f"the style asks for field '{missing[0]}' of layer '{layer}'; {self.name} has "
            f"{', '.join(known) or 'none'} there{suggest(missing[0], known)}"
        )

    def n_features(self, layer: str) -> int:
        """Number of features of a layer."""
        return int(pyogrio.read_info(self.path, layer=layer, force_feature_count=True)["features"])

    def bounds(self, layer: str) -> Bounds | None:
        """Bounds of a layer in its CRS, or None if it is empty."""
        info = self.info(layer)
        if info["total_bounds"] is None:
            info = pyogrio.read_info(self.path, layer=layer, force_total_bounds=True)
        bounds = info["total_bounds"]
        if bounds is None or not np.isfinite(bounds).all():
            return None
        return tuple(float(v) for v in bounds)  # type: ignore[return-value]  # four of them

    def read(
        self, layer: str, fields: Sequence[str], *, bounds: Bounds | None = None, sql: str = ""
    ) -> Features:
        """Features of a layer.

        Args:
            layer: Name of the layer.
            fields: Fields to read; those that are tags are in `other_tags`.
            bounds: Only features whose bounds meet these, in the layer's CRS.
            sql: Query to read instead of the layer.

        Raises:
            SceneError: If the file is damaged.
        """
        known = list(self.info(layer)["fields"])
        columns = [name for name in known if name in fields]
        if _HSTORE in known and any(name not in known for name in fields):
            columns.append(_HSTORE)
        selection = {"sql": sql} if sql else {"layer": layer, "columns": columns}
        try:
            meta, _, wkb, values = pyogrio.raw.read(
                self.path, bbox=bounds, force_2d=True, **selection
            )
            geometry = shapely.from_wkb(wkb)
        except (pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError,
                pyogrio.errors.FeatureError, pyogrio.errors.GeometryError,
                shapely.errors.ShapelyError) as error:  # fmt: skip
            raise SceneError(
                f"layer '{layer}' of {self.name} cannot be read: {_join_lines(error)}"
            ) from error
        keep = ~(shapely.is_missing(geometry) | shapely.is_empty(geometry))
        return Features(
            geometry[keep],
            {name: value[keep] for name, value in zip(meta["fields"], values, strict=True)},
        )


def _as_text(values: npt.NDArray[Any]) -> npt.NDArray[np.str_]:
    """Values as a style writes them: 2 for 2.0, empty for NULL."""
    if values.dtype.kind == "f":
        return np.array(["" if np.isnan(v) else f"{v:.15g}" for v in values.tolist()], dtype=str)
    return np.array(["" if v is None else str(v) for v in values.tolist()], dtype=str)


def _parse_tag(stores: npt.NDArray[np.object_], name: str) -> npt.NDArray[np.str_]:
    """One tag of `"key"=>"value","key"=>"value"`."""
    import re

    escaped = re.escape(name.replace("\\", "\\\\").replace('"', '\\"'))
    # Quotes inside keys and values are escaped, so a comma and a quote start a key.
    pattern = re.compile(rf'(?:^|,)"{escaped}"=>"((?:[^"\\]|\\.)*)"')
    matches = [pattern.search(store) if store else None for store in stores]
    texts = [re.sub(r"\\(.)", r"\1", match[1]) if match else "" for match in matches]
    return np.array(texts, dtype=str)


def _resolve_path(path: str) -> str:
    """The path of a sample's file; any other path as it is."""
    if not path.startswith(PREFIX):
        return path
    return str(sample_vectors(path.removeprefix(PREFIX)))


def _is_remote(path: str) -> bool:
    return path.startswith("/vsi") or "://" in path


def _join_lines(error: Exception) -> str:
    return " ".join(str(error).split())
