"""Draw the sample scenes that ship with geotrans, anew.

    python -m benchmarks.samples.draw [FOLDER]

writes map and vectors of every sample into the folder, `geotrans/scene/data` unless given. A test
holds that they equal the shipped ones.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pyogrio
import shapely
from affine import Affine

from benchmarks.samples.places import Place, suburb, town
from geotrans.grid import make_geobox
from geotrans.maps import render_map

# Lower left corner of every sample: an empty stretch of the Mojave Desert.
CRS, CORNER = "EPSG:32611", (600_000.0, 3_850_000.0)
GSD_M = 0.6
STYLE = "plain"
PLACES = {"town": town, "suburb": suburb}
# Kind of geometry and fields of each layer; what has no field of its own is in `other_tags`.
_OSM_LAYERS = {
    "lines": ("LineString", ("highway",)),
    "multipolygons": ("Polygon", ("amenity", "landuse", "leisure", "natural")),
}


def draw(place: Place, folder: Path) -> tuple[Path, Path]:
    """Write map and vectors of a place."""
    height, width = (round(metres / GSD_M) for metres in place.size_m)
    left, top = CORNER[0], CORNER[1] + place.size_m[0]
    geobox = make_geobox((height, width), Affine(GSD_M, 0, left, 0, -GSD_M, top), CRS)
    image, vectors = folder / f"{place.name}.tif", folder / f"{place.name}.gpkg"
    _write_vectors(place, vectors)
    render_map(vectors, image, style=STYLE, geobox=geobox, overwrite=True)
    return image, vectors


def _write_vectors(place: Place, path: Path) -> None:
    """Lines and polygons in the layers and fields that GDAL makes of OpenStreetMap files."""
    path.unlink(missing_ok=True)
    for layer, (kind, keys) in _OSM_LAYERS.items():
        features = [f for f in place.features if f.shape.geom_type == kind]
        shapes = shapely.transform(
            np.array([f.shape for f in features]), lambda points: points + np.array(CORNER)
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
            layer=layer, driver="GPKG", geometry_type=kind, crs=CRS,
        )  # fmt: skip


if __name__ == "__main__":
    target = Path(sys.argv[1] if len(sys.argv) > 1 else "geotrans/scene/data")
    for make in PLACES.values():
        for path in draw(make(), target):
            print(path)
