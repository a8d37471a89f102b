"""From stored values to physical ones, scale and offset, where a task asks for them; and back."""

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
    for channel, band, want in zip(values, bands, wanted, strict=True):
        if want.units != "dn" and (band.scale, band.offset) != (1.0, 0.0):
            channel *= np.float32(band.scale)
            channel += np.float32(band.offset)
    return values


def foreign_values(
    data: npt.NDArray[Any],
    valid: npt.NDArray[np.bool_],
    bands: Sequence[Band],
    wanted: Sequence[WantedUnits],
    *,
    tail: float = 2,
) -> str | None:
    """Say which band holds values unlike those a task has seen; None if all fit.

    Compared are two percentiles, which a few odd pixels do not move. A band far
    narrower than the range, such as 16-bit values scaled to 0..1, does not fit either.

    Args:
        data: Stored values, shape `(C, H, W)`; an overview is enough.
        valid: Which of them count, shape `(H, W)`.
        bands: The bands they come from, one a channel.
        wanted: What the task reads, one a channel.
        tail: Share of pixels at each end that may be odd, percent.
    """
    if not valid.any():
        return None
    for channel, want in zip(to_units(data, bands, wanted), wanted, strict=True):
        low, high = (float(v) for v in np.percentile(channel[valid], (tail, 100 - tail)))
        floor, ceiling = want.value_range
        slack = _TOLERANCE * (ceiling - floor)
        unseen = low < floor - slack or high > ceiling + slack
        fractions = ceiling - floor > 100 and floor <= low and 0 < high <= floor + 1
        if unseen or (fractions and np.issubdtype(data.dtype, np.floating)):
            units = "" if want.units == "dn" else f" {want.units}"
            return (
                f"band {want.name} holds values of {low:.4g} to {high:.4g}{units}, "
                f"the task has seen {floor:g} to {ceiling:g}{units}"
            )
    return None


def as_dtype(values: npt.NDArray[Any], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """Values as a raster of a type stores them: of integers, rounded and within their limits."""
    if np.issubdtype(dtype, np.integer):
        limits = np.iinfo(dtype)
        values = np.clip(np.rint(values), limits.min, limits.max)
    return values.astype(dtype)
