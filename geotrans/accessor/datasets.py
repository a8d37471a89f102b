"""Datasets as arrays: variables that are bands, or one variable that holds them all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import xarray as xr

from geotrans.errors import SceneError
from geotrans.grid import Window
from geotrans.scene import Patch, Scene, match_bands
from geotrans.scene.array import ArrayScene
from geotrans.scene.axes import band_dim, spatial_dims
from geotrans.scene.bands import is_generic
from geotrans.scene.base import Band
from geotrans.tasks import TaskSpec


def as_scene(array: xr.DataArray | xr.Dataset) -> Scene:
    """An array or a dataset as a scene; variables are its bands."""
    if isinstance(array, xr.Dataset):
        variable = variable_with_bands(array)
        array = (
            stack_variables(array, grid_variables(array)) if variable is None else array[variable]
        )
    return MaskedScene(array) if is_masked(array) else ArrayScene(array)


def is_masked(array: xr.DataArray) -> bool:
    """Whether a coordinate says which pixels count, as products without nodata have it."""
    valid = array.coords.get("valid")
    return valid is not None and valid.dtype == bool and {*spatial_dims(array)} <= {*valid.dims}


class MaskedScene(ArrayScene):
    """A scene whose coordinate `valid` says which of its pixels count."""

    def __init__(self, array: xr.DataArray) -> None:
        super().__init__(array)
        self.info = replace(self.info, maskable=True)
        valid = self.array.coords["valid"].astype("uint8").drop_vars("valid").rename("valid")
        self._valid = ArrayScene(valid)

    def _read(self, window: Window, bands: tuple[Band, ...], out_shape: tuple[int, int]) -> Patch:
        patch = super()._read(window, bands, out_shape)
        is_valid = self._valid.read(window, out_shape=out_shape).data[0] != 0
        return Patch(patch.data, patch.valid & is_valid)


def grid_variables(dataset: xr.Dataset) -> list[str]:
    """Names of the variables that lie on the grid.

    Raises:
        SceneError: If there is none.
    """
    y_dim, x_dim = spatial_dims(dataset)
    names = [str(name) for name, var in dataset.data_vars.items() if {y_dim, x_dim} <= {*var.dims}]
    if not names:
        raise SceneError(
            f"the Dataset has variables {', '.join(map(str, dataset.data_vars)) or 'none'}, and "
            f"none with dimensions {y_dim} and {x_dim}"
        )
    return names


def variable_with_bands(dataset: xr.Dataset) -> str | None:
    """Name of the variable that holds all bands, as `xr.open_dataset` makes it; None if none does.

    Raises:
        SceneError: If several do.
    """
    names = [name for name in grid_variables(dataset) if band_dim(dataset[name]) is not None]
    if len(names) > 1:
        raise SceneError(
            f"the Dataset has several variables with bands: {', '.join(names)}; select one of them"
        )
    return names[0] if names else None


def stack_variables(dataset: xr.Dataset, names: Sequence[str]) -> xr.DataArray:
    """Variables as the bands of one array, with what they say of their values.

    Raises:
        SceneError: If they have no common nodata.
    """
    variables = [dataset[name] for name in names]
    nodata = {_comparable(var.rio.nodata) for var in variables}
    if len(nodata) > 1:
        listing = ", ".join(f"{var.name} {var.rio.nodata}" for var in variables)
        raise SceneError(
            f"the variables differ in nodata ({listing}); give them one, as with .where() and "
            ".rio.write_nodata()"
        )
    array: xr.DataArray = dataset[list(names)].to_dataarray("band", name="dataset")
    array = array.assign_coords(band=[_band_name(var) for var in variables])
    array.attrs = {
        "scales": tuple(
            _first_attr(var.attrs, ("scale_factor", "scale"), 1.0) for var in variables
        ),
        "offsets": tuple(
            _first_attr(var.attrs, ("add_offset", "offset"), 0.0) for var in variables
        ),
        "units": tuple(_first_attr(var.attrs, ("units",), "") for var in variables),
    }
    if dataset.rio.crs is not None:
        array = array.rio.write_crs(dataset.rio.crs)
    if variables[0].rio.nodata is not None:
        array = array.rio.write_nodata(variables[0].rio.nodata)
    return array


def match_variables(
    dataset: xr.Dataset, spec: TaskSpec, mapping: Mapping[str, int | str] | None
) -> list[str]:
    """Names of the variables that a task reads, in the order of its bands.

    Raises:
        BandError: If a band is missing or ambiguous.
    """
    names = grid_variables(dataset)
    positions = match_bands(ArrayScene(make_outline(dataset)), spec.source, mapping, task=spec.name)
    return [names[index - 1] for index in positions]


def make_outline(dataset: xr.Dataset) -> xr.DataArray:
    """A few pixels in the middle of a dataset, with its bands and grid and none of its values."""
    names = grid_variables(dataset)
    middle = {
        dim: slice((dataset.sizes[dim] - 1) // 2, (dataset.sizes[dim] - 1) // 2 + 2)
        for dim in spatial_dims(dataset)
    }
    pixels = dataset[names].isel(middle)
    pixels = pixels.isel({dim: 0 for dim in pixels.dims if dim not in middle}, drop=True)
    blank = {
        name: pixels[name].copy(data=np.zeros(pixels[name].shape, pixels[name].dtype))
        for name in names
    }
    array: xr.DataArray = pixels.assign(blank).to_dataarray("band", name="dataset")
    array = array.assign_coords(band=[_band_name(dataset[name]) for name in names])
    array.attrs = {}
    return array if dataset.rio.crs is None else array.rio.write_crs(dataset.rio.crs)


def _band_name(variable: xr.DataArray) -> str:
    """What a variable says it is: `band_1` of rioxarray has its name in `long_name`."""
    long_name = variable.attrs.get("long_name")
    if isinstance(long_name, str) and is_generic(str(variable.name)):
        return long_name
    return str(variable.name)


def _first_attr(attrs: Mapping[Any, Any], keys: Sequence[str], default: Any) -> Any:
    return next((attrs[key] for key in keys if key in attrs), default)


def _comparable(nodata: Any) -> Any:
    """Nodata to be compared: NaN equals no other NaN."""
    return "nan" if nodata is not None and np.isnan(nodata) else nodata
