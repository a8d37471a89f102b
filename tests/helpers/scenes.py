"""Real GeoTIFFs whose values say which column, row and band they belong to."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import rasterio
from affine import Affine
from rasterio.enums import ColorInterp
from rasterio.errors import NotGeoreferencedWarning

METRES_PER_DEGREE = math.pi * 6_371_007 / 180


def coded(
    shape: tuple[int, int], *, bands: int = 3, dtype: str = "uint8", avoid: float | None = None
) -> npt.NDArray[Any]:
    """Values `(bands, H, W)` in which a shift, swap or flip shows.

    A value equal to `avoid` is moved one up, so that nothing is nodata by accident.
    """
    band, row, col = np.ogrid[1 : bands + 1, : shape[0], : shape[1]]
    kind = np.dtype(dtype)
    if kind.kind == "f":
        values = (band * 1_000_000 + row * 1000 + col).astype(np.float64)
    else:
        # Steps with no common divisor with the prime, so that neighbours always differ.
        modulus = {1: 113 if kind.kind == "i" else 251}.get(kind.itemsize, 32_749)
        values = (band * 41 + row * 89 + col * 3) % modulus
        if kind.kind == "i":
            values = values - modulus // 3
    data = values.astype(kind)
    if avoid is not None and not math.isnan(avoid):
        data[data == avoid] += 1
    return data


def write_scene(
    path: Path,
    *,
    crs: str | None = "EPSG:32611",
    shape: tuple[int, int] = (48, 64),
    gsd_m: float = 10.0,
    dtype: str = "uint8",
    nodata: float | None = None,
    bands: int | Sequence[str] = ("red", "green", "blue"),
    data: npt.NDArray[Any] | None = None,
    origin: tuple[float, float] | None = None,
    rotation: float = 0.0,
    transform: Affine | None = None,
    invalid: npt.NDArray[np.bool_] | None = None,
    alpha: bool = False,
    mask: bool = False,
    colorinterp: Sequence[ColorInterp] | None = None,
    colormap: Mapping[int, tuple[int, int, int, int]] | None = None,
    scales: Sequence[float] | None = None,
    offsets: Sequence[float] | None = None,
    units: Sequence[str] | None = None,
    tags: Mapping[str, str] | None = None,
    block: int = 16,
    **profile: Any,
) -> Path:
    """Write a tiled GeoTIFF.

    Args:
        path: Where.
        crs: None leaves the file without georeferencing.
        shape: `(height, width)`, px.
        gsd_m: Pixel size, m; turned into degrees for a geographic CRS.
        dtype: Type of the stored value.
        nodata: Value of `invalid` pixels; NaN is allowed.
        bands: Descriptions, or how many bands without any.
        data: Values `(C, H, W)`; `coded` ones unless given.
        origin: Outer corner of the first pixel in CRS units.
        rotation: Degrees by which the grid is turned.
        transform: Instead of `origin`, `gsd_m` and `rotation`.
        invalid: Pixels that hold nodata, are transparent or masked, shape `(H, W)`.
        alpha: Add an alpha band, transparent at `invalid`.
        mask: Add an internal mask, off at `invalid`.
        colorinterp: Colour interpretation of each band; undefined unless given.
        colormap: Palette of a one-band scene.
        scales: Scale of each band.
        offsets: Offset of each band.
        units: Units of each band.
        tags: Tags of the default domain.
        block: Edge of a TIFF block, px.
        profile: Further creation options.
    """
    names = None if isinstance(bands, int) else tuple(bands)
    n = bands if isinstance(bands, int) else len(bands)
    values = coded(shape, bands=n, dtype=dtype, avoid=nodata) if data is None else data
    if invalid is not None and nodata is not None:
        values = values.copy()
        values[:, invalid] = nodata
    opaque = np.ones(shape, bool) if invalid is None else ~invalid
    fields: dict[str, Any] = {
        "driver": "GTiff",
        "height": shape[0],
        "width": shape[1],
        "count": n + alpha,
        "dtype": dtype,
        "nodata": nodata,
        "tiled": True,
        "blockxsize": block,
        "blockysize": block,
        "compress": "deflate",
        **profile,
    }
    if crs is not None:
        fields["crs"] = crs
        fields["transform"] = transform or _transform(crs, gsd_m, origin, rotation)
    with (
        warnings.catch_warnings(action="ignore", category=NotGeoreferencedWarning),
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
        rasterio.open(path, "w", **fields) as file,
    ):
        colors = list(colorinterp or [ColorInterp.undefined] * n)
        file.colorinterp = [*colors, ColorInterp.alpha] if alpha else colors
        file.write(values, list(range(1, n + 1)))
        if alpha:
            top = 1 if np.dtype(dtype).kind == "f" else np.iinfo(dtype).max
            file.write((opaque * top).astype(dtype), n + 1)
        if mask:
            file.write_mask(opaque)
        for i, name in enumerate(names or (), 1):
            file.set_band_description(i, name)
        if colormap is not None:
            file.write_colormap(1, dict(colormap))
        if scales is not None:
            file.scales = scales
        if offsets is not None:
            file.offsets = offsets
        if units is not None:
            file.units = units
        if tags is not None:
            file.update_tags(**tags)
    return path


def _transform(
    crs: str, gsd_m: float, origin: tuple[float, float] | None, rotation: float
) -> Affine:
    geographic = rasterio.crs.CRS.from_user_input(crs).is_geographic
    step = gsd_m / METRES_PER_DEGREE if geographic else gsd_m
    left, top = origin or ((-118.5, 34.0) if geographic else (360_000.0, 3_770_000.0))
    return Affine.translation(left, top) @ Affine.rotation(rotation) @ Affine.scale(step, -step)
