"""Layout of the pixels of a product: bands, type, nodata, classes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from geotrans.errors import UsageError, option
from geotrans.scene import Patch, Scene
from geotrans.tasks.spec import PaletteClass, TaskSpec

As = Literal["rgb", "classes"]

_COLORS = ("red", "green", "blue")


@dataclass(frozen=True)
class LayoutBand:
    """One band of a product.

    Attributes:
        name: Its description.
        colorinterp: GDAL colour interpretation.
        scale: Factor from stored to physical value.
        offset: Added after scaling.
        units: Unit of the physical value, if it has one.
    """

    name: str
    colorinterp: str = "undefined"
    scale: float = 1.0
    offset: float = 0.0
    units: str | None = None


@dataclass(frozen=True)
class Layout:
    """What the pixels of a product are.

    Attributes:
        bands: Bands in the order of the product.
        dtype: Type of the stored values.
        nodata: Value of invalid pixels; None if only a mask marks them.
        classes: Classes by value, if the pixels are classes.
        scale: Product px per scene px.
    """

    bands: tuple[LayoutBand, ...]
    dtype: str
    nodata: float | None = None
    classes: tuple[PaletteClass, ...] | None = None
    scale: int = 1

    @property
    def bytes_per_px(self) -> int:
        """Bytes of one pixel, all bands."""
        return len(self.bands) * np.dtype(self.dtype).itemsize

    def to_dict(self) -> dict[str, Any]:
        """The same, for JSON."""
        text = json.dumps(asdict(self), default=lambda item: item.model_dump())
        fields: dict[str, Any] = json.loads(text)
        return fields

    def apply_nodata(self, data: npt.NDArray[Any], valid: npt.NDArray[np.bool_]) -> Patch:
        """Convert pixels to stored values: invalid ones hold nodata and no valid one does.

        A valid value that happens to equal nodata moves by the smallest step its type knows, as
        in `gdalwarp`; otherwise it would be lost for every reader.

        Args:
            data: Pixels, shape `(C, H, W)`; changed in place.
            valid: Valid pixels of the scene, at its size.
        """
        if self.scale > 1:
            valid = valid.repeat(self.scale, axis=0).repeat(self.scale, axis=1)
        data = np.ascontiguousarray(data, self.dtype)
        nodata = data.dtype.type(0 if self.nodata is None else self.nodata)
        if self.nodata is not None:
            data[data == nodata] = _next_value(nodata)
        if not valid.all():
            data[:, ~valid] = nodata
        return Patch(data, valid)


def product_layout(
    spec: TaskSpec, scene: Scene, bands: tuple[int, ...], *, as_: As = "rgb"
) -> Layout:
    """Layout of the product of a task and a scene.

    Args:
        spec: The task.
        scene: The scene.
        bands: Positions of the bands the task reads.
        as_: `"classes"` for one band of class numbers, where the task has a palette.

    Raises:
        UsageError: If classes are asked of a task that has none.
    """
    if as_ == "classes":
        if spec.palette is None:
            raise UsageError(
                f"task '{spec.name}' makes no map, so it has no classes; use {option('as_', 'rgb')}"
            )
        band = LayoutBand("class", "palette")
        return Layout((band,), "uint8", classes=spec.palette, scale=spec.scale)
    dtypes = {str(scene.dtype) if b.dtype == "source" else b.dtype for b in spec.target}
    source_bands = {
        spec_band.name: band
        for spec_band, band in zip(spec.source, scene.select(bands), strict=True)
    }
    layout_bands = []
    for target, color in zip(
        spec.target, guess_color_names([b.name for b in spec.target]), strict=True
    ):
        source = source_bands.get(target.name)
        if target.dtype == "source" and source is not None:
            # Stored values of the same kind as the source's mean the same.
            band = LayoutBand(
                source.name or target.name, color, source.scale, source.offset, source.units
            )
        else:
            units = None if target.units == "dn" else target.units
            band = LayoutBand(target.name, color, units=units)
        layout_bands.append(band)
    return Layout(
        tuple(layout_bands),
        str(np.result_type(*dtypes)),
        scene.nodata if spec.nodata == "source" else spec.nodata,
        scale=spec.scale,
    )


def guess_color_names(names: Sequence[str]) -> list[str]:
    """Colour interpretation of bands by name; GeoTIFF knows colours only as the first three."""
    if tuple(names[:3]) == _COLORS:
        return [*_COLORS, *("undefined" for _ in names[3:])]
    return ["gray" if i == 0 else "undefined" for i in range(len(names))]


def _next_value(value: Any) -> Any:
    """The value of the same type next to `value`, upwards if there is one."""
    dtype = np.asarray(value).dtype
    if np.issubdtype(dtype, np.inexact):
        return value if np.isnan(value) else np.nextafter(value, dtype.type(np.inf))
    return value + dtype.type(1) if value < np.iinfo(dtype).max else value - dtype.type(1)
