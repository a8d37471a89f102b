"""From stored to physical values by scale and offset, where a task reads those; and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from geotrans.scene.base import Band

# Values beyond the range a task has seen by this share of the range are another kind of data.
_TOLERANCE = 0.25


class WantedUnits(Protocol):
    """The radiometry a task reads, such as `geotrans.tasks.BandSpec`."""

    @property
    def name(self) -> str:
        """Name by which the band is found."""

    @property
    def units(self) -> str:
        """`"dn"` or a physical unit."""

    @property
    def value_range(self) -> tuple[float, float]:
        """Smallest and largest value the network was trained for, in `units`."""


def to_units(
    data: npt.NDArray[Any], bands: Sequence[Band], wanted: Sequence[WantedUnits]
) -> npt.NDArray[np.float32]:
    """Values of each band in the units a task reads.

    Args:
        data: Stored values (dn), shape `(C, H, W)`.
        bands: The bands they come from, one a channel.
        wanted: What the task reads, one a channel; `units == "dn"` leaves a channel as stored.

    Returns:
        `dn * scale + offset` where a physical unit is wanted, else dn; shape `(C, H, W)`.
    """
    values = data.astype(np.float32)
    for channel, band, spec in zip(values, bands, wanted, strict=True):
        if spec.units != "dn" and (band.scale, band.offset) != (1.0, 0.0):
            channel *= np.float32(band.scale)
            channel += np.float32(band.offset)
    return values


def describe_foreign_values(
    data: npt.NDArray[Any],
    valid: npt.NDArray[np.bool_],
    bands: Sequence[Band],
    wanted: Sequence[WantedUnits],
    *,
    tail: float = 2,
) -> str | None:
    """Describe which band holds values unlike those of a task's range; None if all fit.

    Two percentiles are compared, which a few outliers do not move. A band far narrower than the
    range, such as 16-bit values scaled to 0..1, does not fit either.

    Args:
        data: Stored values, shape `(C, H, W)`; an overview is enough.
        valid: Which of them count, shape `(H, W)`.
        bands: The bands they come from, one a channel.
        wanted: What the task reads, one a channel.
        tail: Share of pixels at each end that may be outliers, percent.
    """
    if not valid.any():
        return None
    for channel, spec in zip(to_units(data, bands, wanted), wanted, strict=True):
        low, high = (float(v) for v in np.percentile(channel[valid], (tail, 100 - tail)))
        floor, ceiling = spec.value_range
        slack = _TOLERANCE * (ceiling - floor)
        is_outside = low < floor - slack or high > ceiling + slack
        are_fractions = ceiling - floor > 100 and floor <= low and 0 < high <= floor + 1
        if is_outside or (are_fractions and np.issubdtype(data.dtype, np.floating)):
            units = "" if spec.units == "dn" else f" {spec.units}"
            return (
                f"band {spec.name} holds values of {low:.4g} to {high:.4g}{units}, "
                f"the task has seen {floor:g} to {ceiling:g}{units}"
            )
    return None


def as_dtype(values: npt.NDArray[Any], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """Values as a raster of a type stores them; of an integer type, rounded and clipped."""
    if np.issubdtype(dtype, np.integer):
        limits = np.iinfo(dtype)
        values = np.clip(np.rint(values), limits.min, limits.max)
    return values.astype(dtype)
