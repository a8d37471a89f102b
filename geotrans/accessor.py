"""The xarray door: `array.geotrans.translate(task="map2aerial")`.

Importing this module registers the accessor; `import geotrans` does so where xarray came first.
"""

from __future__ import annotations

import os
from typing import Any

import xarray as xr


@xr.register_dataarray_accessor("geotrans")  # type: ignore[no-untyped-call]  # xarray types it not
class GeotransAccessor:
    """What geotrans does with a `DataArray` that has spatial dimensions.

    Args:
        array: The scene, as rioxarray and odc-stac make them.
    """

    def __init__(self, array: xr.DataArray) -> None:
        self._array = array

    def translate(self, *, task: str | os.PathLike[str], **choices: Any) -> xr.DataArray:
        """Translate the scene lazily: but for a few samples, nothing is read before the result is.

        Args:
            task: Name of a task, or a bundle file.
            **choices: As for `geotrans.translate`, but for those about files and processes.

        Returns:
            The product on the same grid, in Dask chunks of one tile each, with the names of its
            bands. Invalid pixels are False in its coordinate `valid`.
        """
        import rioxarray  # noqa: F401  registers the `.rio` accessor

        from geotrans.mosaicking.graph import lazy_product
        from geotrans.pipeline import plan_job
        from geotrans.scene import open_scene
        from geotrans.tasks import load_bundle

        job = plan_job(open_scene(self._array), load_bundle(task), **choices)
        data, valid = lazy_product(job)
        y_dim, x_dim = self._array.rio.y_dim, self._array.rio.x_dim
        rows, cols = job.plan.area.slices
        cut = self._array.isel({y_dim: rows, x_dim: cols})
        # The source's own coordinates: new ones could differ in the last bit and no longer align.
        coords = {
            name: coord
            for name, coord in cut.coords.items()
            if set(coord.dims) <= ({y_dim, x_dim} if job.layout.scale == 1 else set())
            and name != "band"
        }
        product: xr.DataArray = xr.DataArray(
            data,
            dims=("band", y_dim, x_dim),
            coords={**coords, "band": [band.name for band in job.layout.bands]},
            name=job.spec.name,
        )
        product = product.assign_coords(valid=((y_dim, x_dim), valid))
        product.rio.write_transform(job.geobox.affine, inplace=True)
        if job.scene.crs_wkt:
            product.rio.write_crs(job.scene.crs_wkt, inplace=True)
        if job.layout.nodata is not None:
            product.rio.write_nodata(job.layout.nodata, inplace=True)
        return product
