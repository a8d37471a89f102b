"""Scenes that live in a `DataArray`, numpy or Dask beneath, as rioxarray and odc-stac make them."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from affine import Affine
from odc.geo.geobox import GeoBox

from geotrans.errors import SceneError
from geotrans.grid import Window
from geotrans.scene.bands import common_name
from geotrans.scene.base import Band, Patch, Scene, SceneInfo
from geotrans.scene.crs import as_crs
from geotrans.scene.identity import SourceIdentity
from geotrans.scene.valid import holds_values

if TYPE_CHECKING:
    import xarray as xr

# Names of a dimension that runs over bands, in the order they are believed.
_BAND_DIMS = ("band", "bands", "variable", "channel", "wavelength")

# Largest deviation of a coordinate from an even spacing, px.
_EVEN = 0.05


class ArrayScene(Scene):
    """A scene over a `DataArray`; only the blocks a window touches are computed."""

    def __init__(self, array: xr.DataArray) -> None:
        import rioxarray  # noqa: F401  registers the `.rio` accessor

        y_dim, x_dim = _spatial_dims(array)
        flat = _with_bands(array, y_dim, x_dim)
        self._array = flat
        transform, notes = _transform(flat, y_dim, x_dim)
        crs = flat.rio.crs
        if crs is None:
            notes.append("no CRS: the product has none either, and the pixel size is not checked")
        bands = _bands(flat)
        super().__init__(
            SceneInfo(
                uri=f"DataArray:{array.name or ''}",
                name=str(array.name or "array"),
                geobox=GeoBox(
                    (flat.sizes[y_dim], flat.sizes[x_dim]),
                    transform,
                    as_crs(crs),
                ),
                bands=bands,
                dtype=flat.dtype,
                nodata=None if flat.rio.nodata is None else float(flat.rio.nodata),
                maskable=flat.rio.nodata is not None or np.issubdtype(flat.dtype, np.inexact),
                crs_wkt=None if crs is None else crs.to_wkt(),
                notes=tuple(notes),
            )
        )

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
        data = np.ascontiguousarray(_computed(variable.data))
        return Patch(data, holds_values(data, [self.nodata] * len(bands)))


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


def _spatial_dims(array: xr.DataArray) -> tuple[str, str]:
    from rioxarray.exceptions import MissingSpatialDimensionError

    try:
        return str(array.rio.y_dim), str(array.rio.x_dim)
    except MissingSpatialDimensionError as error:
        raise SceneError(
            f"the DataArray has dimensions {', '.join(map(str, array.dims))}; "
            "name two of them y and x, or set them with .rio.set_spatial_dims"
        ) from error


def _with_bands(array: xr.DataArray, y_dim: str, x_dim: str) -> xr.DataArray:
    """The array with dimensions `(band, y, x)`."""
    others = [str(dim) for dim in array.dims if dim not in (y_dim, x_dim)]
    band_dim = next((dim for dim in _BAND_DIMS if dim in others), None)
    single = [dim for dim in others if dim != band_dim and array.sizes[dim] == 1]
    left = [dim for dim in others if dim != band_dim and dim not in single]
    if (
        band_dim is None
        and len(left) == 1
        and not np.issubdtype(array[left[0]].dtype, np.datetime64)
    ):
        band_dim = left.pop()
    if left:
        sizes = ", ".join(f"{dim} ({array.sizes[dim]})" for dim in left)
        raise SceneError(f"the DataArray is more than one scene along {sizes}; select one of each")
    array = array.squeeze(single, drop=True)
    if band_dim is None:
        band_dim = "band"
        array = array.drop_vars("band", errors="ignore").expand_dims(band_dim)
    return array.transpose(band_dim, y_dim, x_dim)


def _transform(array: xr.DataArray, y_dim: str, x_dim: str) -> tuple[Affine, list[str]]:
    """The pixel-to-CRS transform, and what is unusual about it."""
    notes = []
    if x_dim in array.coords and y_dim in array.coords:
        col_step, left = _even_spacing(array, x_dim)
        row_step, top = _even_spacing(array, y_dim)
        transform = Affine(col_step, 0.0, left, 0.0, row_step, top)
        stored = array.rio.transform()
        # The file's own numbers, unless they are those of another part of it.
        if (
            stored.b
            or stored.d
            or _agree(stored, transform, (len(array[x_dim]), len(array[y_dim])))
        ):
            transform = stored
    elif _stores_transform(array):
        transform = array.rio.transform()
    else:
        notes.append("no coordinates: its pixels are counted from the first one")
        transform = Affine.identity()
    if transform.b or transform.d:
        notes.append("rotated grid: translated on its own pixels, never warped")
    return transform, notes


def _agree(one: Affine, other: Affine, corner: tuple[int, int]) -> bool:
    """Whether two transforms put the first and the last pixel at the same place."""
    ends = np.array([(0, 0), corner], np.float64)
    moved = [~other @ (one @ tuple(end)) for end in ends]
    return bool(np.abs(np.array(moved) - ends).max() < _EVEN)


def _stores_transform(array: xr.DataArray) -> bool:
    mapping = array.rio.grid_mapping
    return mapping in array.coords and "GeoTransform" in array[mapping].attrs


def _even_spacing(array: xr.DataArray, dim: str) -> tuple[float, float]:
    """Step between pixels and the outer edge of the first, in CRS units."""
    centres = np.asarray(array[dim].values, np.float64)
    if len(centres) == 1:
        resolution = array.rio.resolution()
        step = float(resolution[0] if dim == array.rio.x_dim else resolution[1])
        return step, float(centres[0]) - step / 2
    step = (centres[-1] - centres[0]) / (len(centres) - 1)
    even = centres[0] + step * np.arange(len(centres))
    if step == 0 or np.abs(centres - even).max() > _EVEN * abs(step):
        raise SceneError(
            f"coordinate {dim} of the DataArray is not evenly spaced; resample it to a grid first"
        )
    return float(step), float(centres[0] - step / 2)


def _bands(array: xr.DataArray) -> tuple[Band, ...]:
    n = array.shape[0]
    names = _names(array)
    known = [name for name in names if name]
    scales = _each(array.attrs, ("scale_factor", "scales"), n, 1.0)
    offsets = _each(array.attrs, ("add_offset", "offsets"), n, 0.0)
    units = _each(array.attrs, ("units",), n, None)
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
    if isinstance(long_name, tuple | list) and len(long_name) == n:
        return [str(name) or None for name in long_name]
    if n == 1 and (name := long_name or array.name):
        return [str(name)]
    return [None] * n


def _each(attrs: dict[Any, Any], keys: tuple[str, ...], n: int, default: Any) -> list[Any]:
    """One value a band of the first attribute there is, which may hold one for all."""
    value = next((attrs[key] for key in keys if key in attrs), default)
    if isinstance(value, tuple | list | np.ndarray) and len(value) == n:
        return list(value)
    return [default if isinstance(value, tuple | list) else value] * n
