"""Channels derived from the geographic coordinates of pixels."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
from odc.geo.geobox import GeoBox
from pyproj import Transformer

from geotrans.errors import UsageError
from geotrans.grid.window import Window

Coordinate = Literal["latitude"]
COORDINATES: tuple[str, ...] = get_args(Coordinate)


def ground_coordinates(
    geobox: GeoBox, window: Window, names: tuple[str, ...]
) -> npt.NDArray[np.float32]:
    """Coordinate channels over a window.

    `latitude` is its sine, which follows the mean elevation of the Sun, and the share of the
    hemisphere between the latitude and the equator.

    Args:
        geobox: Pixel grid of the scene.
        window: Pixels to compute, counted from the scene's first; may reach beyond the scene.
        names: Names of the coordinates, one channel each.

    Returns:
        Values in [-1, 1], shape `(len(names), H, W)`; a pixel's do not depend on the window.

    Raises:
        UsageError: If the grid has no CRS.
    """
    if not names:
        return np.empty((0, *window.shape), np.float32)
    if geobox.crs is None:
        raise UsageError(
            f"{' and '.join(names)} cannot be known: the scene has no CRS; give it one first"
        )
    sine = np.sin(np.radians(np.clip(_compute_latitudes(geobox, window), -90, 90)))
    plane = np.broadcast_to(sine.astype(np.float32), window.shape)
    return np.stack([plane] * len(names))


def _compute_latitudes(geobox: GeoBox, window: Window) -> npt.NDArray[np.float64]:
    """Latitude of pixel centres, degrees, `(H, W)`, or `(H, 1)` where a row shares it."""
    assert geobox.crs is not None
    a, b, c, d, e, f = tuple(geobox.affine)[:6]
    rows = np.arange(window.row_off, window.row_end)[:, None] + 0.5
    cols = np.arange(window.col_off, window.col_end)[None, :] + 0.5
    if geobox.crs.geographic and d == 0:
        latitudes: npt.NDArray[np.float64] = e * rows + f
        return latitudes
    x, y = (a * cols + b * rows) + c, (d * cols + e * rows) + f
    if geobox.crs.geographic:
        return np.asarray(y, np.float64)
    to_lon_lat = Transformer.from_crs(geobox.crs.proj, geobox.crs.proj.geodetic_crs, always_xy=True)
    _, latitudes = to_lon_lat.transform(x, y)
    # Beyond the edge of a projection there is no latitude.
    return np.where(np.isfinite(latitudes), latitudes, 0.0)
