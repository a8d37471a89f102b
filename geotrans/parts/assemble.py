"""Parts as one raster: a GDAL virtual raster that refers to them and copies no pixel."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import rasterio
from rasterio.enums import MaskFlags
from rasterio.windows import Window as RasterioWindow

from geotrans.grid import Tile, Window
from geotrans.parts.layout import LayoutBand
from geotrans.parts.parts import Parts, choose_block_px
from geotrans.parts.raster_job import RasterJob
from geotrans.scene import Patch

# What GDAL calls the types of a GeoTIFF.
_DTYPES = {
    "uint8": "Byte",
    "int8": "Int8",
    "uint16": "UInt16",
    "int16": "Int16",
    "uint32": "UInt32",
    "int32": "Int32",
    "float32": "Float32",
    "float64": "Float64",
}

_XMP = "{XMP packet}"


def has_gaps(job: RasterJob, parts: Parts) -> bool:
    """Whether any pixel of the finished parts is invalid."""
    if not job.scene.maskable:
        return False
    for tile in job.plan:
        if parts.is_empty(tile):
            return True
        with rasterio.open(parts.path(tile)) as part:
            if MaskFlags.all_valid not in part.mask_flag_enums[0]:
                return True
    return False


def read_parts(job: RasterJob, parts: Parts, window: Window) -> Patch:
    """Read pixels of the product from its parts, which must be finished.

    Args:
        job: The product.
        parts: Its tiles.
        window: Window of the product.

    Returns:
        Stored values, and `valid` by the mask; nodata is not looked for.
    """
    layout = job.layout
    has_mask = layout.nodata is None
    fill = 0 if layout.nodata is None else layout.nodata
    data = np.full((len(layout.bands), *window.shape), fill, layout.dtype)
    valid = np.full(window.shape, not has_mask)
    for tile in find_tiles(job, window):
        if parts.is_empty(tile):
            continue
        core = job.product_window(tile)
        shared = core.intersection(window)
        rows, cols = shared.relative_to(window).slices
        inside = shared.relative_to(core)
        part_window = RasterioWindow(inside.col_off, inside.row_off, inside.width, inside.height)
        with rasterio.open(parts.path(tile)) as part:
            data[:, rows, cols] = part.read(window=part_window)
            if has_mask:
                is_whole = MaskFlags.all_valid in part.mask_flag_enums[0]
                valid[rows, cols] = is_whole or part.read_masks(1, window=part_window) != 0
    return Patch(data, valid)


def find_tiles(job: RasterJob, window: Window) -> list[Tile]:
    """Tiles whose cores share pixels with a window of the product."""
    plan, area = job.plan, job.product_window
    rows = [r for r in range(plan.n_rows) if _overlaps(area(plan.tile(r, 0)), window, axis=0)]
    cols = [c for c in range(plan.n_cols) if _overlaps(area(plan.tile(0, c)), window, axis=1)]
    return [plan.tile(row, col) for row in rows for col in cols]


def _overlaps(core: Window, window: Window, *, axis: int) -> bool:
    if axis == 0:
        return core.row_off < window.row_end and window.row_off < core.row_end
    return core.col_off < window.col_end and window.col_off < core.col_end


def write_vrt(
    job: RasterJob, parts: Parts, *, tags: Mapping[str, str], xmp: str, is_masked: bool
) -> Path:
    """Write a virtual raster of all parts.

    Args:
        job: The product; every tile of its plan must be finished.
        parts: Its tiles.
        tags: Tags of the product's default domain.
        xmp: Its XMP packet.
        is_masked: Whether the product gets a mask band.

    Returns:
        The virtual raster, in the folder of the parts.
    """
    height, width = job.geobox.shape
    root = ET.Element("VRTDataset", rasterXSize=str(width), rasterYSize=str(height))
    if job.scene.crs_wkt:
        _add_element(root, "SRS", job.scene.crs_wkt)
    if not job.geobox.affine.is_identity:
        numbers = (repr(float(c)) for c in job.geobox.affine.to_gdal())
        _add_element(root, "GeoTransform", ", ".join(numbers))
    metadata = _add_element(root, "Metadata")
    for key, value in tags.items():
        _add_element(metadata, "MDI", value, key=key)
    _add_element(root, "Metadata", _XMP, domain="xml:XMP", format="xml")
    tiles = [tile for tile in job.plan if not parts.is_empty(tile)]
    for number, band in enumerate(job.layout.bands, 1):
        _add_band(root, job, parts, tiles, band=band, number=number)
    if is_masked:
        mask = _add_element(_add_element(root, "MaskBand"), "VRTRasterBand", dataType="Byte")
        for tile in tiles:
            _add_source(mask, job, parts, tile, band="mask,1")
    path = parts.folder / "mosaic.vrt"
    # Inserted as text: ElementTree would move the namespaces of the packet to the root.
    path.write_text(ET.tostring(root, encoding="unicode").replace(_XMP, xmp, 1))
    return path


def _add_band(
    root: ET.Element,
    job: RasterJob,
    parts: Parts,
    tiles: list[Tile],
    *,
    band: LayoutBand,
    number: int,
) -> None:
    layout = job.layout
    element = _add_element(root, "VRTRasterBand", dataType=_DTYPES[layout.dtype], band=str(number))
    _add_element(element, "Description", band.name)
    _add_element(element, "ColorInterp", band.colorinterp.capitalize())
    if layout.nodata is not None:
        _add_element(element, "NoDataValue", repr(float(layout.nodata)))
    if (band.scale, band.offset) != (1.0, 0.0):
        _add_element(element, "Scale", repr(float(band.scale)))
        _add_element(element, "Offset", repr(float(band.offset)))
    if band.units:
        _add_element(element, "UnitType", band.units)
    if layout.classes:
        table = _add_element(element, "ColorTable")
        names = _add_element(element, "CategoryNames")
        for item in layout.classes:
            red, green, blue = (str(c) for c in item.color)
            _add_element(table, "Entry", c1=red, c2=green, c3=blue, c4="255")
            _add_element(names, "Category", item.name)
    for tile in tiles:
        _add_source(element, job, parts, tile, band=str(number))


def _add_source(
    element: ET.Element, job: RasterJob, parts: Parts, tile: Tile, *, band: str
) -> None:
    core = job.product_window(tile)
    source = _add_element(element, "SimpleSource")
    _add_element(source, "SourceFilename", parts.path(tile).name, relativeToVRT="1")
    _add_element(source, "SourceBand", band)
    size = {"xSize": str(core.width), "ySize": str(core.height)}
    # With these GDAL opens a part only when it is read.
    _add_element(
        source,
        "SourceProperties",
        RasterXSize=size["xSize"],
        RasterYSize=size["ySize"],
        DataType="Byte" if band.startswith("mask") else _DTYPES[job.layout.dtype],
        BlockXSize=str(choose_block_px(core.width)),
        BlockYSize=str(choose_block_px(core.height)),
    )
    _add_element(source, "SrcRect", xOff="0", yOff="0", **size)
    _add_element(source, "DstRect", xOff=str(core.col_off), yOff=str(core.row_off), **size)


def _add_element(
    parent: ET.Element, tag: str, text: str | None = None, **attributes: str
) -> ET.Element:
    child = ET.SubElement(parent, tag, attributes)
    child.text = text
    return child
