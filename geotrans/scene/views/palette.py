"""One-band palette rasters as colours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from geotrans.errors import BandError
from geotrans.grid import Window
from geotrans.scene.base import Band, Patch, Scene, SceneView

_COLORS = ("red", "green", "blue")


def expand_palette(scene: Scene) -> Scene:
    """A palette raster as bands red, green and blue; any other scene as it is."""
    return scene if scene.colormap is None else PaletteScene(scene)


class PaletteScene(SceneView):
    """A palette raster whose pixels are read as colours."""

    def __init__(self, scene: Scene) -> None:
        if scene.colormap is None:
            raise BandError(f"{scene.name} has no palette")
        uint8 = np.dtype(np.uint8)
        bands = tuple(Band(i, c, c, c, uint8) for i, c in enumerate(_COLORS, 1))
        # The nodata value is an index, which no colour stands for.
        super().__init__(
            scene, replace(scene.info, bands=bands, dtype=uint8, nodata=None, colormap=None)
        )
        self._table = _make_table(scene.colormap)

    def _read(self, window: Window, bands: tuple[Band, ...], out_shape: tuple[int, int]) -> Patch:
        indices = self.scene.read(window, out_shape=out_shape)
        values = indices.data[0].astype(np.intp).clip(-1, len(self._table) - 1)
        colors = self._table[values]  # (H, W) -> (H, W, 3)
        channels = [band.index - 1 for band in bands]
        return Patch(np.ascontiguousarray(np.moveaxis(colors, -1, 0)[channels]), indices.valid)


def _make_table(colormap: Any) -> npt.NDArray[np.uint8]:
    """Colours by value, shape `(n, 3)`; values without one, and the last of all, are black."""
    table = np.zeros((max(colormap) + 2, 3), np.uint8)
    for value, color in colormap.items():
        table[value] = _take_rgb(color)
    return table


def _take_rgb(color: Sequence[int]) -> tuple[int, int, int]:
    red, green, blue = color[:3]
    return red, green, blue
