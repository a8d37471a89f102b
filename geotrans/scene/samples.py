"""Sample scenes: small maps of places that do not exist, drawn when they are first asked for."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from geotrans.errors import OutputError, SceneError, nearest

if TYPE_CHECKING:
    from geotrans.scene.base import Scene
    from geotrans.scene.towns import Place

# Lower left corner of every sample: an empty stretch of the Mojave Desert.
_CRS, _CORNER = "EPSG:32611", (600_000.0, 3_850_000.0)
_GSD_M = 0.6
_STYLE = "plain"
# Kind of geometry and fields of each layer; what has no field of its own is in `other_tags`.
_OSM_LAYERS = {
    "lines": ("LineString", ("highway",)),
    "multipolygons": ("Polygon", ("amenity", "landuse", "leisure", "natural")),
}


def list_samples() -> dict[str, str]:
    """Names of the samples, each with one line on what it is."""
    return {name: place().title for name, place in _places().items()}


def open_sample(name: str) -> Scene:
    """Open a sample scene: a small map of a place that does not exist.

    Args:
        name: What follows `sample:`, `"town"` or `"suburb"`.

    Raises:
        SceneError: If there is no such sample; names the nearest.

    Examples:
        >>> import geotrans
        >>> geotrans.open_sample("suburb").geobox.crs.epsg
        32611
    """
    from geotrans.scene.raster import RasterScene

    scene = RasterScene(str(sample_files(name)[0]))
    # Whatever is made of it belongs to where the user is, and not beside the cached file.
    scene.info = replace(scene.info, uri=f"sample:{name}")
    return scene


def sample_files(name: str) -> tuple[Path, Path]:
    """Map and vectors of a sample, drawn into the user's cache if they are not there yet.

    Raises:
        SceneError: If there is no such sample.
        OutputError: If there is nowhere to draw it.
    """
    places = _places()
    if name not in places:
        raise SceneError(
            f"no sample '{name}'; there are {', '.join(places)}{nearest(name, places)}"
        )
    place = places[name]()
    folder = _cache() / f"{name}-{_digest(place)}"
    files = folder / f"{name}.tif", folder / f"{name}.gpkg"
    if not all(file.is_file() for file in files):
        _draw(place, folder)
    return files


def _places() -> dict[str, Callable[[], Place]]:
    from geotrans.scene import towns

    return {"town": towns.town, "suburb": towns.suburb}


def _digest(place: Place) -> str:
    """Changes with the place, its style and what draws it."""
    from geotrans import __version__
    from geotrans.scene.style import load_style

    features = [(feature.shape.wkt, dict(feature.tags)) for feature in place.features]
    style = load_style(_STYLE).model_dump(mode="json")
    text = json.dumps([__version__, place.size_m, features, style, _CRS, _CORNER, _GSD_M])
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _cache() -> Path:
    """Folder of samples among the user's cache files, or in the temporary ones."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    for parent in (home, Path(tempfile.gettempdir())):
        folder = parent / "geotrans" / "samples"
        with contextlib.suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
            if os.access(folder, os.W_OK | os.X_OK):
                return folder
    raise OutputError(f"no place to keep a sample: {home} and the temporary folder are read-only")


def _draw(place: Place, folder: Path) -> None:
    """Vectors and map of a place, in a folder that appears whole or not at all."""
    from affine import Affine

    from geotrans.grid import make_geobox
    from geotrans.scene.rendering import render_map

    height, width = (round(metres / _GSD_M) for metres in place.size_m)
    left, top = _CORNER[0], _CORNER[1] + place.size_m[0]
    geobox = make_geobox((height, width), Affine(_GSD_M, 0, left, 0, -_GSD_M, top), _CRS)
    partial = Path(tempfile.mkdtemp(prefix=f".{place.name}-", dir=folder.parent))
    try:
        vectors = partial / f"{place.name}.gpkg"
        _write_vectors(place, vectors)
        render_map(vectors, partial / f"{place.name}.tif", style=_STYLE, geobox=geobox)
        with contextlib.suppress(OSError):  # Somebody else was faster, and drew the same.
            partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _write_vectors(place: Place, path: Path) -> None:
    """Lines and polygons in the layers and fields that GDAL makes of OpenStreetMap files."""
    import numpy as np
    import pyogrio
    import shapely

    for layer, (kind, keys) in _OSM_LAYERS.items():
        features = [f for f in place.features if f.shape.geom_type == kind]
        shapes = shapely.transform(
            np.array([f.shape for f in features]), lambda points: points + np.array(_CORNER)
        )
        rows = [
            (
                *(f.tags.get(key) for key in keys),
                ",".join(f'"{k}"=>"{v}"' for k, v in f.tags.items() if k not in keys) or None,
            )
            for f in features
        ]
        columns = [np.array(column, dtype=object) for column in zip(*rows, strict=True)]
        pyogrio.raw.write(
            path, shapely.to_wkb(shapes), columns, [*keys, "other_tags"],
            layer=layer, driver="GPKG", geometry_type=kind, crs=_CRS,
        )  # fmt: skip
