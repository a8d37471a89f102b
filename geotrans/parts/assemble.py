"""Parts seen as one raster: a GDAL virtual raster that names them and copies no pixel."""

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


def has_gaps(canvas: RasterJob, parts: Parts) -> bool:
    """Whether any pixel of the finished parts is invalid."""
    if not canvas.scene.maskable:
        return False
    for tile in canvas.plan:
        if parts.is_empty(tile):
            return True
        with rasterio.open(parts.path(tile)) as part:
            if MaskFlags.all_valid not in part.mask_flag_enums[0]:
                return True
    return False


def read_parts(canvas: RasterJob, parts: Parts, window: Window) -> Patch:
    """Pixels of the product out of the parts that hold them, which must be finished.

    Args:
        canvas: What is being made.
        parts: Where its tiles lie.
        window: Pixels asked for, counted from the product's first pixel.

    Returns:
        Stored values, and `valid` as far as a mask tells it.
    """
    layout = canvas.layout
    has_mask = layout.nodata is None
    fill = 0 if layout.nodata is None else layout.nodata
    data = np.full((len(layout.bands), *window.shape), fill, layout.dtype)
    valid = np.full(window.shape, not has_mask)
    for tile in find_tiles(canvas, window):
        if parts.is_empty(tile):
            continue
        place = canvas.place(tile)
        shared = place.intersection(window)
        rows, cols = shared.relative_to(window).slices
        inside = shared.relative_to(place)
        at = RasterioWindow(inside.col_off, inside.row_off, inside.width, inside.height)
        with rasterio.open(parts.path(tile)) as part:
            data[:, rows, cols] = part.read(window=at)
            if has_mask:
                is_whole = MaskFlags.all_valid in part.mask_flag_enums[0]
                valid[rows, cols] = is_whole or part.read_masks(1, window=at) != 0
    return Patch(data, valid)


def find_tiles(canvas: RasterJob, window: Window) -> list[Tile]:
    """Tiles whose cores share pixels with a window of the product."""
    plan = canvas.plan
    rows = [
        r for r in range(plan.n_rows) if _overlaps(canvas.place(plan.tile(r, 0)), window, axis=0)
    ]
    cols = [
        c for c in range(plan.n_cols) if _overlaps(canvas.place(plan.tile(0, c)), window, axis=1)
    ]
    return [plan.tile(row, col) for row in rows for col in cols]


def _overlaps(place: Window, window: Window, *, axis: int) -> bool:
    if axis == 0:
        return place.row_off < window.row_end and window.row_off < place.row_end
    return place.col_off < window.col_end and window.col_off < place.col_end


def write_vrt(
    canvas: RasterJob, parts: Parts, *, tags: Mapping[str, str], xmp: str, is_masked: bool
) -> Path:
    """Describe the mosaic of all parts.

    Args:
        canvas: What was made; every tile of its plan must be finished.
        parts: Where they lie.
        tags: Tags of the product's default domain.
        xmp: Its XMP packet.
        is_masked: Whether the product gets a mask band.

    Returns:
        The virtual raster, in the folder of the parts.
    """
    height, width = canvas.geobox.shape
    root = ET.Element("VRTDataset", rasterXSize=str(width), rasterYSize=str(height))
    if canvas.scene.crs_wkt:
        _add_element(root, "SRS", canvas.scene.crs_wkt)
    if not canvas.geobox.affine.is_identity:
        numbers = (repr(float(c)) for c in canvas.geobox.affine.to_gdal())
        _add_element(root, "GeoTransform", ", ".join(numbers))
    metadata = _add_element(root, "Metadata")
    for key, value in tags.items():
        _add_element(metadata, "MDI", value, key=key)
    _add_element(root, "Metadata", _XMP, domain="xml:XMP", format="xml")
    tiles = [tile for tile in canvas.plan if not parts.is_empty(tile)]
    for number, band in enumerate(canvas.layout.bands, 1):
        _add_band(root, canvas, parts, tiles, band=band, number=number)
    if is_masked:
        mask = _add_element(_add_element(root, "MaskBand"), "VRTRasterBand", dataType="Byte")
        for tile in tiles:
            _add_source(mask, canvas, parts, tile, band="mask,1")
    path = parts.folder / "mosaic.vrt"
    # The packet goes in as it is: ElementTree would move its namespaces to the root.
    path.write_text(ET.tostring(root, encoding="unicode").replace(_XMP, xmp, 1))
    return path


def _add_band(
    root: ET.Element,
    canvas: RasterJob,
    parts: Parts,
    tiles: list[Tile],
    *,
    band: LayoutBand,
    number: int,
) -> None:
    layout = canvas.layout
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
        for one in layout.classes:
            red, green, blue = (str(c) for c in one.color)
            _add_element(table, "Entry", c1=red, c2=green, c3=blue, c4="255")
            _add_element(names, "Category", one.name)
    for tile in tiles:
        _add_source(element, canvas, parts, tile, band=str(number))


def _add_source(
    element: ET.Element, canvas: RasterJob, parts: Parts, tile: Tile, *, band: str
) -> None:
    place = canvas.place(tile)
    source = _add_element(element, "SimpleSource")
    _add_element(source, "SourceFilename", parts.path(tile).name, relativeToVRT="1")
    _add_element(source, "SourceBand", band)
    size = {"xSize": str(place.width), "ySize": str(place.height)}
    # With these GDAL opens a part when it is read, and not every part at the start.
    _add_element(
        source,
        "SourceProperties",
        RasterXSize=size["xSize"],
        RasterYSize=size["ySize"],
        DataType="Byte" if band.startswith("mask") else _DTYPES[canvas.layout.dtype],
        BlockXSize=str(choose_block_px(place.width)),
        BlockYSize=str(choose_block_px(place.height)),
    )
    _add_element(source, "SrcRect", xOff="0", yOff="0", **size)
    _add_element(source, "DstRect", xOff=str(place.col_off), yOff=str(place.row_off), **size)


def _add_element(
    parent: ET.Element, tag: str, text: str | None = None, **attributes: str
) -> ET.Element:
    child = ET.SubElement(parent, tag, attributes)
    child.text = text
    return child
