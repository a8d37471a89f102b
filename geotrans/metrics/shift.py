"""Whether edges lie where they belong: the shift between two stacks of images."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from geotrans.errors import UsageError
from geotrans.metrics.checks import BoolArray, FloatArray, as_stack, as_valid, check_same_shape

# Largest shift looked for, px.
REACH_PX = 16
# Standard deviation of the blur of the correlation, px: finer structure is mostly noise.
_BLUR_PX = 1.5
# A peak that rises less than this many standard deviations is none: between aerials of different
# places it rises 3.2 to 6.8 of them, between two years of one place 10 to 34.
_LEAST_PEAK = 8.0


def edge_shift(
    images: npt.NDArray[Any], target: npt.NDArray[Any], *, valid: BoolArray | None = None
) -> FloatArray:
    """How far the edges of each image lie from those of the target, by phase correlation.

    The strength of edges is compared, not colours, so that a map may stand beside a photograph.
    The peak is found to a fraction of a pixel by a parabola through the logarithm of the blurred
    correlation.

    Args:
        images: `(N, C, H, W)`, at least 64 px high and wide.
        target: The truth, `(N, C', H, W)`.
        valid: Pixels to look at, `(N, H, W)`; all unless given.

    Returns:
        Rows down and columns to the right by which an image's edges lie away, `(N, 2)` px; NaN
        where no edges agree.

    References:
        Kuglin and Hines, "The Phase Correlation Image Alignment Method" (1975); changed: applied
        to gradients under a Hann window, low-passed.
    """
    as_stack(images)
    as_stack(target)
    check_same_shape(images[:, :1], target[:, :1])
    if min(images.shape[2:]) < 4 * REACH_PX:
        raise UsageError(
            f"edges are compared in at least {4 * REACH_PX} px a side, found {images.shape}"
        )
    seen = as_valid(valid, (len(images), *images.shape[2:]))
    pairs = zip(images, target, seen, strict=True)
    return np.array([_shift(_edges(a, v), _edges(b, v)) for a, b, v in pairs])


def _edges(image: npt.NDArray[Any], valid: BoolArray) -> FloatArray:
    """Strength of edges `(H, W)`, tapered towards the image's borders; 0 beside invalid pixels."""
    filled = np.where(valid, image, 0).astype(np.float64)
    down, right = np.gradient(filled, axis=(1, 2))
    strength = np.hypot(down, right).sum(axis=0)
    inner = valid.copy()  # what a gradient reaches must be valid
    for axis in (0, 1):
        for step in (-1, 1):
            inner &= np.roll(valid, step, axis)
    if not inner.any():
        return np.zeros(valid.shape)
    rest: FloatArray = np.where(inner, strength - strength[inner].mean(), 0)
    return rest * np.outer(*(np.hanning(n + 2)[1:-1] for n in valid.shape))


def _shift(edges: FloatArray, target: FloatArray) -> tuple[float, float]:
    height, width = edges.shape
    cross = np.fft.fft2(edges) * np.conj(np.fft.fft2(target))
    size = np.abs(cross)
    if size.max() < 1e-9:
        return float("nan"), float("nan")
    frequencies = np.hypot.outer(np.fft.fftfreq(height), np.fft.fftfreq(width))
    blur = np.exp(-2 * (np.pi * _BLUR_PX * frequencies) ** 2)
    surface = np.fft.ifft2(cross / np.maximum(size, 1e-9 * size.max()) * blur).real
    near = np.roll(surface, (REACH_PX, REACH_PX), (0, 1))[: 2 * REACH_PX + 1, : 2 * REACH_PX + 1]
    row, col = np.unravel_index(int(near.argmax()), near.shape)
    if near[row, col] < _LEAST_PEAK * surface.std():
        return float("nan"), float("nan")
    return (
        row - REACH_PX + _vertex(surface, int(row) - REACH_PX, int(col) - REACH_PX, axis=0),
        col - REACH_PX + _vertex(surface, int(row) - REACH_PX, int(col) - REACH_PX, axis=1),
    )


def _vertex(surface: FloatArray, row: int, col: int, *, axis: int) -> float:
    """Where a parabola through the logarithms at a peak and beside it has its top, px from it."""
    step = np.eye(2, dtype=int)[axis]
    beside = [surface[(row + k * step[0]) % len(surface), (col + k * step[1]) % surface.shape[1]]
              for k in (-1, 0, 1)]  # fmt: skip
    low, peak, high = np.log(np.maximum(beside, 1e-12 * beside[1]))
    bend = low - 2 * peak + high
    return float(np.clip((low - high) / (2 * bend), -1, 1)) if bend < 0 else 0.0
