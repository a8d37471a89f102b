"""Scenes that live in a `DataArray`, numpy or Dask beneath, as rioxarray and odc-stac make them."""

from __future__ import annotations

import copy
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from odc.geo.geobox import GeoBox

from geotrans.errors import SceneError
from geotrans.grid import Window
from geotrans.scene.access.identity import SourceIdentity
from geotrans.scene.axes import as_scene_dims, read_transform
from geotrans.scene.bands import find_common_name
from geotrans.scene.base import Band, Patch, Scene, SceneInfo
from geotrans.scene.crs import as_crs
from geotrans.scene.valid import find_valid

if TYPE_CHECKING:
    import xarray as xr


class ArrayScene(Scene):
    """A scene over a `DataArray`; only the blocks a window touches are computed."""

    def __init__(self, array: xr.DataArray) -> None:
        import rioxarray  # noqa: F401  registers the `.rio` accessor

        if array.dtype.kind not in "uif":
            raise SceneError(
                f"the DataArray holds {array.dtype}, which are no measured values; convert it with "
                ".astype('uint8') or another type of number"
            )
        flat = as_scene_dims(array)
        self._array = flat
        transform, notes = read_transform(flat)
        crs = flat.rio.crs
        if crs is None:
            notes.append("no CRS: the product has none either, and the pixel size is not checked")
        super().__init__(
            SceneInfo(
                uri=f"DataArray:{array.name or ''}",
                name=str(array.name or "array"),
                geobox=GeoBox((flat.shape[1], flat.shape[2]), transform, as_crs(crs)),
                bands=_read_bands(flat),
                dtype=flat.dtype,
                nodata=None if flat.rio.nodata is None else float(flat.rio.nodata),
                maskable=flat.rio.nodata is not None or np.issubdtype(flat.dtype, np.inexact),
                colormap=_read_colormap(flat),
                tags={str(k): v for k, v in array.attrs.items() if isinstance(v, str)},
                crs_wkt=None if crs is None else crs.to_wkt(),
                notes=tuple(notes),
            )
        )

    @property
    def array(self) -> xr.DataArray:
        """What is read, with dimensions `(band, y, x)`."""
        return self._array

    @cached_property
    def identity(self) -> SourceIdentity:
        """Dask's token of the array: of its values, or of the graph that makes them."""
        from dask.base import tokenize

        return SourceIdentity("token", str(tokenize(self._array)))

    def _read(self, window: Window, bands: tuple[Band, ...], out_shape: tuple[int, int]) -> Patch:
        variable = self._array.variable[[band.index - 1 for band in bands]]
        rows, cols = window.slices
        if out_shape == window.shape:
            variable = variable[:, rows, cols]
        else:  # The pixel in the middle of each cell.
            variable = variable[:, _cell_centres(rows, out_shape[0])][
                :, :, _cell_centres(cols, out_shape[1])
            ]
        try:
            data = np.ascontiguousarray(_compute(variable.data))
        except (OSError, RuntimeError, ValueError) as error:
            raise SceneError(
                f"{self.name} cannot be read: {' '.join(str(error).split())}; if it was opened "
                "from a file, that file is closed or gone: open it again, or .load() it before"
            ) from error
        return Patch(data, find_valid(data, [self.nodata] * len(bands)))


class BlockScene(Scene):
    """A scene of which only one block of pixels is in memory, as sent to a worker.

    Args:
        info: What is known of the whole scene.
        identity: Which pixels it holds.
        bands: Positions of the bands in `data`, counted from 1.
        data: Their pixels, shape `(len(bands), H, W)`; None until `with_data`.
        corner: Row and column of the scene where `data` begins.
    """

    def __init__(
        self,
        info: SceneInfo,
        identity: SourceIdentity,
        bands: tuple[int, ...],
        data: npt.NDArray[Any] | None = None,
        corner: tuple[int, int] = (0, 0),
    ) -> None:
        super().__init__(info)
        self._identity, self._bands = identity, bands
        self._data, self._corner = data, corner

    @property
    def identity(self) -> SourceIdentity:
        """Identity of the whole scene."""
        return self._identity

    def with_data(self, data: npt.NDArray[Any], corner: tuple[int, int]) -> BlockScene:
        """The same scene with a block of pixels."""
        return BlockScene(self.info, self._identity, self._bands, data, corner)

    def _read(self, window: Window, bands: tuple[Band, ...], out_shape: tuple[int, int]) -> Patch:
        assert self._data is not None
        assert out_shape == window.shape
        rows, cols = window.shifted(rows=-self._corner[0], cols=-self._corner[1]).slices
        channels = [self._bands.index(band.index) for band in bands]
        data = np.ascontiguousarray(self._data[channels][:, rows, cols])
        assert data.shape[1:] == window.shape
        return Patch(data, find_valid(data, [self.nodata] * len(bands)))


