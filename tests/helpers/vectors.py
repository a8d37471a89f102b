"""Small vector files in any format."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio
import shapely

Row = tuple[Any, Mapping[str, Any]]


def write_vectors(
    path: Path,
    rows: Sequence[Row],
    *,
    crs: str | None = "EPSG:32611",
    layer: str | None = None,
    driver: str | None = None,
) -> Path:
    """Write geometries with their fields; a second layer is added to an existing GeoPackage."""
    names = list(dict.fromkeys(name for _, fields in rows for name in fields))
    columns = [np.array([fields.get(n) for _, fields in rows], dtype=object) for n in names]
    columns = [
        c.astype(float) if all(isinstance(v, float) for v in c) and len(c) else c for c in columns
    ]
    kinds = {shape.geom_type for shape, _ in rows}
    options: dict[str, Any] = {} if layer is None else {"layer": layer}
    if driver is not None:
        options["driver"] = driver
    pyogrio.raw.write(
        path,
        shapely.to_wkb(np.array([shape for shape, _ in rows], dtype=object)),
        columns,
        names,
        crs=crs,
        geometry_type=kinds.pop() if len(kinds) == 1 else "Unknown",
        **options,
    )
    return path
