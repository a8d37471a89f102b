"""Vector sources: features of a layer near a place, in any CRS."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyogrio
import pyproj
import shapely

from geotrans.errors import ConfigError, SceneError, nearest

Bounds = tuple[float, float, float, float]


@dataclass(frozen=True)
class Features:
    """Features of one layer.

    Attributes:
        geometry: Shapely geometries, shape `(N,)`.
        fields: Values by field name, each of shape `(N,)`.
    """

    geometry: npt.NDArray[np.object_]
    fields: Mapping[str, npt.NDArray[Any]]


class VectorSource:
    """A file of vectors that pyogrio reads.

    Attributes:
        path: The file.
    """

    def __init__(self, path: str | PathLike[str]) -> None:
        self.path = Path(path)
        if not self.path.exists():
            raise SceneError(f"no vectors at {self.path}: there is no such file")

    @cached_property
    def layers(self) -> tuple[str, ...]:
        """Names of the layers."""
        return tuple(str(name) for name, _ in pyogrio.list_layers(self.path))

    def find_layer(self, name: str | None) -> str:
        """The layer called `name`, or the only one."""
        if name is None and len(self.layers) == 1:
            return self.layers[0]
        if name not in self.layers:
            raise ConfigError(
                f"{self.path.name} has no layer '{name}', only {', '.join(self.layers)}"
                f"{nearest(name or '', self.layers)}"
            )
        return name

    def read(self, layer: str | None, fields: Sequence[str]) -> Features:
        """All features of a layer."""
        name = self.find_layer(layer)
        meta, _, wkb, columns = pyogrio.raw.read(self.path, layer=name, columns=list(fields))
        return Features(shapely.from_wkb(wkb), dict(zip(meta["fields"], columns, strict=True)))

    def crs(self, layer: str | None) -> pyproj.CRS:
        """CRS of a layer."""
        info = pyogrio.read_info(self.path, layer=self.find_layer(layer))
        if info["crs"] is None:
            raise SceneError(f"{self.path.name} has no CRS; assign one before rendering")
        return pyproj.CRS.from_user_input(info["crs"])
