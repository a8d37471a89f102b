"""Encoding by GDAL: blocks and overviews of a part of an image, tags of the whole."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
import rasterio
from rasterio.enums import ColorInterp, Resampling
from rasterio.io import MemoryFile

from geotrans.parts import Layout, RasterJob
from geotrans.product.cog.tiff import ASCII, BYTE, METADATA, XMP, Image, Tag, read_images
from geotrans.scene import Patch

BLOCK_PX = 512

# Options of the COG driver that can be applied block by block, and the GeoTIFF driver's name for
# the level of each codec.
_STREAMABLE = {
    "BIGTIFF", "BLOCKSIZE", "COMPRESS", "LEVEL", "NUM_THREADS", "OVERVIEWS", "OVERVIEW_RESAMPLING",
    "PREDICTOR",
}  # fmt: skip
_LEVELS = {"DEFLATE": "zlevel", "ZSTD": "zstd_level", "LZW": ""}

_RGB = ("red", "green", "blue")


@dataclass(frozen=True)
class Encoded:
    """A part of an image, encoded.

    Attributes:
        images: The part and its overviews, by their factor.
        masks: Their masks; empty where every pixel is valid.
        reduced: Pixels of the smallest of them.
    """

    images: dict[int, Image]
    masks: dict[int, Image]
    reduced: Patch


def can_stream(options: Mapping[str, str]) -> bool:
    """Whether blocks can be encoded one by one with these options of the COG driver."""
    has_default_blocks = options["BLOCKSIZE"] == str(BLOCK_PX) and options["OVERVIEWS"] == "AUTO"
    return (
        has_default_blocks
        and set(options) <= _STREAMABLE
        and options["COMPRESS"].upper() in _LEVELS
    )


def encoding_profile(layout: Layout, options: Mapping[str, str]) -> dict[str, Any]:
    """Translate options of the COG driver into a profile of the GeoTIFF driver."""
    codec = options["COMPRESS"].upper()
    is_rgb = _is_rgb(layout)
    has_extra = len(layout.bands) > (3 if is_rgb else 1)
    profile: dict[str, Any] = {
        "driver": "GTiff",
        "dtype": layout.dtype,
        "count": len(layout.bands),
        "nodata": layout.nodata,
        "tiled": True,
        "blockxsize": BLOCK_PX,
        "blockysize": BLOCK_PX,
        "interleave": "pixel",
        "compress": codec,
        # With threads GDAL sometimes prints a false error about extra samples; parts of an image
        # are encoded in parallel anyway.
        "num_threads": "1" if has_extra else options["NUM_THREADS"],
        "photometric": "RGB" if is_rgb else "MINISBLACK",
        "alpha": "NO",  # A fourth band is no alpha.
        "endianness": "LITTLE",
    }
    if options.get("PREDICTOR", "NO").upper() in ("YES", "STANDARD", "FLOATING_POINT"):
        profile["predictor"] = 3 if np.dtype(layout.dtype).kind == "f" else 2
    if "LEVEL" in options and _LEVELS[codec]:
        profile[_LEVELS[codec]] = options["LEVEL"]
    return profile


def encode(
    patch: Patch, profile: Mapping[str, Any], *, factors: Sequence[int], resampling: str
) -> Encoded:
    """Encode pixels and their overviews.

    Args:
        patch: Pixels; a mask is made only where some are invalid.
        profile: As `encoding_profile` gives it.
        factors: Of the overviews, powers of 2 in rising order.
        resampling: Resampling of overviews, by GDAL's name.
    """
    height, width = patch.valid.shape
    # Of several overviews of one pixel GDAL writes the first.
    written = [f for f in factors if f == factors[0] or max(height, width) > f // 2]
    has_mask = not patch.valid.all()
    settings = {
        "GDAL_TIFF_INTERNAL_MASK": "YES",
        "GDAL_TIFF_OVR_BLOCKSIZE": str(BLOCK_PX),
        "ZLEVEL_OVERVIEW": str(profile.get("zlevel", 6)),
        "ZSTD_LEVEL_OVERVIEW": str(profile.get("zstd_level", 9)),
    }
    with rasterio.Env(**settings), MemoryFile() as memory:
        with memory.open(**{**profile, "height": height, "width": width}) as file:
            file.write(patch.data)
            if has_mask:
                file.write_mask(patch.valid)
            if written:
                file.build_overviews(written, Resampling[resampling.lower()])
        all_images = read_images(io.BytesIO(memory.getbuffer()))
        with ExitStack() as stack:
            level = {"overview_level": len(written) - 1} if written else {}
            reduced = stack.enter_context(memory.open(**level))
            data = reduced.read()
            valid = reduced.read_masks(1) != 0 if has_mask else np.ones(data.shape[1:], bool)
    images, masks = (
        dict(zip((1, *written), [i for i in all_images if i.is_mask == is_mask], strict=False))
        for is_mask in (False, True)
    )
    return Encoded(images, masks, Patch(data, valid))


def make_head_tags(
    job: RasterJob,
    profile: Mapping[str, Any],
    *,
    tags: Mapping[str, str],
    xmp: str,
    resampling: str | None,
) -> dict[int, Tag]:
    """Make the tags of the first image of a product: all its metadata.

    Args:
        job: The product.
        profile: As `encoding_profile` gives it.
        tags: Tags of the default domain.
        xmp: The XMP packet.
        resampling: Resampling of its overviews, if it has any.
    """
    layout = job.layout
    height, width = job.geobox.shape
    first_profile = {**profile, "height": height, "width": width, "sparse_ok": True}
    if layout.classes:
        first_profile["photometric"] = "PALETTE"
    if job.scene.crs_wkt:
        first_profile["crs"] = job.scene.crs_wkt
    if not job.geobox.affine.is_identity:
        first_profile["transform"] = job.geobox.affine
    with MemoryFile() as memory:
        with memory.open(**first_profile) as file:
            file.update_tags(**tags)
            file.descriptions = [band.name for band in layout.bands]
            if any((band.scale, band.offset) != (1.0, 0.0) for band in layout.bands):
                file.scales = [band.scale for band in layout.bands]
                file.offsets = [band.offset for band in layout.bands]
            if any(band.units for band in layout.bands):
                file.units = [band.units or "" for band in layout.bands]
            if layout.classes:
                colors = enumerate(item.color for item in layout.classes)
                file.write_colormap(1, {i: (*color, 255) for i, color in colors})
            elif not _is_rgb(layout):
                file.colorinterp = [ColorInterp[band.colorinterp] for band in layout.bands]
        image = read_images(io.BytesIO(memory.getbuffer()))[0]
    packet = xmp.encode()
    metadata = image.tags[METADATA].content
    if resampling is not None:  # GDAL writes this item, but not for others.
        item = f'  <Item name="OVERVIEW_RESAMPLING" domain="IMAGE_STRUCTURE">{resampling}</Item>\n'
        metadata = metadata.replace(b"</GDALMetadata>", item.encode() + b"</GDALMetadata>")
    return {
        **image.tags,
        METADATA: Tag(ASCII, len(metadata), metadata),
        XMP: Tag(BYTE, len(packet), packet),
    }


def _is_rgb(layout: Layout) -> bool:
    colors = tuple(band.colorinterp for band in layout.bands[:3])
    return colors == _RGB and layout.dtype in ("uint8", "uint16")
