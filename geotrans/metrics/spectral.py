"""Similarity of two stacks of spectra: SAM and ERGAS, one value per image."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from geotrans.metrics.checks import BoolArray, FloatArray
from geotrans.metrics.image import score_per_image

if TYPE_CHECKING:
    from torch import Tensor


def sam(
    images: npt.NDArray[Any], target: npt.NDArray[Any], *, valid: BoolArray | None = None
) -> FloatArray:
    """Spectral angle: mean over valid pixels of the angle between two spectra, degrees.

    Brightness does not count. A pixel that is 0 in all bands has no direction and is left out.

    Args:
        images: `(N, C, H, W)`, two bands or more.
        target: The truth, same shape.
        valid: Pixels to compare, `(N, H, W)`; all unless given.

    Returns:
        One value per image, `(N,)`.

    References:
        Kruse et al., "The Spectral Image Processing System", RSE 44 (1993).
    """
    from torchmetrics.functional.image import spectral_angle_mapper

    def score(image: Tensor, truth: Tensor) -> Tensor:
        return spectral_angle_mapper(image, truth, reduction="none").nanmean()

    return np.rad2deg(score_per_image(score, images, target, valid=valid))


def ergas(
    images: npt.NDArray[Any],
    target: npt.NDArray[Any],
    *,
    ratio: float = 1,
    valid: BoolArray | None = None,
) -> FloatArray:
    """Relative error over all bands, per cent of each band's mean, 0 for equal images.

    Args:
        images: `(N, C, H, W)`.
        target: The truth, same shape, no band of mean 0.
        ratio: Pixel size of the source over that of the target.
        valid: Pixels to compare, `(N, H, W)`; all unless given.

    Returns:
        One value per image, `(N,)`.

    References:
        Wald, "Data Fusion: Definitions and Architectures" (2002), section 8.
    """
    from torchmetrics.functional.image import error_relative_global_dimensionless_synthesis

    def score(image: Tensor, truth: Tensor) -> Tensor:
        return error_relative_global_dimensionless_synthesis(image, truth, ratio=ratio)

    return score_per_image(score, images, target, valid=valid)
