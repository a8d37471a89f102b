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
        whole = variable_with_bands(array)
        array = stack(array, layers(array)) if whole is None else array[whole]
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
        seen = self.array.coords["valid"].astype("uint8").drop_vars("valid").rename("valid")
        self._valid = ArrayScene(seen)

    def _read(self, window: Window, bands: tuple[Band, ...], out_shape: tuple[int, int]) -> Patch:
        patch = super()._read(window, bands, out_shape)
        seen = self._valid.read(window, out_shape=out_shape).data[0] != 0
        return Patch(patch.data, patch.valid & seen)


def layers(dataset: xr.Dataset) -> list[str]:
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
    found = [name for name in layers(dataset) if band_dim(dataset[name]) is not None]
    if len(found) > 1:
        raise SceneError(
            f"the Dataset has several variables with bands: {', '.join(found)}; select one of them"
        )
    return found[0] if found else None


def stack(dataset: xr.Dataset, names: Sequence[str]) -> xr.DataArray:
    """Variables as the bands of one array, with what they say of their values.

    Raises:
        SceneError: If they have no common nodata.
    """
    chosen = [dataset[name] for name in names]
    nodata = {_comparable(var.rio.nodata) for var in chosen}
    if len(nodata) > 1:
        told = ", ".join(f"{var.name} {var.rio.nodata}" for var in chosen)
        raise SceneError(
            f"the variables differ in nodata ({told}); give them one, as with .where() and "
            ".rio.write_nodata()"
        )
    array: xr.DataArray = dataset[list(names)].to_dataarray("band", name="dataset")
    array = array.assign_coords(band=[_name(var) for var in chosen])
    array.attrs = {
        "scales": tuple(_first(var.attrs, ("scale_factor", "scale"), 1.0) for var in chosen),
        "offsets": tuple(_first(var.attrs, ("add_offset", "offset"), 0.0) for var in chosen),
        "units": tuple(_first(var.attrs, ("units",), "") for var in chosen),
    }
    if dataset.rio.crs is not None:
        array = array.rio.write_crs(dataset.rio.crs)
    if chosen[0].rio.nodata is not None:
        array = array.rio.write_nodata(chosen[0].rio.nodata)
    return array


def variables_of(
    dataset: xr.Dataset, spec: TaskSpec, mapping: Mapping[str, int | str] | None
) -> list[str]:
    """Names of the variables that a task reads, in the order of its bands.

    Raises:
        BandError: If a band is missing or ambiguous.
    """
    names = layers(dataset)
    found = match_bands(ArrayScene(outline(dataset)), spec.source, mapping, task=spec.name)
    return [names[index - 1] for index in found]


def outline(dataset: xr.Dataset) -> xr.DataArray:
    """A few pixels in the middle of a dataset, with its bands and grid and none of its values."""
    names = layers(dataset)
    middle = {
        dim: slice((dataset.sizes[dim] - 1) // 2, (dataset.sizes[dim] - 1) // 2 + 2)
        for dim in spatial_dims(dataset)
    }
    few = dataset[names].isel(middle)
    few = few.isel({dim: 0 for dim in few.dims if dim not in middle}, drop=True)
    blank = {
        name: few[name].copy(data=np.zeros(few[name].shape, few[name].dtype)) for name in names
    }
    array: xr.DataArray = few.assign(blank).to_dataarray("band", name="dataset")
    array = array.assign_coords(band=[_name(dataset[name]) for name in names])
    array.attrs = {}
    return array if dataset.rio.crs is None else array.rio.write_crs(dataset.rio.crs)


def _name(variable: xr.DataArray) -> str:
    """What a variable says it is: `band_1` of rioxarray has its name in `long_name`."""
    long_name = variable.attrs.get("long_name")
    if isinstance(long_name, str) and is_generic(str(variable.name)):
        return long_name
    return str(variable.name)


def _first(attrs: Mapping[Any, Any], keys: Sequence[str], default: Any) -> Any:
    return next((attrs[key] for key in keys if key in attrs), default)


def _comparable(nodata: Any) -> Any:
    """Nodata to be compared: NaN equals no other NaN."""
    return "nan" if nodata is not None and np.isnan(nodata) else nodata
