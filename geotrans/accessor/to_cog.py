"""An array as a cloud-optimised GeoTIFF, a row of its chunks at a time."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import dask
import numpy as np
import rasterio
import xarray as xr
from rasterio.enums import ColorInterp
from rasterio.windows import Window as RasterioWindow

from geotrans.errors import GeotransError, SceneError
from geotrans.output import check_output
from geotrans.parts import Layout
from geotrans.parts.layout import LayoutBand, guess_color_names
from geotrans.product.cog.driver import (
    cog_options,
    describe_write_error,
    publish,
    write_class_names,
    write_cog,
)
from geotrans.product.xmp import xmp_packet
from geotrans.runtime.gdal import quiet_gdal
from geotrans.scene import Scene
from geotrans.scene.array import get_array
from geotrans.scene.valid import find_valid
from geotrans.scene.views.classes import CLASSES_TAG
from geotrans.tasks import PaletteClass

# Rows of an array in memory that are written at once, px.
_ROWS = 1024

_TAGS = ("GEOTRANS_", "AREA_OR_POINT")


def save_cog(
    scene: Scene,
    path: str | os.PathLike[str],
    *,
    overwrite: bool,
    creation_options: Mapping[str, str] | None,
) -> Path:
    """What `array.geotrans.to_cog` does with an array that is one scene."""
    path = check_output(Path(path), overwrite=overwrite, inputs=(), what="product")
    array, layout = get_array(scene), _make_layout(scene)
    options = cog_options(layout, creation_options)
    try:
        with (
            quiet_gdal(),
            tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as folder,
        ):
            raw, cog = Path(folder) / "raw.tif", Path(folder) / "product.tif"
            _write_raw(array, scene, layout, raw)
            write_cog(raw, cog, options)
            write_class_names(cog, layout)
            publish(cog, path)
    except GeotransError:
        raise
    except OSError as error:
        raise describe_write_error(error, path) from error
    return path


def _write_raw(array: xr.DataArray, scene: Scene, layout: Layout, path: Path) -> None:
    """All pixels and their metadata, as a plain GeoTIFF.

    Raises:
        SceneError: If no pixel is valid.
    """
    height, width = scene.shape
    profile: dict[str, Any] = {
        "driver": "GTiff", "height": height, "width": width, "count": len(layout.bands),
        "dtype": layout.dtype, "nodata": layout.nodata, "crs": scene.crs_wkt,
        "tiled": True, "blockxsize": 512, "blockysize": 512, "bigtiff": "IF_SAFER",
        "photometric": "RGB" if layout.bands[0].colorinterp == "red" else "MINISBLACK",
        "alpha": "NO",
    }  # fmt: skip
    if not scene.geobox.affine.is_identity:
        profile["transform"] = scene.geobox.affine
    valid, is_empty = array.coords.get("valid"), True
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK="YES"),
        rasterio.open(path, "w", **profile) as file,
    ):
        _write_metadata(file, array, layout)
        for top, end in _iter_strips(array):
            part = array[:, top:end]
            lazy_arrays = [part.data] if valid is None else [part.data, valid[top:end].data]
            data, *mask = map(np.asarray, dask.compute(*lazy_arrays))
            window = RasterioWindow(0, top, width, end - top)
            file.write(data, window=window)
            if mask:
                file.write_mask(mask[0], window=window)
            is_valid = mask[0] if mask else find_valid(data, [layout.nodata] * len(data))
            is_empty &= not is_valid.any()
    if is_empty:
        raise SceneError(f"{scene.name} holds no valid pixel; nothing to write")


def _write_metadata(file: Any, array: xr.DataArray, layout: Layout) -> None:
    tags = {k: v for k, v in array.attrs.items() if str(k).startswith(_TAGS)}
    if "GEOTRANS_SYNTHETIC" in tags:
        tags["GEOTRANS_CREATED"] = datetime.now(UTC).isoformat(timespec="seconds")
        file.update_tags(ns="xml:XMP", **{"xml:XMP": xmp_packet()})
    file.update_tags(**tags)
    file.descriptions = [band.name for band in layout.bands]
    file.scales = [band.scale for band in layout.bands]
    file.offsets = [band.offset for band in layout.bands]
    file.units = [band.units or "" for band in layout.bands]
    if layout.classes:
        colors = enumerate(item.color for item in layout.classes)
        file.write_colormap(1, {i: (*color, 255) for i, color in colors})
    elif layout.bands[0].colorinterp != "red":
        file.colorinterp = [ColorInterp[band.colorinterp] for band in layout.bands]


def _iter_strips(array: xr.DataArray) -> Iterator[tuple[int, int]]:
    """First row of each strip, and the row after its last."""
    height = array.shape[1]
    if array.chunks is None:
        edges = [*range(0, height, _ROWS), height]
    else:
        edges = [0, *np.cumsum(array.chunks[1]).tolist()]
    return pairwise(edges)


def _make_layout(scene: Scene) -> Layout:
    names = [band.name or f"band_{band.index}" for band in scene.bands]
    bands = tuple(
        LayoutBand(name, color, band.scale, band.offset, band.units)
        for name, color, band in zip(names, guess_color_names(names), scene.bands, strict=True)
    )
    classes = _read_classes(get_array(scene))
    if classes is not None:
        bands = (LayoutBand(names[0], "palette"),)
    return Layout(bands, str(scene.dtype), scene.nodata, classes)


def _read_classes(array: xr.DataArray) -> tuple[PaletteClass, ...] | None:
    """Classes in the attributes of an array of class values."""
    names = json.loads(array.attrs.get(CLASSES_TAG, "[]"))
    colors = str(array.attrs.get("flag_colors", "")).split()
    if len(array) != 1 or not names or len(names) != len(colors):
        return None
    return tuple(
        PaletteClass(name=name, color=(int(c[1:3], 16), int(c[3:5], 16), int(c[5:7], 16)))
        for name, c in zip(names, colors, strict=True)
    )
