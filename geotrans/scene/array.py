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
from geotrans.scene.axes import as_scene_dims, transform_of
from geotrans.scene.bands import common_name
from geotrans.scene.base import Band, Patch, Scene, SceneInfo
from geotrans.scene.crs import as_crs
from geotrans.scene.valid import holds_values

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
        transform, notes = transform_of(flat)
        crs = flat.rio.crs
        if crs is None:
            notes.append("no CRS: the product has none either, and the pixel size is not checked")
        super().__init__(
            SceneInfo(
                uri=f"DataArray:{array.name or ''}",
                name=str(array.name or "array"),
                geobox=GeoBox((flat.shape[1], flat.shape[2]), transform, as_crs(crs)),
                bands=_bands(flat),
                dtype=flat.dtype,
                nodata=None if flat.rio.nodata is None else float(flat.rio.nodata),
                maskable=flat.rio.nodata is not None or np.issubdtype(flat.dtype, np.inexact),
                colormap=_colormap(flat),
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
            variable = variable[:, _middles(rows, out_shape[0])][:, :, _middles(cols, out_shape[1])]
        try:
            data = np.ascontiguousarray(_computed(variable.data))
        except (OSError, RuntimeError, ValueError) as error:
            raise SceneError(
                f"{self.name} cannot be read: {' '.join(str(error).split())}; if it was opened "
                "from a file, that file is closed or gone: open it again, or .load() it before"
            ) from error
        return Patch(data, holds_values(data, [self.nodata] * len(bands)))


class BlockScene(Scene):
    """A scene of which some pixels are at hand, for a task that was given no others.

    Args:
        info: What is known of the whole scene.
        identity: Which pixels it holds.
        bands: Positions of the bands at hand, counted from 1.
        data: Their pixels, shape `(len(bands), H, W)`; None where there are none yet.
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

    def holding(self, data: npt.NDArray[Any], corner: tuple[int, int]) -> BlockScene:
        """The same scene with pixels at hand."""
        return BlockScene(self.info, self._identity, self._bands, data, corner)

    def _read(self, window: Window, bands: tuple[Band, ...], out_shape: tuple[int, int]) -> Patch:
        assert self._data is not None
        assert out_shape == window.shape
        rows, cols = window.shifted(rows=-self._corner[0], cols=-self._corner[1]).slices
        channels = [self._bands.index(band.index) for band in bands]
        data = np.ascontiguousarray(self._data[channels][:, rows, cols])
        assert data.shape[1:] == window.shape
        return Patch(data, holds_values(data, [self.nodata] * len(bands)))


def without_pixels(scene: Scene, bands: tuple[int, ...]) -> Scene:
    """A scene over an array as a value that is small to send, to be read by `with_pixels`."""
    if isinstance(scene, ArrayScene):
        return BlockScene(scene.info, scene.identity, bands)
    return _over(scene, without_pixels(_inner(scene), array_bands(scene, bands)))


def with_pixels(scene: Scene, data: npt.NDArray[Any], corner: tuple[int, int]) -> Scene:
    """The scene of `without_pixels` with some of its pixels, shape `(len(bands), H, W)`."""
    if isinstance(scene, BlockScene):
        return scene.holding(data, corner)
    return _over(scene, with_pixels(_inner(scene), data, corner))


def array_bands(scene: Scene, bands: tuple[int, ...]) -> tuple[int, ...]:
    """Positions in the array of what is read for some bands of a scene over it.

    A palette or a class raster is read as a whole, whatever is asked of what it is seen as.
    """
    if isinstance(scene, ArrayScene):
        return bands
    inner = _inner(scene)
    return array_bands(inner, tuple(band.index for band in inner.bands))


def get_array(scene: Scene) -> xr.DataArray:
    """The array a scene is read from, dimensions `(band, y, x)`."""
    return scene.array if isinstance(scene, ArrayScene) else get_array(_inner(scene))


def _inner(scene: Any) -> Scene:
    """The scene that another looks at, such as a class raster in the values of a task."""
    inner: Scene = scene.scene
    return inner


def _over(scene: Any, inner: Scene) -> Scene:
    again: Any = copy.copy(scene)
    # Keeps what the outer one says of the inner, such as its colours.
    inner.info = _inner(scene).info
    again.scene = inner
    result: Scene = again
    return result


def _computed(data: Any) -> npt.NDArray[Any]:
    if hasattr(data, "compute"):
        # The caller decides how many windows are read at once; no second pool of threads here.
        data = data.compute(scheduler="synchronous")
    return np.asarray(data)


def _middles(part: slice, n: int) -> npt.NDArray[np.intp]:
    """Positions in the middles of `n` equal steps."""
    steps = (np.arange(n, dtype=np.float64) + 0.5) * ((part.stop - part.start) / n)
    middles: npt.NDArray[np.intp] = (part.start + steps).astype(np.intp)
    return middles


def _colormap(array: xr.DataArray) -> dict[int, tuple[int, int, int, int]] | None:
    """Colours of class values, as CF's `flag_values` and GDAL's `flag_colors` tell them."""
    values, colors = array.attrs.get("flag_values"), array.attrs.get("flag_colors")
    if len(array) != 1 or values is None or colors is None:
        return None
    codes = [code.removeprefix("#") for code in str(colors).split()]
    return {
        int(value): (int(code[:2], 16), int(code[2:4], 16), int(code[4:6], 16), 255)
        for value, code in zip(np.atleast_1d(values), codes, strict=False)
    }


def _bands(array: xr.DataArray) -> tuple[Band, ...]:
    n = array.shape[0]
    names = _names(array)
    known = [name for name in names if name]
    scales = _repeat_for_bands(array.attrs, ("scale_factor", "scales"), n, 1.0)
    offsets = _repeat_for_bands(array.attrs, ("add_offset", "offsets"), n, 0.0)
    units = _repeat_for_bands(array.attrs, ("units",), n, None)
    return tuple(
        Band(
            index=i + 1,
            name=names[i],
            common_name=common_name(names[i], known),
            colorinterp="undefined",
            dtype=array.dtype,
            scale=float(scales[i]),
            offset=float(offsets[i]),
            units=units[i] or None,
        )
        for i in range(n)
    )


def _names(array: xr.DataArray) -> list[str | None]:
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
    """One value a band of the first attribute there is, which may hold one for all."""
    value = next((attrs[key] for key in keys if key in attrs), default)
    if isinstance(value, tuple | list | np.ndarray) and len(value) == n:
        return list(value)
    return [default if isinstance(value, tuple | list) else value] * n
