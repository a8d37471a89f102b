"""From an array to its product: dimensions, coordinates, attributes, one step at a time."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import xarray as xr

from geotrans.accessor.datasets import (
    is_masked,
    match_variables,
    stack_variables,
    variable_with_bands,
)
from geotrans.accessor.tasks import fit_tasks
from geotrans.errors import BandError, DomainError, SceneError, UsageError, message_of, suggest
from geotrans.parts import Layout
from geotrans.runtime.gdal import quiet_gdal
from geotrans.scene import parse_mapping
from geotrans.scene.array import ArrayScene, get_array
from geotrans.scene.axes import spatial_dims, step_dims
from geotrans.tasks import Bundle, open_bundle
from geotrans.translation import Job
from geotrans.translation.lazy import eager_product, lazy_product
from geotrans.translation.options import PixelKeywords, PixelOptions, option_names, split_options
from geotrans.translation.plan import plan_job, plan_next
from geotrans.translation.tags import product_tags

Task = str | os.PathLike[str] | Bundle


class ArrayKeywords(PixelKeywords, total=False):
    """Keywords of `array.geotrans.translate`."""

    bbox: tuple[float, float, float, float] | None
    tile: int | None
    memory: int | str | None
    device: str


# What `geotrans.translate` takes that says nothing about files, processes or runs before.
_OPTIONS = ["bbox", "tile", "memory", "device", *option_names(PixelOptions)]

# Tags of the moment a file was written, which an array does not have.
_OF_FILES = ("GEOTRANS_CREATED", "GEOTRANS_NORM_STATS")


def translate_array(array: xr.DataArray, task: Task, options: ArrayKeywords) -> xr.DataArray:
    """What `array.geotrans.translate` does."""
    for name in options:
        if name not in _OPTIONS:
            raise UsageError(
                f"an array is translated with the options {', '.join(_OPTIONS)}, not '{name}'"
                f"{suggest(name, _OPTIONS)}"
            )
    _check_valid(array)
    bundle = open_bundle(task)
    steps = _Steps(bundle, options.copy())
    with quiet_gdal():
        try:
            product = _translate_steps(array, step_dims(array), steps)
        except (BandError, DomainError) as error:
            raise type(error)(message_of(error) + _suggest_others(array, bundle)) from error
    if steps.is_empty:
        raise SceneError(f"{array.name or 'array'} holds no valid pixel; nothing to translate")
    return product


def translate_dataset(dataset: xr.Dataset, task: Task, options: ArrayKeywords) -> xr.Dataset:
    """What `dataset.geotrans.translate` does."""
    bundle = open_bundle(task)
    variable_name = variable_with_bands(dataset)
    if variable_name is not None:
        return translate_array(dataset[variable_name], bundle, options).to_dataset(
            name=variable_name
        )
    bands = options.get("bands")
    mapping = parse_mapping(bands, bundle.spec.source) if isinstance(bands, str) else bands
    try:
        names = match_variables(dataset, bundle.spec, mapping)
    except BandError as error:
        raise BandError(message_of(error) + _suggest_others(dataset, bundle)) from error
    positions = {band.name: i for i, band in enumerate(bundle.spec.source, 1)}
    array = stack_variables(dataset, names)
    product = translate_array(array, bundle, {**options, "bands": positions})
    attrs = {k: v for k, v in product.attrs.items() if k != "long_name"}
    variables = product.assign_attrs(attrs).to_dataset("band")
    for name, variable in variables.data_vars.items():
        variable.attrs = {**attrs, "long_name": name}
    return variables


def _check_valid(array: xr.DataArray) -> None:
    """Refuse what a task would not see: pixels that only a coordinate marks as invalid."""
    if is_masked(array) and array.rio.nodata is None:
        raise SceneError(
            f"{array.name or 'array'} has a coordinate 'valid' and no nodata value, and a task "
            "sees only the latter; mark invalid pixels by .where(array.valid, 0)"
            ".rio.write_nodata(0), or take all of them with .drop_vars('valid')"
        )


class _Steps:
    """Translates the steps of an array, which share everything but their pixels."""

    def __init__(self, bundle: Bundle, options: ArrayKeywords) -> None:
        self._bundle, self._bbox = bundle, options.pop("bbox", None)
        pixels, self._run = split_options(options)
        # An array says its nodata itself.
        self._nodata, self._pixels = pixels.nodata, replace(pixels, nodata=None)
        self._job: Job | None = None
        self.is_empty = True

    def __call__(self, array: xr.DataArray) -> xr.DataArray:
        if self._nodata is not None:
            array = array.rio.write_nodata(self._nodata)
        scene = ArrayScene(array)
        reads = array.chunks is None
        if self._job is None:
            self._job = plan_job(
                scene, self._bundle, self._pixels, self._run, bbox=self._bbox, reads=reads
            )
        else:
            self._job = plan_next(self._job, scene, self._pixels, reads=reads)
        data, valid = self._translate(self._job, reads=reads)
        return _add_metadata(get_array(scene), self._job, data, valid)

    def _translate(self, job: Job, *, reads: bool) -> tuple[Any, Any]:
        with_valid = job.scene.maskable and job.layout.nodata is None
        if reads:
            data, valid = eager_product(job)
            self.is_empty &= not valid.any()
            return data, valid if with_valid else None
        self.is_empty = False  # Unknown before it is computed.
        return lazy_product(job, self._pixels, with_valid=with_valid)


def _translate_steps(
    array: xr.DataArray, dims: tuple[str, ...], run: Callable[[xr.DataArray], xr.DataArray]
) -> xr.DataArray:
    """One product for each position along the dimensions that are left, one after another."""
    if not dims:
        return run(array)
    dim, other_dims = dims[0], dims[1:]
    dependent = [name for name, coord in array.coords.items() if dim in coord.dims]
    products = [
        _translate_steps(array.isel({dim: i}).drop_vars(dependent), other_dims, run)
        for i in range(array.sizes[dim])
    ]
    product: xr.DataArray = xr.concat(
        products, dim, coords=[name for name in products[0].coords if name == "valid"],
        compat="override", combine_attrs="override", join="override",
    )  # fmt: skip
    coords = {
        name: array.coords[name] for name in dependent if set(array[name].dims) <= {*product.dims}
    }
    return product.assign_coords(coords)


def _add_metadata(source: xr.DataArray, job: Job, data: Any, valid: Any) -> xr.DataArray:
    """Pixels with names, coordinates and attributes, as rioxarray gives them to a file."""
    y_dim, x_dim = spatial_dims(source)
    bands = [band.name for band in job.layout.bands]
    product: xr.DataArray = xr.DataArray(
        data,
        dims=("band", y_dim, x_dim),
        coords={**_product_coords(source, job), "band": bands},
        name=job.spec.name,
        attrs=_product_attrs(job),
    )
    if valid is not None:
        product = product.assign_coords(valid=((y_dim, x_dim), valid))
    product.rio.write_transform(job.geobox.affine, inplace=True)
    if job.scene.crs_wkt:
        product.rio.write_crs(job.scene.crs_wkt, inplace=True)
    if job.layout.nodata is not None:
        product.rio.write_nodata(job.layout.nodata, inplace=True)
    return product


def _product_coords(source: xr.DataArray, job: Job) -> dict[str, Any]:
    """The source's own where the grid is the same: new ones could differ in the last bit."""
    y_dim, x_dim = spatial_dims(source)
    rows, cols = job.plan.area.slices
    part = source.isel({y_dim: rows, x_dim: cols})
    inner = {y_dim, x_dim} if job.layout.scale == 1 else set()
    coords = {
        str(name): coord
        for name, coord in part.coords.items()
        if set(coord.dims) <= inner and name != source.dims[0]
    }
    affine = job.geobox.affine
    if job.layout.scale > 1 and x_dim in source.coords and not (affine.b or affine.d):
        height, width = job.geobox.shape
        coords[y_dim] = (y_dim, affine.f + affine.e * (np.arange(height) + 0.5))
        coords[x_dim] = (x_dim, affine.c + affine.a * (np.arange(width) + 0.5))
    return coords


