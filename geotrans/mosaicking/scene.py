"""Many rasters as one scene, read window by window."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from odc.geo.geobox import GeoBox

from geotrans.grid import Window
from geotrans.mosaicking.balance import Balance
from geotrans.mosaicking.blend import (
    BLENDS,
    FEATHER_PX,
    Layer,
    compute_edge_weight,
    keep_along_seams,
)
from geotrans.mosaicking.placement import PlacedRaster
from geotrans.mosaicking.seams import load_seam, seam_path
from geotrans.mosaicking.sources import Sources
from geotrans.scene import Patch, Scene, SourceIdentity, open_scene, warp_to_grid
from geotrans.scene.base import Band
from geotrans.scene.radiometry import as_dtype

# Rasters kept open at a time; a mosaic may have thousands.
_MAX_OPEN = 64


class MosaicScene(Scene):
    """A mosaic that is not written yet.

    Args:
        sources: The rasters.
        placed: The rasters with their windows in it.
        geobox: Its grid.
        crs_wkt: Its CRS as WKT, as a file states it.
        blend: What becomes of a pixel that several tiles hold, of `BLENDS`.
        feather: Px over which a tile's weight rises from its edge, for `feather`.
        resampling: How tiles on other pixels are brought to these.
        seamline: Whether overlaps are cut where the tiles differ least, instead of blended; the
            seams have to be drawn before it is read.
        mask: Raster of the pixels that may be valid, and px of the mosaic for each of its own.
        extra: Further choices that determine the pixels.
    """

    def __init__(
        self,
        sources: Sources,
        placed: Sequence[PlacedRaster],
        geobox: GeoBox,
        *,
        crs_wkt: str | None,
        blend: str = "first",
        feather: int = FEATHER_PX,
        resampling: str = "bilinear",
        seamline: bool = False,
        mask: tuple[str, int] | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        info = replace(
            sources.info,
            uri=f"mosaic of {len(placed)} tiles",
            name="mosaic",
            geobox=geobox,
            crs_wkt=crs_wkt,
            maskable=True,
            notes=(),
        )
        super().__init__(info)
        self.placed = tuple(placed)
        self.blend, self.feather, self.resampling = blend, feather, resampling
        self.seamline = seamline
        self.seams: Path | None = None
        self.balance: Balance | None = None
        self._digest, self._mask, self._extra = sources.digest(), mask, dict(extra or {})

    @property
    def identity(self) -> SourceIdentity:
        """Names, sizes and times of the tiles, and how they are joined."""
        height, width = self.shape
        grid = f"{self.geobox.crs} {tuple(self.geobox.affine)[:6]} {height}x{width}"
        description = f"{self._digest} {grid} {json.dumps(self.choices, sort_keys=True)}"
        return SourceIdentity("token", hashlib.sha256(description.encode()).hexdigest())

    @property
    def choices(self) -> dict[str, Any]:
        """The choices that determine its pixels, by the names of the options."""
        chosen: dict[str, Any] = {"blend": self.blend, **self._extra}
        if self.blend == "feather":
            chosen["feather"] = self.feather
        if self.seamline:
            chosen = {"seamline": True, **self._extra}
        if self.n_resampled:
            chosen["resampling"] = self.resampling
        return chosen

    @property
    def n_resampled(self) -> int:
        """Tiles whose pixels are not the mosaic's."""
        return sum(raster.corner is None for raster in self.placed)

    @cached_property
    def _index(self) -> Any:
        """Spatial index of the windows of all tiles."""
        import shapely

        places = np.array(
            [(p.col_off, p.row_off, p.col_end, p.row_end) for p in (t.window for t in self.placed)]
        )
        return shapely.STRtree(shapely.box(*places.T))

    @cached_property
    def _get_scene(self) -> Any:
        """Function that opens a tile by number; those used last stay open."""
        return lru_cache(_MAX_OPEN)(self._open)

    def _open(self, number: int) -> Scene:
        tile = self.placed[number]
        scene = open_scene(tile.path)
        if tile.corner is not None:
            return scene
        return warp_to_grid(scene, self.geobox, resampling=self.resampling)

    def close(self) -> None:
        """Close the tiles; a later read opens them again."""
        self.__dict__.pop("_get_scene", None)

    def __getstate__(self) -> dict[str, Any]:
        """State without index and open files, which another process makes for itself."""
        return {k: v for k, v in self.__dict__.items() if k not in ("_index", "_get_scene")}

    def find_tiles_in(self, window: Window) -> list[int]:
        """Numbers of the tiles that meet a window, in their order."""
        import shapely

        # Smaller by a fraction of a pixel: tiles that only touch the window have nothing in it.
        box = shapely.box(
            window.col_off + 0.25,
            window.row_off + 0.25,
            window.col_end - 0.25,
            window.row_end - 0.25,
        )
        return sorted(int(i) for i in self._index.query(box, predicate="intersects"))

    def _read(self, window: Window, bands: tuple[Band, ...], out_shape: tuple[int, int]) -> Patch:
        canvas = self._paint(window, bands, out_shape, self.find_tiles_in(window))
        if self._mask is not None:
            canvas.valid[:] &= self._read_mask(window, out_shape)
        return canvas

    def paint(self, window: Window, out_shape: tuple[int, int], numbers: Sequence[int]) -> Patch:
        """A window of some of the tiles alone, decimated to `out_shape`."""
        return self._paint(window, self.bands, out_shape, numbers)

    def _paint(
        self,
        window: Window,
        bands: tuple[Band, ...],
        out_shape: tuple[int, int],
        numbers: Sequence[int],
    ) -> Patch:
        fill = 0 if self.nodata is None else self.nodata
        dtype = np.result_type(*(band.dtype for band in bands))
        canvas = Patch(np.full((len(bands), *out_shape), fill, dtype), np.zeros(out_shape, bool))
        rule = keep_along_seams if self.seamline else BLENDS[self.blend]
        if self.balance is None:
            rule(self._iter_layers(window, bands, out_shape, numbers), canvas)
            return canvas
        floats = Patch(canvas.data.astype(np.float64), canvas.valid)
        rule(self._iter_layers(window, bands, out_shape, numbers), floats)
        return Patch(as_dtype(floats.data, dtype), floats.valid)

    def _read_mask(self, window: Window, out_shape: tuple[int, int]) -> npt.NDArray[np.bool_]:
        assert self._mask is not None
        path, scale = self._mask
        top, left = window.row_off // scale, window.col_off // scale
        bottom, right = -(-window.row_end // scale), -(-window.col_end // scale)
        with open_scene(path) as mask:
            mask_values = mask.read(Window(left, top, right - left, bottom - top)).data[0] != 0
        # Sampled at the centre of each output pixel.
        rows, cols = (
            ((np.arange(n) + 0.5) * size / n + off).astype(int) // scale - first
            for n, size, off, first in zip(
                out_shape, window.shape, (window.row_off, window.col_off), (top, left), strict=True
            )
        )
        is_allowed: npt.NDArray[np.bool_] = mask_values[np.ix_(rows, cols)]
        return is_allowed

    def _iter_layers(
        self,
        window: Window,
        bands: tuple[Band, ...],
        out_shape: tuple[int, int],
        numbers: Sequence[int],
    ) -> Iterator[Layer]:
        """Layers of some tiles in a window, read one by one."""
        for number in numbers:
            shared = self.placed[number].window.intersection(window)
            inside = shared.relative_to(window)
            if out_shape == window.shape:
                yield self._make_layer(number, shared, inside, bands)
            else:
                scaled = _scale_window(inside, window.shape, out_shape)
                patch = self.read_tile(number, shared, bands, out_shape=scaled.shape)
                weight = None
                if self.blend == "feather":
                    feather = max(1, round(self.feather * out_shape[0] / window.height))
                    weight = compute_edge_weight(patch.valid, feather)
                above = self._find_covered(number, shared, scaled.shape)
                yield Layer(*scaled.slices, patch, weight, above)

    def _make_layer(
        self, number: int, shared: Window, inside: Window, bands: tuple[Band, ...]
    ) -> Layer:
        if self.blend != "feather":
            above = self._find_covered(number, shared, shared.shape)
            return Layer(*inside.slices, self.read_tile(number, shared, bands), above=above)
        # Grown by the feather, which the weights depend on.
        wide = shared.grown(self.feather).intersection(self.placed[number].window)
        patch = self.read_tile(number, wide, bands)
        weight = compute_edge_weight(patch.valid, self.feather)
        rows, cols = shared.relative_to(wide).slices
        core = Patch(patch.data[:, rows, cols], patch.valid[rows, cols])
        return Layer(*inside.slices, core, weight[rows, cols])

    def _find_covered(
        self, number: int, window: Window, out_shape: tuple[int, int]
    ) -> npt.NDArray[np.bool_] | None:
        """Where a tile covers those before it; None if it does so nowhere, or there is no seam."""
        if not self.seamline:
            return None
        assert self.seams is not None, "draw the seams first"
        path = seam_path(self.seams, number)
        seam = load_seam(path) if path.exists() else None  # Its own seam is being computed.
        return None if seam is None else seam.covers(window, out_shape)

    def read_tile(
        self,
        number: int,
        window: Window,
        bands: tuple[Band, ...],
        *,
        out_shape: tuple[int, int] | None = None,
    ) -> Patch:
        """Pixels of one tile.

        Args:
            number: Which tile.
            window: Pixels of the mosaic, inside the tile's window.
            bands: Bands to read.
            out_shape: Shape to decimate them to; their own unless given.
        """
        tile = self.placed[number]
        if tile.corner is not None:
            col, row = tile.corner
            window = window.shifted(rows=row - tile.window.row_off, cols=col - tile.window.col_off)
        scene: Scene = self._get_scene(number)
        indexes = [band.index for band in bands]
        patch = scene.read(window, indexes, out_shape=out_shape)
        if self.balance is None:
            return patch
        channels = [[band.index for band in self.bands].index(index) for index in indexes]
        return self.balance.apply(number, patch, channels)


def _scale_window(inside: Window, shape: tuple[int, int], out_shape: tuple[int, int]) -> Window:
    """The pixels of a decimated window that a part of the window touches."""
    down, across = out_shape[0] / shape[0], out_shape[1] / shape[1]
    top, left = int(inside.row_off * down), int(inside.col_off * across)
    bottom = min(out_shape[0], max(top + 1, -int(-inside.row_end * down // 1)))
    right = min(out_shape[1], max(left + 1, -int(-inside.col_end * across // 1)))
    return Window(left, top, right - left, bottom - top)
