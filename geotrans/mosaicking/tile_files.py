"""Tile files for other software."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import numpy as np
import rasterio
from odc.geo.geobox import GeoBox
from rasterio.enums import ColorInterp

from geotrans.errors import UsageError, option
from geotrans.grid import window_geobox
from geotrans.mosaicking.tileset import TileSet
from geotrans.scene import Patch, Scene

Format = Literal["tif", "png"]


def check_format(scene: Scene, kind: Format) -> None:
    """Check that a format can hold a scene's values.

    Raises:
        UsageError: If not.
    """
    n = len(scene.bands)
    if kind == "png" and (n not in (1, 3) or str(scene.dtype) not in ("uint8", "uint16")):
        raise UsageError(
            f"a PNG holds 1 or 3 bands of uint8 or uint16; {scene.name} has {n} of {scene.dtype}; "
            f"use {option('format_', 'tif')}"
        )


def write_tile(path: Path, scene: Scene, patch: Patch, geobox: GeoBox, kind: Format) -> None:
    """Write one tile with its georeference.

    A GeoTIFF keeps the metadata of the bands and the valid pixels. A PNG holds plain values, with
    a world file beside it, and the metadata in GDAL's `.aux.xml`, without valid pixels.

    Args:
        path: File to write.
        scene: Scene it was cut from.
        patch: Its pixels.
        geobox: Their grid.
        kind: Format of the file.
    """
    height, width = patch.valid.shape
    profile: dict[str, Any] = {
        "height": height,
        "width": width,
        "count": len(patch.data),
        "dtype": scene.dtype,
        "crs": scene.crs_wkt,
    }
    if not geobox.affine.is_identity:
        profile["transform"] = geobox.affine
    if kind == "png":
        with rasterio.open(path, "w", driver="PNG", **profile) as png:
            _write_metadata(png, scene)
            png.write(patch.data)
        # Centre of the first pixel, as ESRI defined it.
        a, b, c, d, e, f = tuple(geobox.affine)[:6]
        numbers = (a, d, b, e, c + (a + b) / 2, f + (d + e) / 2)
        path.with_suffix(".pgw").write_text("".join(f"{float(n)!r}\n" for n in numbers))
        return
    options = {"compress": "deflate", "photometric": "MINISBLACK", "alpha": "NO"}
    if scene.colormap is not None:
        options["photometric"] = "PALETTE"
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK="YES"),
        rasterio.open(
            path, "w", driver="GTiff", nodata=scene.nodata, BIGTIFF="IF_SAFER", **options, **profile
        ) as tif,
    ):
        _write_metadata(tif, scene)
        if scene.colormap is not None:
            tif.write_colormap(1, dict(scene.colormap))
        else:
            tif.colorinterp = [ColorInterp[band.colorinterp] for band in scene.bands]
        tif.write(patch.data)
        if scene.nodata is None and not patch.valid.all():
            tif.write_mask(patch.valid)


def _write_metadata(file: Any, scene: Scene) -> None:
    bands = scene.bands
    if any(band.name for band in bands):
        file.descriptions = [band.name for band in bands]
    if any((band.scale, band.offset) != (1.0, 0.0) for band in bands):
        file.scales, file.offsets = [b.scale for b in bands], [b.offset for b in bands]
    if any(band.units for band in bands):
        file.units = [band.units or "" for band in bands]
    file.update_tags(**{k: v for k, v in scene.tags.items() if k.startswith("GEOTRANS_")})


def can_write_parquet() -> bool:
    """Whether pyarrow is installed."""
    return find_spec("pyarrow") is not None


def write_parquet(tileset: TileSet, path: Path) -> None:
    """Write a plan as GeoParquet: one row per tile, its core as the geometry.

    References:
        GeoParquet 1.1.0, https://geoparquet.org/releases/v1.1.0/
    """
    import pyarrow as pa
    import pyarrow.parquet as pq
    import shapely

    names, cores, windows, outlines = [], [], [], []
    for name, core, window in tileset.cells():
        names.append(name)
        cores.append((core.col_off, core.row_off, core.width, core.height))
        windows.append((window.col_off, window.row_off, window.width, window.height))
        outlines.append(shapely.Polygon(_list_corners(window_geobox(tileset.geobox, core))))
    columns: dict[str, Any] = {
        "name": names,
        "is_empty": [name in tileset.empty for name in names],
    }
    for kind, rectangles in (("core", cores), ("window", windows)):
        values = np.array(rectangles, np.int64)
        for number, field in enumerate(("col_off", "row_off", "width", "height")):
            columns[f"{kind}_{field}"] = values[:, number]
    columns["geometry"] = shapely.to_wkb(outlines)
    crs = tileset.geobox.crs
    geo_metadata = {
        "version": "1.1.0",
        "primary_column": "geometry",
        "columns": {
            "geometry": {
                "encoding": "WKB",
                "geometry_types": ["Polygon"],
                "crs": None if crs is None else crs.proj.to_json_dict(),
                "bbox": [float(v) for v in shapely.total_bounds(outlines)],
            }
        },
    }
    table = pa.table(columns)
    pq.write_table(table.replace_schema_metadata({"geo": json.dumps(geo_metadata)}), path)


def _list_corners(geobox: GeoBox) -> list[tuple[float, float]]:
    height, width = geobox.shape
    return [geobox.affine @ corner for corner in ((0, 0), (width, 0), (width, height), (0, height))]
