"""Draw the sample scenes that ship with geotrans, anew.

    python -m benchmarks.samples.draw [FOLDER]

writes map and vectors of every place, and a drawn photograph of the town, into the folder,
`geotrans/scene/data` unless given. A test holds that they equal the shipped ones.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pyogrio
import rasterio
import shapely
from affine import Affine
from odc.geo.geobox import GeoBox
from rasterio.enums import ColorInterp

from benchmarks.samples.photograph import photograph
from benchmarks.samples.places import TURN, Place, suburb, town
from geotrans.grid import make_geobox
from geotrans.maps import render_map
from geotrans.maps.renderer import MapRenderer
from geotrans.maps.style import load_style, palette

# Lower left corner of every sample: an empty stretch of the Mojave Desert.
CRS, CORNER = "EPSG:32611", (600_000.0, 3_850_000.0)
GSD_M = 0.6
STYLE = "plain"
PLACES = {"town": town, "suburb": suburb}
_BANDS = ("red", "green", "blue", "nir")
# Kind of geometry and fields of each layer; what has no field of its own is in `other_tags`.
_OSM_LAYERS = {
    "lines": ("LineString", ("highway",)),
    "multipolygons": ("Polygon", ("amenity", "landuse", "leisure", "natural")),
}


def draw(place: Place, folder: Path) -> tuple[Path, Path]:
    """Write map and vectors of a place."""
    image, vectors = folder / f"{place.name}.tif", folder / f"{place.name}.gpkg"
    _write_vectors(place, vectors)
    render_map(vectors, image, style=STYLE, geobox=_grid(place), overwrite=True)
    return image, vectors


def draw_photograph(place: Place, vectors: Path, folder: Path) -> Path:
    """Write a photograph of a place whose vectors are written already."""
    geobox, path = _grid(place), folder / f"{place.name}_photo.tif"
    names = tuple(name for name, _ in palette(load_style(STYLE)))
    classes = MapRenderer(vectors, STYLE, CRS).draw_classes(geobox)
    image = photograph(classes, names, gsd_m=GSD_M, turn=TURN, seed=1)
    profile = {
        "driver": "GTiff", "dtype": "uint8", "count": 4, "height": image.shape[1],
        "width": image.shape[2], "crs": CRS, "transform": geobox.affine, "interleave": "pixel",
        "tiled": True, "blockxsize": 512, "blockysize": 512, "compress": "deflate", "zlevel": 9,
    }  # fmt: skip
    with rasterio.open(path, "w", **profile) as file:
        file.descriptions = _BANDS
        file.colorinterp = [ColorInterp[name] for name in (*_BANDS[:3], "undefined")]
        file.write(image)
    return path


def _grid(place: Place) -> GeoBox:
    height, width = (round(metres / GSD_M) for metres in place.size_m)
    left, top = CORNER[0], CORNER[1] + place.size_m[0]
    return make_geobox((height, width), Affine(GSD_M, 0, left, 0, -GSD_M, top), CRS)


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
    print(draw_photograph(town(), target / "town.gpkg", target))
