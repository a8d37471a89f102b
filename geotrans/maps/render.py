"""From vectors to a map raster on disk, window by window."""

from __future__ import annotations

import json
import math
import os
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import rasterio
from odc.geo.geobox import GeoBox
from rasterio.crs import CRS
from rasterio.enums import ColorInterp
from rasterio.io import DatasetWriter
from rasterio.windows import Window as RasterioWindow

from geotrans import __version__
from geotrans.errors import OutputError, UsageError
from geotrans.grid import Bounds, Window, window_geobox
from geotrans.maps.map_grid import (
    check_grid_choice,
    choose_crs,
    make_lattice_grid,
    read_grid,
    resolve_bbox,
)
from geotrans.maps.osm import open_vectors
from geotrans.maps.renderer import MapRenderer
from geotrans.maps.style import Style, load_style
from geotrans.output import check_output, iter_windows, write_whole_raster
from geotrans.runtime.progress import Progress, show_nothing
from geotrans.scene.views.classes import PALETTE_TAG

_BLOCK = 512
# GDAL's own cache would take a twentieth of the machine.
_CACHE_MB = 64
_BANDS = {"red": ColorInterp.red, "green": ColorInterp.green, "blue": ColorInterp.blue}


def render_map(
    vectors: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    style: str | os.PathLike[str] | Mapping[str, Any] | Style = "plain",
    gsd_m: float | None = None,
    bbox: Bounds | None = None,
    bbox_crs: Any = None,
    crs: Any = None,
    like: Any = None,
    geobox: GeoBox | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Path:
    """Draw vectors as a map raster: tiled RGB GeoTIFF, with a mask where the map leaves blanks.

    Args:
        vectors: GeoPackage, GeoJSON, Shapefile, OpenStreetMap `.osm.pbf`; whatever pyogrio reads;
            `sample:NAME`, the vectors of a sample.
        out: File to write; it appears complete or not at all.
        style: Name of a shipped style, a YAML file, or the mapping such a file holds.
        gsd_m: Ground sampling distance, m. The grid lies on the lattice of such pixels that starts
            at the origin of its CRS, so that neighbouring maps fit.
        bbox: `xmin, ymin, xmax, ymax` of the map; all of the vectors unless given.
        bbox_crs: CRS of the bbox; lon-lat degrees unless given.
        crs: CRS of the map; that of the vectors unless given, or UTM if theirs is in degrees.
        like: Raster on whose grid to draw, instead of `gsd_m`, `bbox` and `crs`.
        geobox: Grid to draw on, instead of all these.
        overwrite: Whether an existing file may be replaced.
        progress: Reports progress.

    Returns:
        The file.

    Raises:
        UsageError: If the arguments do not name one grid, or nothing lies on it.
        ConfigError: If the style cannot be read, or needs a layer or field the vectors lack.
        SceneError: If the vectors or the raster are missing, damaged or without CRS.
        OutputError: If the file cannot be written.

    Examples:
        >>> import geotrans
        >>> str(geotrans.render_map("sample:suburb", "suburb_map.tif", gsd_m=2))
        'suburb_map.tif'
    """
    style = load_style(style)
    check_grid_choice(gsd_m=gsd_m, bbox=bbox, bbox_crs=bbox_crs, crs=crs, like=like, geobox=geobox)
    path = check_output(Path(out), overwrite=overwrite, inputs=(vectors, like))
    source, mapping = open_vectors(vectors, style)
    if like is not None:
        geobox, map_crs = read_grid(like)
    elif geobox is None:
        map_crs = choose_crs(source, source.find_layer(mapping.layers[0].layer), crs)
    elif geobox.crs is None:
        raise UsageError("the grid to draw on has no CRS")
    else:
        map_crs = str(geobox.crs)
    renderer = MapRenderer(source, style, map_crs)
    if geobox is None:
        assert gsd_m is not None
        bounds = resolve_bbox(renderer.bounds, renderer.crs, bbox=bbox, bbox_crs=bbox_crs)
        geobox = make_lattice_grid(map_crs, gsd_m=gsd_m, bounds=bounds)
    progress = progress or show_nothing
    with (
        progress("drawing", math.prod(geobox.shape)) as advance,
        write_whole_raster(path) as partial,
    ):
        _write(renderer, geobox, map_crs, partial, advance=advance, name=source.name)
    return path


def _write(
    renderer: MapRenderer,
    geobox: GeoBox,
    crs: str,
    path: Path,
    *,
    advance: Callable[[int], None],
    name: str,
) -> None:
    height, width = geobox.shape
    profile = {
        "driver": "GTiff", "dtype": "uint8", "count": 3, "height": height, "width": width,
        "crs": CRS.from_user_input(crs), "transform": geobox.affine,
        "tiled": True, "blockxsize": _BLOCK, "blockysize": _BLOCK, "compress": "deflate",
        "photometric": "RGB", "bigtiff": "IF_SAFER",
    }  # fmt: skip
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True, GDAL_CACHEMAX=_CACHE_MB),
        rasterio.open(path, "w", **profile) as file,
    ):
        file.descriptions = tuple(_BANDS)
        file.colorinterp = tuple(_BANDS.values())
        file.update_tags(
            GEOTRANS_VERSION=__version__,
            GEOTRANS_STYLE=renderer.style.name,
            **{PALETTE_TAG: json.dumps(dict(renderer.palette))},
            GEOTRANS_VECTORS=name,
        )
        mask, checksums = _MaskWriter(file), []
        is_painted = False
        for window in iter_windows(height, width):
            drawing = renderer.draw(window_geobox(geobox, window))
            is_painted |= drawing.is_painted
            file_window = RasterioWindow(*_get_fields(window))
            file.write(drawing.image, window=file_window)
            mask.write(drawing.valid, file_window)
            checksums.append((file_window, _compute_checksum(drawing.image, drawing.valid)))
            advance(window.width * window.height)
    _check_written(path, checksums)
    if not is_painted:
        raise UsageError(
            f"style '{renderer.style.name}' finds nothing to draw there; "
            "give another place, or a style for these vectors"
        )


def _check_written(path: Path, checksums: list[tuple[RasterioWindow, int]]) -> None:
    """Read the file back: GDAL does not report errors on closing."""
    with rasterio.Env(GDAL_CACHEMAX=_CACHE_MB), rasterio.open(path) as file:
        for window, expected in checksums:
            valid = file.dataset_mask(window=window) > 0
            if _compute_checksum(file.read(window=window), valid) != expected:
                raise OutputError(f"{path.parent} does not keep what is written to it")


def _compute_checksum(image: npt.NDArray[np.uint8], valid: npt.NDArray[np.bool_]) -> int:
    return zlib.crc32(np.packbits(valid).tobytes(), zlib.crc32(image.tobytes()))


class _MaskWriter:
    """Writes the mask of a file, from the first invalid pixel on."""

    def __init__(self, file: DatasetWriter) -> None:
        self._file = file
        self._pending: list[RasterioWindow] | None = []

    def write(self, valid: npt.NDArray[np.bool_], window: RasterioWindow) -> None:
        if self._pending is not None:
            if valid.all():
                self._pending.append(window)
                return
            for earlier in self._pending:
                shape = int(earlier.height), int(earlier.width)
                self._file.write_mask(np.full(shape, 255, np.uint8), window=earlier)
            self._pending = None
        self._file.write_mask(valid.astype(np.uint8) * 255, window=window)


def _get_fields(window: Window) -> tuple[int, int, int, int]:
    return window.col_off, window.row_off, window.width, window.height
