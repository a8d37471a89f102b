"""A small picture of source and product side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import rasterio

from geotrans.errors import OutputError
from geotrans.grid import Window
from geotrans.scene import Patch, Scene, expand_palette

# Longer edge of each picture, and the gap between them, px.
_MAX_PX = 1024
_GAP_PX = 8

_COLORS = ("red", "green", "blue")


def write_preview(source: Scene, product: Scene, path: Path, *, area: Window) -> None:
    """Write source and product side by side as a PNG; invalid pixels are transparent.

    Args:
        source: The scene.
        product: What became of it.
        path: File to write; an existing one is replaced.
        area: The part of the source that was translated.
    """
    left, right = picture(source, window=area), picture(product)
    height = max(left.shape[1], right.shape[1])
    width = left.shape[2] + _GAP_PX + right.shape[2]
    canvas = np.zeros((4, height, width), np.uint8)
    canvas[:, : left.shape[1], : left.shape[2]] = left
    canvas[:, : right.shape[1], -right.shape[2] :] = right
    temporary = path.with_name(f".{path.name}.tmp")
    profile = {"driver": "PNG", "height": height, "width": width, "count": 4, "dtype": "uint8"}
    try:
        # A PNG has no room for coordinates, and a file beside it would be one too many.
        with rasterio.Env(GDAL_PAM_ENABLED="NO"), rasterio.open(temporary, "w", **profile) as png:
            png.write(canvas)
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise OutputError(f"{path} cannot be written: {error}") from error


def picture(
    scene: Scene, *, window: Window | None = None, max_px: int = _MAX_PX
) -> npt.NDArray[np.uint8]:
    """A scene as a small colour picture.

    Bands red, green and blue are shown if it has them, else its first three, else its first in
    grey. Values other than 8 bit are stretched from their 2nd to their 98th percentile.

    Args:
        scene: What to show.
        window: Which part of it; all unless given.
        max_px: Longer edge, px.

    Returns:
        Red, green, blue and alpha, shape `(4, H, W)`.
    """
    scene = expand_palette(scene)
    patch = scene.overview(max_px, _shown(scene), window=window)
    colors = np.broadcast_to(_stretched(patch), (3, *patch.valid.shape))
    alpha = np.where(patch.valid, np.uint8(255), np.uint8(0))
    return np.concatenate([np.where(patch.valid, colors, np.uint8(0)), alpha[None]])


def _shown(scene: Scene) -> tuple[int, ...]:
    by_color = {band.common_name or band.colorinterp: band.index for band in scene.bands}
    if all(color in by_color for color in _COLORS):
        return tuple(by_color[color] for color in _COLORS)
    indexes = tuple(band.index for band in scene.bands)
    return indexes[:3] if len(indexes) >= 3 else indexes[:1]


def _stretched(patch: Patch) -> npt.NDArray[np.uint8]:
    if patch.data.dtype == np.uint8:
        return np.asarray(patch.data, np.uint8)
    if not patch.valid.any():
        return np.zeros(patch.data.shape, np.uint8)
    return np.stack([_stretch(band, patch.valid) for band in patch.data])


def _stretch(band: npt.NDArray[Any], valid: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint8]:
    values = np.where(valid, band, 0).astype(np.float64)
    low, high = np.percentile(values[valid], (2, 98))
    scaled = (values - low) / max(high - low, 1e-12)
    stretched: npt.NDArray[np.uint8] = np.rint(np.clip(scaled, 0, 1) * 255).astype(np.uint8)
    return stretched
