"""The xarray accessor: `array.geotrans.translate("map2aerial")`.

Importing this module registers the accessor, as `import rioxarray` does its own.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

import xarray as xr

if TYPE_CHECKING:
    from collections.abc import Mapping

    from geotrans.accessor.tasks import TaskFits
    from geotrans.accessor.translate import ArrayKeywords
    from geotrans.evaluation import Evaluation
    from geotrans.product.preview import Picture
    from geotrans.tasks import Bundle


class _Accessor[Array: (xr.DataArray, xr.Dataset)]:
    """What geotrans does with an array that has spatial dimensions.

    Args:
        array: The scene, as rioxarray and odc-stac make them.
    """

    def __init__(self, array: Array) -> None:
        self._array: Array = array

    def tasks(self) -> TaskFits:
        """The shipped tasks, and whether bands and pixel size of this array fit them.

        Returns:
            A table with the reason for each task that does not; nothing is read.
        """
        from geotrans.accessor.tasks import fit_tasks

        return fit_tasks(self._array)

    def preview(self, *, max_px: int = 512) -> Picture:
        """A small picture of the array; reads one pixel in every cell of it.

        Args:
            max_px: Longer edge of the picture, px.
        """
        from geotrans.accessor.datasets import as_scene
        from geotrans.product.preview import show_side_by_side

        return show_side_by_side([as_scene(self._array)], max_px=max_px)

    def compare(self, *others: xr.DataArray | xr.Dataset, max_px: int = 512) -> Picture:
        """This array and others side by side, in one stretch where they hold the same type.

        Args:
            *others: Arrays to look at beside it, such as its product and the truth.
            max_px: Longer edge of each picture, px.
        """
        from geotrans.accessor.datasets import as_scene
        from geotrans.product.preview import show_side_by_side

        return show_side_by_side(
            [as_scene(array) for array in (self._array, *others)], max_px=max_px
        )

    def evaluate(
        self,
        target: xr.DataArray | xr.Dataset,
        *,
        square: int = 256,
        resampling: str = "nearest",
        device: str = "auto",
    ) -> Evaluation:
        """Score the array, such as a product, against the truth, as `geotrans evaluate` does.

        The truth's grid is the common one, and is cut into squares that are scored like places:
        the intervals say how much scores differ within the scene, and nothing of other scenes.
        Pixels count that are valid in both. Photographs are scored by PSNR, SSIM, SAM, ERGAS,
        colour and kernel distance, maps of classes by palette accuracy and IoU, both by the shift
        of their edges. Lazy arrays are computed by the scheduler of the session where both lie,
        and held in memory.

        Args:
            target: The truth, with the bands of this array or more, stored in the same type; or
                classes of the same names.
            square: Edge of a square, px of the truth; a little more or less, so that all are alike.
            resampling: Kernel for an array on another grid than the truth: nearest, bilinear,
                cubic, cubic_spline, lanczos, average.
            device: Where features are computed: `"auto"`, `"cpu"` or `"cuda"`.

        Returns:
            The scores; `.table()` gives them square by square as geodata. A lazy product on the
            grid of the truth is also looked at for seams, along its chunks.

        Raises:
            SceneError: If they do not overlap, or no pixel is valid in both.
            BandError: If bands or types do not fit each other.
            DomainError: If both are maps of different classes.

        Examples:
            >>> import geotrans.accessor, rioxarray
            >>> town = rioxarray.open_rasterio(geotrans.sample_files("town")[0], chunks=256)
            >>> town = town[:, :256, :256]
            >>> aerial = town.geotrans.translate("map2aerial", seed=1)
            >>> again = aerial.geotrans.translate("aerial2map").geotrans.evaluate(town)
            >>> again.scores["iou_street"].interval.value > 0.5
            True
        """
        from geotrans.accessor.evaluate import evaluate_array

        return evaluate_array(
            self._array, target, square=square, resampling=resampling, device=device
        )

    def to_cog(
        self,
        path: str | os.PathLike[str],
        *,
        overwrite: bool = False,
        creation_options: Mapping[str, str] | None = None,
    ) -> Path:
        """Write a cloud-optimised GeoTIFF with the tags of a product, if it is one.

        A lazy array is computed by the scheduler of the session, a row of chunks at a time. The
        file appears whole or not at all.

        Args:
            path: File to write; must end in `.tif`.
            overwrite: Replace an existing file.
            creation_options: Options of GDAL's COG driver.

        Returns:
            The file.

        Raises:
            OutputError: If it cannot be written there.
            SceneError: If the array is more than one scene, or holds no valid pixel.
        """
        from geotrans.accessor.datasets import as_scene
        from geotrans.accessor.to_cog import save_cog

        return save_cog(
            as_scene(self._array), path, overwrite=overwrite, creation_options=creation_options
        )


@xr.register_dataarray_accessor("geotrans")  # type: ignore[no-untyped-call]  # xarray types it not
class DataArrayAccessor(_Accessor[xr.DataArray]):
    """What geotrans does with a `DataArray`: bands along a dimension, or a single one."""

    def translate(
        self, task: str | os.PathLike[str] | Bundle, **options: Unpack[ArrayKeywords]
    ) -> xr.DataArray:
        """Translate the scene: lazily if the array is lazy, at once if it is in memory.

        Of a lazy (Dask-backed) array nothing is read before the result is computed, whatever its
        chunks; values unlike those the task has seen are then refused block by block, and a network
        with instance norm reads its samples of the scene with the first block. An array without a
        valid pixel is refused, and a lazy one gives a product without any, which `to_cog` refuses.
        Steps along other dimensions, such as time, are translated one by one.

        Args:
            task: Name of a task, or a bundle.
            **options: As for `geotrans.translate`, but for those about files and processes.

        Returns:
            The product on the same grid, dimensions `(..., band, y, x)`, in chunks of a tile each
            if it is lazy, with band names, nodata and the tags of a product. Where there is no
            nodata, invalid pixels are False in its coordinate `valid`.

        Examples:
            >>> import geotrans.accessor, rioxarray
            >>> town = rioxarray.open_rasterio(geotrans.sample_files("town")[0], chunks=512)
            >>> aerial = town.geotrans.translate("map2aerial", seed=1)
            >>> aerial.shape, list(aerial["band"].values), aerial.attrs["GEOTRANS_SYNTHETIC"]
            ((3, 900, 1200), ['red', 'green', 'blue'], 'YES')
        """
        from geotrans.accessor.translate import translate_array

        return translate_array(self._array, task, options)


@xr.register_dataset_accessor("geotrans")  # type: ignore[no-untyped-call]  # xarray types it not
class DatasetAccessor(_Accessor[xr.Dataset]):
    """What geotrans does with a `Dataset`: its variables are bands, or one of them has bands."""

    def translate(
        self, task: str | os.PathLike[str] | Bundle, **options: Unpack[ArrayKeywords]
    ) -> xr.Dataset:
        """Translate the scene, as `DataArray.geotrans.translate` does.

        Args:
            task: Name of a task, or a bundle.
            **options: As for `geotrans.translate`, but for those about files and processes.

        Returns:
            A variable for each band of the product; or, if one variable holds all bands, one named
            like it.
        """
        from geotrans.accessor.translate import translate_dataset

        return translate_dataset(self._array, task, options)
