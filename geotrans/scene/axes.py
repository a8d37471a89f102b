"""Dimensions of a `DataArray` and the grid of its coordinates."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from affine import Affine

from geotrans.errors import SceneError

if TYPE_CHECKING:
    import xarray as xr

# Names of a dimension that runs over bands, in the order they are believed.
_BAND_DIMS = ("band", "bands", "variable", "channel", "wavelength")

# Largest deviation of a coordinate from an even spacing, px.
_SPACING_TOLERANCE = 0.05


def spatial_dims(array: xr.DataArray | xr.Dataset) -> tuple[str, str]:
    """Names of the y and x dimensions, found by name, never by order.

    Raises:
        SceneError: If there are no two such dimensions.
    """
    import rioxarray  # noqa: F401  registers the `.rio` accessor
    from odc.geo.xr import spatial_dims as dims_by_name
    from rioxarray.exceptions import MissingSpatialDimensionError

    try:
        return str(array.rio.y_dim), str(array.rio.x_dim)
    except MissingSpatialDimensionError as error:
        dims = dims_by_name(array)
        if dims is not None:
            return str(dims[0]), str(dims[1])
        raise SceneError(
            f"the array has dimensions {', '.join(map(str, array.dims))}, and none of them says "
            "that it is y or x; rename two of them to y and x, as in .rename(a='y', b='x')"
        ) from error


def band_dim(array: xr.DataArray) -> str | None:
    """Name of the band dimension: by its name, or the only one that remains."""
    y_dim, x_dim = spatial_dims(array)
    others = [str(dim) for dim in array.dims if dim not in (y_dim, x_dim)]
    for dim in _BAND_DIMS:
        if dim in others:
            return dim
    candidates = [dim for dim in others if array.sizes[dim] > 1 and not _is_time(array, dim)]
    return candidates[0] if len(candidates) == 1 else None


def step_dims(array: xr.DataArray) -> tuple[str, ...]:
    """Names of the dimensions along which an array is one scene after another, such as time."""
    inner = (*spatial_dims(array), band_dim(array))
    return tuple(str(dim) for dim in array.dims if dim not in inner)


def as_scene_dims(array: xr.DataArray) -> xr.DataArray:
    """The array with dimensions `(band, y, x)`.

    Raises:
        SceneError: If it is more than one scene, or none.
    """
    dim, steps = band_dim(array), step_dims(array)
    longer = [step for step in steps if array.sizes[step] != 1]
    if longer:
        sizes = ", ".join(f"{step} ({array.sizes[step]})" for step in longer)
        raise SceneError(f"the DataArray is more than one scene along {sizes}; select one of each")
    if empty_dims := [str(step) for step in array.dims if array.sizes[step] == 0]:
        raise SceneError(
            f"the DataArray holds nothing along {', '.join(empty_dims)}; select what the scene has"
        )
    array = array.squeeze(steps, drop=True)
    if dim is None:
        dim = "band"
        array = array.expand_dims(dim)
    return array.transpose(dim, *spatial_dims(array))


def read_transform(array: xr.DataArray) -> tuple[Affine, list[str]]:
    """The pixel-to-CRS transform, and notes on what is unusual about it.

    Raises:
        SceneError: If a coordinate is not in order or not evenly spaced.
    """
    notes = []
    y_dim, x_dim = spatial_dims(array)
    if x_dim in array.coords and y_dim in array.coords:
        col_step, left = _measure_spacing(array, x_dim)
        row_step, top = _measure_spacing(array, y_dim)
        transform = Affine(col_step, 0.0, left, 0.0, row_step, top)
        stored = _read_stored_transform(array)
        # The file's own numbers, unless they are those of another part of it.
        if stored is not None and (
            stored.b
            or stored.d
            or _are_equal_at_corners(stored, transform, (array.sizes[x_dim], array.sizes[y_dim]))
        ):
            transform = stored
    elif (stored := _read_stored_transform(array)) is not None:
        transform = stored
    else:
        notes.append("no coordinates: its pixels are counted from the first one")
        transform = Affine.identity()
    if transform.b or transform.d:
        notes.append("rotated grid: translated on its own pixels, never warped")
    return transform, notes


def _is_time(array: xr.DataArray, dim: str) -> bool:
    return dim == "time" or np.issubdtype(array[dim].dtype, np.datetime64)


def _are_equal_at_corners(first: Affine, second: Affine, corner: tuple[int, int]) -> bool:
    """Whether two transforms agree on the first and the last pixel."""
    corners = np.array([(0, 0), corner], np.float64)
    positions = [~second @ (first @ tuple(end)) for end in corners]
    return bool(np.abs(np.array(positions) - corners).max() < _SPACING_TOLERANCE)


def _read_stored_transform(array: xr.DataArray) -> Affine | None:
    """The transform in the `GeoTransform` attribute that rioxarray writes."""
    mapping = array.rio.grid_mapping
    text = array[mapping].attrs.get("GeoTransform") if mapping in array.coords else None
    return None if text is None else Affine.from_gdal(*map(float, str(text).split()))


def _measure_spacing(array: xr.DataArray, dim: str) -> tuple[float, float]:
    """Step between pixels and the outer edge of the first, in CRS units."""
    centres = np.asarray(array[dim].values, np.float64)
    if len(centres) == 1:
        stored = _read_stored_transform(array)
        resolution = (1.0, -1.0) if stored is None else (stored.a, stored.e)
        step = resolution[0] if dim == spatial_dims(array)[1] else resolution[1]
        return step, float(centres[0]) - step / 2
    step = float(centres[-1] - centres[0]) / (len(centres) - 1)
    expected = centres[0] + step * np.arange(len(centres))
    if step and np.abs(centres - expected).max() <= _SPACING_TOLERANCE * abs(step):
        return step, float(centres[0] - step / 2)
    raise SceneError(_describe_uneven(centres, dim))


def _describe_uneven(centres: np.ndarray, dim: str) -> str:
    """The message on which value of a coordinate breaks its even spacing."""
    missing = np.flatnonzero(~np.isfinite(centres))
    if missing.size:
        return f"coordinate {dim} of the DataArray is {centres[missing[0]]} at index {missing[0]}"
    steps = np.diff(centres)
    median = float(np.median(steps))
    reversals = np.flatnonzero(np.sign(steps) != np.sign(median if median else 1.0))
    if reversals.size:
        i = int(reversals[0])
        if steps[i] == 0:
            return (
                f"coordinate {dim} of the DataArray is {centres[i]:.10g} at index {i} and at index "
                f"{i + 1}; give every pixel a place of its own"
            )
        return (
            f"coordinate {dim} of the DataArray is not sorted: {centres[i + 1]:.10g} follows "
            f"{centres[i]:.10g} at index {i + 1}; sort it with .sortby('{dim}')"
        )
    i = int(np.abs(steps - median).argmax())
    return (
        f"coordinate {dim} of the DataArray is not evenly spaced: a step of {steps[i]:.6g} at "
        f"index {i + 1}, {median:.6g} elsewhere; resample it to a grid first, as "
        ".rio.reproject does"
    )