def detach_pixels(scene: Scene, bands: tuple[int, ...]) -> Scene:
    """A scene over an array without its pixels, small to send; `attach_pixels` adds some."""
    if isinstance(scene, ArrayScene):
        return BlockScene(scene.info, scene.identity, bands)
    return _replace_inner(scene, detach_pixels(_get_inner(scene), find_array_bands(scene, bands)))


def attach_pixels(scene: Scene, data: npt.NDArray[Any], corner: tuple[int, int]) -> Scene:
    """A scene of `detach_pixels` with a block of its pixels, shape `(len(bands), H, W)`."""
    if isinstance(scene, BlockScene):
        return scene.with_data(data, corner)
    return _replace_inner(scene, attach_pixels(_get_inner(scene), data, corner))


def find_array_bands(scene: Scene, bands: tuple[int, ...]) -> tuple[int, ...]:
    """Positions of the array's bands that are read for some bands of a scene over it.

    Of a palette or class raster all bands are read, whichever bands of the view are requested.
    """
    if isinstance(scene, ArrayScene):
        return bands
    inner = _get_inner(scene)
    return find_array_bands(inner, tuple(band.index for band in inner.bands))


def get_array(scene: Scene) -> xr.DataArray:
    """The array a scene is read from, dimensions `(band, y, x)`."""
    return scene.array if isinstance(scene, ArrayScene) else get_array(_get_inner(scene))


def _get_inner(scene: Any) -> Scene:
    """The scene beneath a view, such as a class raster in the values of a task."""
    inner: Scene = scene.scene
    return inner


def _replace_inner(scene: Any, inner: Scene) -> Scene:
    copied: Any = copy.copy(scene)
    # Keeps what the view states of the inner scene, such as its colours.
    inner.info = _get_inner(scene).info
    copied.scene = inner
    view: Scene = copied
    return view


def _compute(data: Any) -> npt.NDArray[Any]:
    if hasattr(data, "compute"):
        # The caller decides how many windows are read at once: no second thread pool.
        data = data.compute(scheduler="synchronous")
    return np.asarray(data)


def _cell_centres(extent: slice, n: int) -> npt.NDArray[np.intp]:
    """Positions at the centres of `n` equal cells."""
    steps = (np.arange(n, dtype=np.float64) + 0.5) * ((extent.stop - extent.start) / n)
    centres: npt.NDArray[np.intp] = (extent.start + steps).astype(np.intp)
    return centres


def _read_colormap(array: xr.DataArray) -> dict[int, tuple[int, int, int, int]] | None:
    """Colours of class values, from CF's `flag_values` and GDAL's `flag_colors`."""
    values, colors = array.attrs.get("flag_values"), array.attrs.get("flag_colors")
    if len(array) != 1 or values is None or colors is None:
        return None
    codes = [code.removeprefix("#") for code in str(colors).split()]
    return {
        int(value): (int(code[:2], 16), int(code[2:4], 16), int(code[4:6], 16), 255)
        for value, code in zip(np.atleast_1d(values), codes, strict=False)
    }


def _read_bands(array: xr.DataArray) -> tuple[Band, ...]:
    n = array.shape[0]
    names = _read_band_names(array)
    known_names = [name for name in names if name]
    scales = _repeat_for_bands(array.attrs, ("scale_factor", "scales"), n, 1.0)
    offsets = _repeat_for_bands(array.attrs, ("add_offset", "offsets"), n, 0.0)
    units = _repeat_for_bands(array.attrs, ("units",), n, None)
    return tuple(
        Band(
            index=i + 1,
            name=names[i],
            common_name=find_common_name(names[i], known_names),
            colorinterp="undefined",
            dtype=array.dtype,
            scale=float(scales[i]),
            offset=float(offsets[i]),
            units=units[i] or None,
        )
        for i in range(n)
    )


def _read_band_names(array: xr.DataArray) -> list[str | None]:
    """Names of the bands: text along the band dimension, else `long_name` as rioxarray keeps it."""
    n = array.shape[0]
    dim = array.dims[0]
    if dim in array.coords and array[dim].dtype.kind in "UOT":
        return [str(name) for name in array[dim].values]
    long_name = array.attrs.get("long_name")
    if isinstance(long_name, tuple | list):
        names = [str(name) or None for name in long_name]
        if len(names) == n:
            return names
        if dim in array.coords and array[dim].dtype.kind in "ui":  # Some of a file's bands.
            numbers = [int(number) for number in array[dim].values]
            if all(0 < number <= len(names) for number in numbers):
                return [names[number - 1] for number in numbers]
        return [None] * n
    if n == 1 and (name := long_name or array.name):
        return [str(name)]
    return [None] * n


def _repeat_for_bands(
    attrs: dict[Any, Any], keys: tuple[str, ...], n: int, default: Any
) -> list[Any]:
    """One value per band from the first attribute present, which may hold one for all bands."""
    value = next((attrs[key] for key in keys if key in attrs), default)
    if isinstance(value, tuple | list | np.ndarray) and len(value) == n:
        return list(value)
    return [default if isinstance(value, tuple | list) else value] * n
