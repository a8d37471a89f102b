"""Small pictures of scenes, side by side."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import rasterio
from rasterio.errors import NotGeoreferencedWarning
from rasterio.io import MemoryFile

from geotrans.errors import OutputError, option
from geotrans.grid import Window
from geotrans.runtime.files import write_whole
from geotrans.runtime.threads import run_in_thread, wait_interruptibly
from geotrans.scene import Patch, Scene, expand_palette, open_scene

# Longer edge of each picture, and the gap between them, px.
_MAX_PX = 1024
_GAP_PX = 8

_COLORS = ("red", "green", "blue")


class Preview:
    """Source and product side by side, once there is a product.

    Args:
        source: The scene.
        area: The part of it that is translated.
    """

    def __init__(self, source: Scene, area: Window) -> None:
        self._source, self._area = source, area
        self._source_picture: Future[npt.NDArray[np.uint8]] | None = None

    def start_reading(self) -> Future[npt.NDArray[np.uint8]]:
        """Begin to read the source, which may have no overviews, in a thread."""
        if self._source_picture is None:
            self._source_picture = run_in_thread(
                partial(render_picture, self._source, window=self._area), name="preview"
            )
        return self._source_picture

    def write(self, product: Path, path: Path) -> None:
        """Write a PNG whose invalid pixels are transparent.

        Args:
            product: The product.
            path: File to write; an existing one is replaced.
        """
        left = self.start_reading()
        with open_scene(product) as scene:
            right = render_picture(scene)
        join_pictures([wait_interruptibly(left), right]).save(path)


@dataclass(frozen=True)
class Picture:
    """A picture that shows itself in a notebook.

    Attributes:
        pixels: Red, green, blue and alpha, shape `(4, H, W)`.
    """

    pixels: npt.NDArray[np.uint8]

    def save(self, path: Path | str) -> Path:
        """Write a PNG; an existing one is replaced.

        Raises:
            OutputError: If it cannot be written.
        """
        path = Path(path)
        write_whole(path, self._repr_png_())
        return path

    def _repr_png_(self) -> bytes:
        count, height, width = self.pixels.shape
        profile = {"height": height, "width": width, "count": count, "dtype": "uint8"}
        with warnings.catch_warnings(), rasterio.Env(GDAL_PAM_ENABLED="NO"), MemoryFile() as memory:
            warnings.simplefilter("ignore", NotGeoreferencedWarning)  # As intended.
            with memory.open(driver="PNG", **profile) as png:
                png.write(self.pixels)
            return bytes(memory.read())

    def __repr__(self) -> str:
        _, height, width = self.pixels.shape
        return f"<Picture of {width} x {height} px>"


def show_side_by_side(scenes: Sequence[Scene], *, max_px: int = _MAX_PX) -> Picture:
    """Scenes side by side, those of one type in one stretch.

    Args:
        scenes: What to show.
        max_px: Longer edge of each, px.
    """
    patches = [read_display_bands(scene, max_px=max_px) for scene in scenes]
    return join_pictures([to_rgba(patch, choose_limits(patch, patches)) for patch in patches])


def join_pictures(pictures: Sequence[npt.NDArray[np.uint8]]) -> Picture:
    """Pictures `(4, H, W)` from left to right, a gap between them."""
    height = max(picture.shape[1] for picture in pictures)
    width = sum(picture.shape[2] + _GAP_PX for picture in pictures) - _GAP_PX
    joined = np.zeros((4, height, width), np.uint8)
    left = 0
    for picture in pictures:
        joined[:, : picture.shape[1], left : left + picture.shape[2]] = picture
        left += picture.shape[2] + _GAP_PX
    return Picture(joined)


def render_picture(
    scene: Scene, *, window: Window | None = None, max_px: int = _MAX_PX
) -> npt.NDArray[np.uint8]:
    """A scene as a small colour picture.

    Values other than 8 bit are stretched from their 2nd to their 98th percentile.

    Args:
        scene: What to show.
        window: Which part of it; all unless given.
        max_px: Longer edge, px.

    Returns:
        Red, green, blue and alpha, shape `(4, H, W)`.
    """
    patch = read_display_bands(scene, window=window, max_px=max_px)
    return to_rgba(patch, choose_limits(patch, [patch]))


def read_display_bands(
    scene: Scene, *, window: Window | None = None, max_px: int = _MAX_PX
) -> Patch:
    """Read the bands of a scene that are displayed, decimated.

    These are red, green and blue if it has them, else its first three, else its first.

    Args:
        scene: What to show.
        window: Which part of it; all unless given.
        max_px: Longer edge, px.

    Returns:
        Stored values of three bands or one.
    """
    scene = expand_palette(scene)
    return scene.overview(max_px, _choose_display_bands(scene), window=window)


def choose_limits(patch: Patch, patches: Sequence[Patch]) -> list[tuple[float, float]]:
    """Choose the values of a patch that become black and white, for all patches of its type.

    Args:
        patch: One of the patches.
        patches: All that are compared.

    Returns:
        2nd and 98th percentile of each band; 0 and 255 of 8 bit.
    """
    if patch.data.dtype == np.uint8:
        return [(0.0, 255.0)] * len(patch.data)
    alike = [
        other for other in patches
        if other.data.dtype == patch.data.dtype and len(other.data) == len(patch.data)
    ]  # fmt: skip
    limits = []
    for i in range(len(patch.data)):
        values = np.concatenate([other.data[i][other.valid] for other in alike])
        low, high = np.percentile(values, (2, 98)) if values.size else (0, 1)
        limits.append((float(low), float(high)))
    return limits


def to_rgba(patch: Patch, limits: Sequence[tuple[float, float]]) -> npt.NDArray[np.uint8]:
    """A patch of three bands or one as a picture.

    Args:
        patch: Stored values.
        limits: Values of each band that become black and white.

    Returns:
        Red, green, blue and alpha, shape `(4, H, W)`.
    """
    bands = zip(patch.data, limits, strict=True)
    colors = np.stack([_stretch(band, patch.valid, *limit) for band, limit in bands])
    alpha = np.where(patch.valid, np.uint8(255), np.uint8(0))
    return np.concatenate([np.broadcast_to(colors, (3, *patch.valid.shape)), alpha[None]])


def _choose_display_bands(scene: Scene) -> tuple[int, ...]:
    by_color = {band.common_name or band.colorinterp: band.index for band in scene.bands}
    if all(color in by_color for color in _COLORS):
        return tuple(by_color[color] for color in _COLORS)
    indexes = tuple(band.index for band in scene.bands)
    return indexes[:3] if len(indexes) >= 3 else indexes[:1]


def _stretch(
    band: npt.NDArray[Any], valid: npt.NDArray[np.bool_], low: float, high: float
) -> npt.NDArray[np.uint8]:
    if band.dtype == np.uint8:
        return np.where(valid, band, np.uint8(0))
    values = np.where(valid, band, 0).astype(np.float64)
    scaled = np.clip((values - low) / max(high - low, 1e-12), 0, 1)
    stretched: npt.NDArray[np.uint8] = np.rint(np.where(valid, scaled, 0) * 255).astype(np.uint8)
    return stretched


def preview_path(product: Path, *, overwrite: bool) -> Path:
    """File of the preview of a product.

    Raises:
        OutputError: If it is there already and may not be replaced.
    """
    path = product.with_suffix(".png")
    if path.exists() and not overwrite:
        raise OutputError(
            f"{path} exists; replace it with {option('overwrite', True)} or leave out the preview"
        )
    return path
