"""The shift between the edges of two stacks of images."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from geotrans.errors import UsageError
from geotrans.metrics.checks import BoolArray, FloatArray, as_valid, check_same_shape, check_stack

# Largest shift looked for, px.
REACH_PX = 16
# Standard deviation of the blur of the correlation, px: finer structure is mostly noise.
_BLUR_PX = 1.5
# A peak that rises less than this many standard deviations is none: between aerials of different
# places it rises 3.2 to 6.8 of them, between two years of one place 10 to 34.
_MIN_PEAK = 8.0


def edge_shift(
    images: npt.NDArray[Any], target: npt.NDArray[Any], *, valid: BoolArray | None = None
) -> FloatArray:
    """Shift of the edges of each image against those of the target, by phase correlation.

    The strength of edges is compared, not colours, so that a map can be compared to a photograph.
    The peak is found to a fraction of a pixel by a parabola through the logarithm of the blurred
    correlation.

    Args:
        images: `(N, C, H, W)`, at least 64 px high and wide.
        target: The truth, `(N, C', H, W)`.
        valid: Pixels to compare, `(N, H, W)`; all unless given.

    Returns:
        Shift of an image's edges in rows down and columns to the right, `(N, 2)` px; NaN where
        no edges agree.

    References:
        Kuglin and Hines, "The Phase Correlation Image Alignment Method" (1975); changed: applied
        to gradients under a Hann window, low-passed.
    """
    check_stack(images)
    check_stack(target)
    check_same_shape(images[:, :1], target[:, :1])
    if min(images.shape[2:]) < 4 * REACH_PX:
        raise UsageError(
            f"edges are compared in at least {4 * REACH_PX} px a side, found {images.shape}"
        )
    valid = as_valid(valid, (len(images), *images.shape[2:]))
    pairs = zip(images, target, valid, strict=True)
    return np.array([_find_shift(_edge_strength(a, v), _edge_strength(b, v)) for a, b, v in pairs])


def _edge_strength(image: npt.NDArray[Any], valid: BoolArray) -> FloatArray:
    """Strength of edges `(H, W)`, tapered towards the image's borders; 0 beside invalid pixels."""
    filled = np.where(valid, image, 0).astype(np.float64)
    down, right = np.gradient(filled, axis=(1, 2))
    strength = np.hypot(down, right).sum(axis=0)
    has_valid_neighbours = valid.copy()  # what a gradient reaches must be valid
    for axis in (0, 1):
        for step in (-1, 1):
            has_valid_neighbours &= np.roll(valid, step, axis)
    if not has_valid_neighbours.any():
        return np.zeros(valid.shape)
    centred: FloatArray = np.where(
        has_valid_neighbours, strength - strength[has_valid_neighbours].mean(), 0
    )
    return centred * np.outer(*(np.hanning(n + 2)[1:-1] for n in valid.shape))


def _find_shift(edges: FloatArray, target: FloatArray) -> tuple[float, float]:
    height, width = edges.shape
    cross = np.fft.fft2(edges) * np.conj(np.fft.fft2(target))
    amplitude = np.abs(cross)
    if amplitude.max() < 1e-9:
        return float("nan"), float("nan")
    frequencies = np.hypot.outer(np.fft.fftfreq(height), np.fft.fftfreq(width))
    blur = np.exp(-2 * (np.pi * _BLUR_PX * frequencies) ** 2)
    surface = np.fft.ifft2(cross / np.maximum(amplitude, 1e-9 * amplitude.max()) * blur).real
    candidates = np.roll(surface, (REACH_PX, REACH_PX), (0, 1))[
        : 2 * REACH_PX + 1, : 2 * REACH_PX + 1
    ]
    row, col = np.unravel_index(int(candidates.argmax()), candidates.shape)
    if candidates[row, col] < _MIN_PEAK * surface.std():
        return float("nan"), float("nan")
    return (
        row - REACH_PX + _fit_vertex(surface, int(row) - REACH_PX, int(col) - REACH_PX, axis=0),
        col - REACH_PX + _fit_vertex(surface, int(row) - REACH_PX, int(col) - REACH_PX, axis=1),
    )


def _fit_vertex(surface: FloatArray, row: int, col: int, *, axis: int) -> float:
    """Vertex of a parabola through the logarithms of a peak and its neighbours, px from it."""
    step = np.eye(2, dtype=int)[axis]
    values = [surface[(row + k * step[0]) % len(surface), (col + k * step[1]) % surface.shape[1]]
              for k in (-1, 0, 1)]  # fmt: skip
    low, peak, high = np.log(np.maximum(values, 1e-12 * values[1]))
    curvature = low - 2 * peak + high
    return float(np.clip((low - high) / (2 * curvature), -1, 1)) if curvature < 0 else 0.0