def _product_attrs(job: Job) -> dict[str, Any]:
    """The tags of a product, and what rioxarray makes of a file's bands."""
    kind = job.scene.identity.kind.upper()
    tags = {
        name: value
        for name, value in product_tags(job).items()
        # The token of an array identifies how it was made, down to its chunks, not its content.
        if name not in (*_OF_FILES, f"GEOTRANS_SOURCE_{kind}")
    }
    return {**tags, **_band_attrs(job.layout)}


def _band_attrs(layout: Layout) -> dict[str, Any]:
    bands = layout.bands
    scales, offsets = tuple(b.scale for b in bands), tuple(b.offset for b in bands)
    names, units = tuple(b.name for b in bands), tuple(b.units or "" for b in bands)
    attrs: dict[str, Any] = {
        "scale_factor" if len({*scales}) == 1 else "scales": _common_value(scales),
        "add_offset" if len({*offsets}) == 1 else "offsets": _common_value(offsets),
        "long_name": _common_value(names),
    }
    if any(units):
        attrs["units"] = units if len(units) > 1 else units[0]
    if layout.classes is not None:  # As CF writes classes and GDAL reads them.
        attrs["flag_values"] = list(range(len(layout.classes)))
        attrs["flag_meanings"] = " ".join(item.name.replace(" ", "_") for item in layout.classes)
        attrs["flag_colors"] = " ".join(
            "#{:02x}{:02x}{:02x}".format(*item.color) for item in layout.classes
        )
    return attrs


def _common_value(values: tuple[Any, ...]) -> Any:
    """The value that all share, else all of them."""
    return values[0] if len({*values}) == 1 else values


def _suggest_others(array: xr.DataArray | xr.Dataset, bundle: Bundle) -> str:
    """What else could be done with the array."""
    fits = fit_tasks(array)
    names = [fit.name for fit in fits if fit.fits and fit.name != bundle.spec.name]
    message = (
        f"tasks that fit this array: {', '.join(names)}"
        if names
        else "no shipped task fits as it is"
    )
    return f"; {message}; .geotrans.tasks() says why others do not"
