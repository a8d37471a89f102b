"""One `valid` array from nodata, NaN, alpha and masks of all used bands."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt


def find_valid(data: npt.NDArray[Any], nodata: Sequence[float | None]) -> npt.NDArray[np.bool_]:
    """Where every band is a finite number other than its nodata value.

    A nodata value of 0 in several unsigned bands marks the pixels where all of them are 0: where
    only some are, the ground is dark in those bands, such as water in near infrared.

    Args:
        data: Stored values, shape `(C, H, W)`.
        nodata: Value of each band that marks a pixel as not measured.

    Returns:
        Shape `(H, W)`.
    """
    if np.issubdtype(data.dtype, np.unsignedinteger) and all(marker == 0 for marker in nodata):
        is_nonzero: npt.NDArray[np.bool_] = data.any(axis=0)
        return is_nonzero
    valid = np.ones(data.shape[1:], bool)
    for band, marker in zip(data, nodata, strict=True):
        if np.issubdtype(data.dtype, np.inexact):
            valid &= np.isfinite(band)
        if (value := _as_stored(marker, data.dtype)) is not None:
            valid &= band != value
    return valid


def _as_stored(marker: float | None, dtype: np.dtype[Any]) -> Any:
    """A nodata value in the type of the array; None if no pixel can have it."""
    if marker is None or np.isnan(marker):
        return None
    if np.issubdtype(dtype, np.inexact):
        with np.errstate(over="ignore"):
            return dtype.type(marker)
    limits = np.iinfo(dtype)
    if not float(marker).is_integer() or not limits.min <= marker <= limits.max:
        return None
    return dtype.type(int(marker))
