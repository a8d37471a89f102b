"""A scene on another grid."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
from affine import Affine
from odc.geo.geobox import GeoBox

from geotrans.errors import SceneError, UsageError, suggest
from geotrans.grid import Window, window_geobox
from geotrans.scene.access.identity import SourceIdentity
from geotrans.scene.base import Band, Patch, Scene, SceneView
from geotrans.scene.radiometry import as_dtype

# Px of the finer grid that a kernel of each kind reaches to one side.
_KERNEL_RADIUS = {
    "nearest": 1,
    "bilinear": 1,
    "cubic": 2,
    "cubic_spline": 2,
    "lanczos": 3,
    "average": 1,
}

# Any CRS, the same on both sides, where neither grid has one: GDAL insists.
_ANY_CRS = "EPSG:3857"


def warp_to_grid(scene: Scene, geobox: GeoBox, *, resampling: str = "bilinear") -> Scene:
    """A scene resampled to another grid; the scene itself if the grid is its own.

    Raises:
        UsageError: If the resampling is unknown.
        SceneError: If one of both grids has a CRS and the other has none.
    """
    if resampling not in _KERNEL_RADIUS:
        raise UsageError(
            f"resampling '{resampling}' is none of {', '.join(_KERNEL_RADIUS)}"
            f"{suggest(resampling, _KERNEL_RADIUS)}"
        )
    if _is_same_grid(scene.geobox, geobox):
        return scene
    return WarpedScene(scene, geobox, resampling=resampling)


class WarpedScene(SceneView):
    """A scene resampled window by window.

    The kernel, the transformer and the weights of valid pixels are those of the whole grid, so
    that windows agree where they overlap. A pixel is valid if at least half of the weight of its
    kernel falls on valid pixels.
    """

    def __init__(self, scene: Scene, geobox: GeoBox, *, resampling: str = "bilinear") -> None:
        if (scene.geobox.crs is None) != (geobox.crs is None):
            which = "the scene" if scene.geobox.crs is None else "the grid"
            raise SceneError(f"{scene.name} cannot be put on another grid: {which} has no CRS")
        wkt = None if geobox.crs is None else geobox.crs.to_wkt()
        super().__init__(scene, replace(scene.info, geobox=geobox, maskable=True, crs_wkt=wkt))
        # Class values must not be mixed.
        self.resampling = "nearest" if scene.colormap is not None else resampling
        self._scale = _compute_scale(scene.geobox, geobox)

    @property
    def identity(self) -> SourceIdentity:
        """Identity of the scene beneath, and the grid it is resampled to."""
        source = self.scene.identity
        height, width = self.shape
        grid = f"{self.geobox.crs} {tuple(self.geobox.affine)[:6]} {height}x{width}"
        return SourceIdentity("token", f"{source} on {grid} by {self.resampling}")

    def footprint(self) -> Window:
        """Smallest window of this grid that holds every pixel the scene covers; may be empty."""
        corners = project_window(self.scene.geobox, self.geobox, Window.whole(self.scene.shape))
        whole = Window.whole(self.shape)
        if corners is None:
            return Window(0, 0, 0, 0)
        return corners.grown(1).intersection(whole)

    def _read(self, window: Window, bands: tuple[Band, ...], out_shape: tuple[int, int]) -> Patch:
        grid = window_geobox(self.geobox, window)
        if out_shape != window.shape:
            grid = grid.zoom_to(out_shape)
        scale = (
            _compute_scale(self.scene.geobox, grid) if out_shape != window.shape else self._scale
        )
        source_window = project_window(grid, self.scene.geobox, Window.whole(out_shape))
        if source_window is not None:
            halo = 2 + math.ceil(_KERNEL_RADIUS[self.resampling] * max(1.0, *scale))
            source_window = source_window.grown(halo).intersection(Window.whole(self.scene.shape))
        if source_window is None or source_window.is_empty:
            return Patch(
                np.zeros((len(bands), *out_shape), np.result_type(*(b.dtype for b in bands))),
                np.zeros(out_shape, bool),
            )
        patch = self.scene.read(source_window, [band.index for band in bands])
        origin = window_geobox(self.scene.geobox, source_window)
        return _resample(patch, origin, grid, resampling=self.resampling, scale=scale)


def _resample(
    patch: Patch, source_grid: GeoBox, grid: GeoBox, *, resampling: str, scale: tuple[float, float]
) -> Patch:
    from rasterio.enums import Resampling
    from rasterio.warp import reproject

    dtype = patch.data.dtype
    work_dtype: Any = np.float32 if dtype.itemsize <= 2 or dtype == np.float32 else np.float64
    # Values weighted by validity, and the weights themselves, go through the same kernel.
    weighted = np.zeros((len(patch.data) + 1, *patch.valid.shape), work_dtype)
    np.copyto(weighted[:-1], patch.data, where=patch.valid, casting="unsafe")
    weighted[-1] = patch.valid
    warped = np.zeros((len(weighted), *grid.shape), work_dtype)
    reproject(
        weighted,
        warped,
        src_transform=source_grid.affine,
        src_crs=_get_wkt(source_grid),
        dst_transform=grid.affine,
        dst_crs=_get_wkt(grid),
        resampling=Resampling[resampling],
        tolerance=0,
        # By default GDAL derives the kernel's width from each window.
        XSCALE=f"{1 / scale[0]:.12g}",
        YSCALE=f"{1 / scale[1]:.12g}",
    )
    weight = warped[-1]
    valid = weight >= 0.5
    values = np.divide(warped[:-1], weight, out=np.zeros_like(warped[:-1]), where=valid)
    return Patch(as_dtype(values, dtype), valid)


def _get_wkt(geobox: GeoBox) -> str:
    return _ANY_CRS if geobox.crs is None else geobox.crs.to_wkt()


def _is_same_grid(first: GeoBox, second: GeoBox) -> bool:
    """Whether both grids have the same pixels, to a thousandth of one."""
    if first.shape != second.shape or first.crs != second.crs:
        return False
    height, width = first.shape
    return all(
        math.dist(~first.affine @ (second.affine @ corner), corner) < 1e-3
        for corner in ((0, 0), (width, 0), (0, height))
    )


def _compute_scale(scene: GeoBox, grid: GeoBox) -> tuple[float, float]:
    """Px of the scene per px of the grid, along columns and rows, at the middle of the grid."""
    height, width = grid.shape
    middle = Window(width // 2, height // 2, 1, 1)
    points = _project_points(
        window_geobox(grid, middle), scene, np.array([[0, 0], [1, 0], [0, 1]], float)
    )
    if not np.isfinite(points).all():
        return 1.0, 1.0
    (across, down) = points[1] - points[0], points[2] - points[0]
    return max(abs(across[0]), abs(down[0])), max(abs(across[1]), abs(down[1]))


def project_window(grid: GeoBox, other: GeoBox, window: Window) -> Window | None:
    """Smallest window of `other` that holds a window of `grid`; None if it lies nowhere in it."""
    n = 21  # An edge of a window bends by far less than a pixel between so many points.
    across = np.linspace(window.col_off, window.col_end, n)
    down = np.linspace(window.row_off, window.row_end, n)
    points_in = np.stack(np.meshgrid(across, down), axis=-1).reshape(-1, 2)
    points = _project_points(grid, other, points_in)
    points = points[np.isfinite(points).all(axis=1)]
    if not len(points):
        return None
    (left, top), (right, bottom) = np.floor(points.min(axis=0)), np.ceil(points.max(axis=0))
    return Window(int(left), int(top), int(right - left), int(bottom - top))


def _project_points(
    grid: GeoBox, other: GeoBox, points: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Pixel positions `(n, 2)` as `(col, row)` of one grid in those of another."""
    x, y = _apply_affine(grid.affine, points[:, 0], points[:, 1])
    if grid.crs is not None and other.crs is not None and grid.crs != other.crs:
        from pyproj import Transformer

        transformer = Transformer.from_crs(grid.crs.proj, other.crs.proj, always_xy=True)
        x, y = transformer.transform(x, y)
    return np.stack(_apply_affine(~other.affine, np.asarray(x), np.asarray(y)), axis=-1)


def _apply_affine(
    affine: Affine, x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    a, b, c, d, e, f = tuple(affine)[:6]
    return a * x + b * y + c, d * x + e * y + f
