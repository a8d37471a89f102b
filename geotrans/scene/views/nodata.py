"""Scenes whose nodata value the user gives, because the file does not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from geotrans.errors import UsageError
from geotrans.grid import Window
from geotrans.scene.base import Band, Patch, Scene, SceneView
from geotrans.scene.valid import find_valid


def mark_nodata(scene: Scene, nodata: float) -> Scene:
    """A scene in which a stored value marks pixels as nodata.

    Pixels the file itself marks stay invalid. Several bands are combined as in
    `holds_values`.

    Args:
        scene: The scene.
        nodata: The value; NaN for floating-point bands.

    Raises:
        UsageError: If the bands cannot hold it.
    """
    if not np.isnan(nodata) and np.issubdtype(scene.dtype, np.integer):
        limits = np.iinfo(scene.dtype)
        if not float(nodata).is_integer() or not limits.min <= nodata <= limits.max:
            raise UsageError(
                f"nodata {nodata:g} is no value of {scene.name}, whose bands are {scene.dtype}; "
                f"give a whole number from {limits.min} to {limits.max}"
            )
    elif np.isnan(nodata) and np.issubdtype(scene.dtype, np.integer):
        raise UsageError(f"nodata NaN is no value of {scene.name}, whose bands are {scene.dtype}")
    return NodataScene(scene, nodata)


class NodataScene(SceneView):
    """A scene with a nodata value given by the user.

    Args:
        scene: The scene.
        nodata: Stored value of pixels that are not measured.
    """

    def __init__(self, scene: Scene, nodata: float) -> None:
        super().__init__(scene, replace(scene.info, nodata=nodata, maskable=True))

    def _read(self, window: Window, bands: tuple[Band, ...], out_shape: tuple[int, int]) -> Patch:
        patch = self.scene.read(window, [band.index for band in bands], out_shape=out_shape)
        markers = [self.nodata] * len(bands)
        return Patch(patch.data, patch.valid & find_valid(patch.data, markers))
