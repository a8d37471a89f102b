"""Checks of the arrays that metrics compare."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from geotrans.errors import UsageError

BoolArray = npt.NDArray[np.bool_]
FloatArray = npt.NDArray[np.float64]

# Rec. 601, on stored values: the luma of a grey-scale copy.
_LUMA = np.array([0.299, 0.587, 0.114])


def check_same_shape(images: npt.NDArray[Any], target: npt.NDArray[Any]) -> None:
    """Check that two arrays have one shape."""
    if images.shape != target.shape:
        raise UsageError(
            f"asked to compare arrays of shape {images.shape} and {target.shape}; "
            "they must be of one shape"
        )


def check_stack(images: npt.NDArray[Any], *, channels: int | None = None) -> None:
    """Check that images are `(N, C, H, W)`, with `channels` channels if given."""
    if images.ndim != 4 or channels not in (None, images.shape[1]):
        raise UsageError(f"asked for images (N, {channels or 'C'}, H, W), found {images.shape}")


def as_valid(valid: BoolArray | None, shape: tuple[int, ...]) -> BoolArray:
    """Pixels to compare, `(..., H, W)`; all of them unless given."""
    if valid is None:
        return np.ones(shape, np.bool_)
    return np.broadcast_to(np.asarray(valid, np.bool_), shape)


def compute_luma(images: npt.NDArray[Any]) -> FloatArray:
    """Luma of red, green, blue images, `(..., 3, H, W)` to `(..., H, W)`, in grey levels."""
    weighted: FloatArray = np.einsum("c,...chw->...hw", _LUMA, images)
    return weighted
