"""Texture without reference: contrast and repetition.

One value per image, for `interval.mean`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from geotrans.errors import UsageError
from geotrans.metrics.checks import BoolArray, FloatArray, as_valid, check_stack, compute_luma

# Standard deviation of the blur that is taken away: patterns up to about 100 px stay, the layout
# of blocks and streets goes.
HIGH_PASS_PX = 16.0

_N_DIRECTIONS = 180
_STEP_PX = 0.5


def contrast(images: npt.NDArray[np.uint8], *, valid: BoolArray | None = None) -> FloatArray:
    """Standard deviation of the luma of each image, grey levels.

    Args:
        images: Red, green, blue, `(N, 3, H, W)`.
        valid: Pixels to use, `(N, H, W)`; all unless given.
    """
    check_stack(images, channels=3)
    valid = as_valid(valid, (len(images), *images.shape[2:]))
    values = zip(compute_luma(images), valid, strict=True)
    return np.array(
        [grey[is_valid].std() if is_valid.any() else np.nan for grey, is_valid in values]
    )


def repetition(images: npt.NDArray[np.uint8], *, valid: BoolArray | None = None) -> FloatArray:
    """Strength of repetition in each image: the highest second peak of its autocorrelation.

    The autocorrelation of the luma, low frequencies removed, is 1 at lag 0. A peak elsewhere
    counts by how far it rises above the lowest point, but not below 0, on the straight way to it
    from the centre: along a street the autocorrelation stays high without ever falling, and that
    is a line, not a pattern. Lags reach to half the shorter side.

    Args:
        images: Red, green, blue, `(N, 3, H, W)`.
        valid: Pixels to use, `(N, H, W)`; all unless given.

    Returns:
        0 to about 1: 1 for wallpaper, 0 for one grey, `(N,)`.
    """
    check_stack(images, channels=3)
    if min(images.shape[2:]) < 4 * HIGH_PASS_PX:
        raise UsageError(
            f"a pattern is looked for in at least {4 * HIGH_PASS_PX:.0f} px, found {images.shape}"
        )
    valid = as_valid(valid, (len(images), *images.shape[2:]))
    values = zip(compute_luma(images), valid, strict=True)
    return np.array([_find_second_peak(grey, is_valid) for grey, is_valid in values])


def autocorrelation(grey: FloatArray, valid: BoolArray) -> FloatArray:
    """Autocorrelation of one plane, low frequencies removed, at lags up to half its size.

    Args:
        grey: `(H, W)`.
        valid: Pixels that count, `(H, W)`.

    Returns:
        `(2 * (H // 2) + 1, 2 * (W // 2) + 1)`, lag 0 in the middle, where it is 1; all 0 for a
        plane of one grey.
    """
    height, width = grey.shape
    weight = _blur(valid.astype(np.float64))
    mean = _blur(np.where(valid, grey, 0)) / np.maximum(weight, 1e-9)
    residual = np.where(valid, grey - mean, 0)
    residual = np.where(valid, residual - residual[valid].mean(), 0)
    shape = (2 * height, 2 * width)  # zeros all round, so that nothing wraps
    pairs, sums = (
        np.fft.irfft2(np.abs(np.fft.rfft2(plane, shape)) ** 2, shape)
        for plane in (valid.astype(np.float64), residual)
    )
    rows, cols = (np.arange(-(size // 2), size // 2 + 1) for size in (height, width))
    lags = np.ix_(rows, cols)
    variance = sums[0, 0] / pairs[0, 0]
    if variance < 1e-6:
        return np.zeros((len(rows), len(cols)))
    # Few pairs are unreliable: a lag at which less than an eighth of them is left counts as 0.
    is_reliable = pairs[lags] >= pairs[0, 0] / 8
    return np.where(is_reliable, sums[lags] / np.maximum(pairs[lags], 1) / variance, 0)


def _find_second_peak(grey: FloatArray, valid: BoolArray) -> float:
    if not valid.any():
        return float("nan")
    plane = autocorrelation(grey, valid)
    rays = _sample_rays(plane)
    lowest = np.minimum.accumulate(rays, axis=1)
    return float((rays - np.maximum(lowest, 0)).max())


def _sample_rays(plane: FloatArray) -> FloatArray:
    """Values along rays from the middle of a plane, `(directions, radii)`, half a turn of them."""
    middle = np.array(plane.shape) // 2
    radii = np.arange(0, middle.min(), _STEP_PX)
    angles = np.arange(_N_DIRECTIONS) * np.pi / _N_DIRECTIONS
    row, col = (
        np.outer(part, radii) + centre
        for part, centre in zip((np.sin(angles), np.cos(angles)), middle, strict=True)
    )
    i, j = (
        np.minimum(positions.astype(int), size - 2)
        for positions, size in zip((row, col), plane.shape, strict=True)
    )
    down, right = row - i, col - j
    upper = plane[i, j] * (1 - right) + plane[i, j + 1] * right
    lower = plane[i + 1, j] * (1 - right) + plane[i + 1, j + 1] * right
    blended: FloatArray = upper * (1 - down) + lower * down
    return blended


def _blur(plane: npt.NDArray[Any]) -> FloatArray:
    """Gaussian blur, mirrored at the edges."""
    for axis in (0, 1):
        size = plane.shape[axis]
        mirrored = np.concatenate([plane, np.flip(plane, axis)], axis)
        response = np.exp(-2 * (np.pi * HIGH_PASS_PX * np.fft.rfftfreq(2 * size)) ** 2)
        response = np.expand_dims(response, 1 - axis)
        spectrum = np.fft.rfft(mirrored, axis=axis) * response
        plane = np.take(np.fft.irfft(spectrum, 2 * size, axis=axis), np.arange(size), axis)
    return plane
