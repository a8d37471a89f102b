"""Similarity of two stacks of images, pixel by pixel: PSNR, SSIM, colour error.

Every function gives one value per image, NaN where an image has no valid pixel, for
`interval.mean`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from geotrans.errors import UsageError
from geotrans.metrics.checks import BoolArray, FloatArray, as_valid, check_same_shape, check_stack

if TYPE_CHECKING:
    from torch import Tensor

# Window of SSIM: 3.5 standard deviations of 1.5 px to each side.
_SSIM_RADIUS = 5

# Linear sRGB to XYZ under D65 (IEC 61966-2-1), each row divided by the white point.
_RGB_TO_XYZ = np.array(
    [
        [0.4124564, 0.3575761, 0.1804375],
        [0.2126729, 0.7151522, 0.0721750],
        [0.0193339, 0.1191920, 0.9503041],
    ]
)
_RGB_TO_XYZ /= _RGB_TO_XYZ.sum(1, keepdims=True)


def psnr(
    images: npt.NDArray[Any],
    target: npt.NDArray[Any],
    *,
    data_range: float = 255,
    valid: BoolArray | None = None,
) -> FloatArray:
    """Peak signal-to-noise ratio over all channels of valid pixels, dB.

    Args:
        images: `(N, C, H, W)`.
        target: The truth, same shape.
        data_range: Distance from the least to the greatest possible value.
        valid: Pixels to compare, `(N, H, W)`; all unless given.

    Returns:
        One value per image, `(N,)`, infinite for equal images.
    """
    from torchmetrics.functional.image import peak_signal_noise_ratio

    def score_image(image: Tensor, truth: Tensor) -> Tensor:
        return peak_signal_noise_ratio(image, truth, data_range=data_range)

    return score_per_image(score_image, images, target, valid=valid)


def pooled_psnr(values: FloatArray) -> float:
    """PSNR of a set of equally large images taken as one, from the PSNR of each."""
    return float(-10 * np.log10(np.mean(10 ** (-np.asarray(values) / 10))))


def ssim(
    images: npt.NDArray[Any],
    target: npt.NDArray[Any],
    *,
    data_range: float = 255,
    valid: BoolArray | None = None,
) -> FloatArray:
    """Structural similarity, mean over channels and over pixels whose window is wholly valid.

    Args:
        images: `(N, C, H, W)`, at least 6 px high and wide.
        target: The truth, same shape.
        data_range: Distance from the least to the greatest possible value.
        valid: Pixels to compare, `(N, H, W)`; all unless given.

    Returns:
        One value per image, `(N,)`.
    """
    import torch
    from torch.nn import functional as F
    from torchmetrics.functional.image import structural_similarity_index_measure

    check_stack(images)
    check_same_shape(images, target)
    if min(images.shape[2:]) <= _SSIM_RADIUS:
        raise UsageError(f"SSIM asks for more than {_SSIM_RADIUS} px a side, found {images.shape}")
    valid = as_valid(valid, (len(images), *images.shape[2:]))
    scores = np.full(len(images), np.nan)
    for n, is_valid in enumerate(valid):
        # Values of invalid pixels, which may be NaN, must not enter the sums of others.
        image, truth = (
            torch.from_numpy(np.where(is_valid, side[n], 0).astype(np.float64))[None]
            for side in (images, target)
        )
        _, full = structural_similarity_index_measure(
            image, truth, data_range=data_range, return_full_image=True
        )
        invalid = torch.from_numpy(~is_valid).float()[None, None]
        size = 2 * _SSIM_RADIUS + 1
        is_window_valid = F.max_pool2d(invalid, size, stride=1, padding=_SSIM_RADIUS)[0, 0] == 0
        if is_window_valid.any():
            scores[n] = float(full[0][:, is_window_valid].mean())
    return scores


def chroma_error(
    images: npt.NDArray[np.uint8], target: npt.NDArray[np.uint8], *, valid: BoolArray | None = None
) -> FloatArray:
    """Mean distance in the a, b plane of CIELAB: colour error without lightness.

    Args:
        images: Red, green, blue as sRGB, `(N, 3, H, W)` uint8.
        target: The truth, same shape.
        valid: Pixels to compare, `(N, H, W)`; all unless given.

    Returns:
        One value per image, `(N,)`; 2 is a just noticeable difference.
    """
    check_stack(images, channels=3)
    check_same_shape(images, target)
    valid = as_valid(valid, (len(images), *images.shape[2:]))
    scores = np.full(len(images), np.nan)
    for n, is_valid in enumerate(valid):
        difference = rgb_to_lab(images[n])[1:] - rgb_to_lab(target[n])[1:]
        if is_valid.any():
            scores[n] = np.hypot(*difference)[is_valid].mean()
    return scores


def rgb_to_lab(images: npt.NDArray[np.uint8]) -> FloatArray:
    """CIELAB (D65) of sRGB images, `(..., 3, H, W)` uint8 to the same shape: L, a, b.

    References:
        IEC 61966-2-1 for sRGB, CIE 15:2004 section 8.2.1 for L*a*b*.
    """
    levels = np.arange(256) / 255
    linear = np.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4)
    xyz = np.einsum("xc,...chw->...xhw", _RGB_TO_XYZ, linear[images])
    curved = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz * (29 / 6) ** 2 / 3 + 4 / 29)
    x, y, z = np.moveaxis(curved, -3, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-3)


def score_per_image(
    score: Callable[[Tensor, Tensor], Tensor],
    images: npt.NDArray[Any],
    target: npt.NDArray[Any],
    *,
    valid: BoolArray | None = None,
) -> FloatArray:
    """Score the valid pixels of each image, given to `score` as float64 `(1, C, 1, n)`."""
    import torch

    check_stack(images)
    check_same_shape(images, target)
    valid = as_valid(valid, (len(images), *images.shape[2:]))
    scores = np.full(len(images), np.nan)
    for n, is_valid in enumerate(valid):
        if is_valid.any():
            pair = (
                torch.from_numpy(side[n][:, is_valid].astype(np.float64))[None, :, None]
                for side in (images, target)
            )
            scores[n] = float(score(*pair))
    return scores
