"""Spectral and texture indices of a pixel from its values and those around it.

Every index is computed in one fixed order from a pixel's absolute surroundings, so that two windows
agree to the bit on every pixel they share.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

Plane = npt.NDArray[np.float32]

# Below this sum of two bands, in grey levels, their difference says nothing.
_DARK = np.float32(8)


def _normalized_difference(first: Plane, second: Plane) -> Plane:
    """Difference of two bands over their sum, -1 to 1; 0 where both are dark."""
    total = first + second
    ratio: Plane = np.where(
        total < _DARK, np.float32(0), (first - second) / np.maximum(total, _DARK)
    )
    return ratio


def _mean_of_rgb(bands: Mapping[str, Plane]) -> Plane:
    return (bands["red"] + bands["green"] + bands["blue"]) / np.float32(3)


# What is said of a pixel on its own.
PIXEL_INDICES: dict[str, Callable[[Mapping[str, Plane]], Plane]] = {
    "brightness": _mean_of_rgb,
    "nir": lambda bands: bands["nir"],
    # Rouse et al., "Monitoring Vegetation Systems in the Great Plains with ERTS", 1974.
    "ndvi": lambda bands: _normalized_difference(bands["nir"], bands["red"]),
    # McFeeters, "The Use of the Normalized Difference Water Index", IJRS 17 (1996).
    "ndwi": lambda bands: _normalized_difference(bands["green"], bands["nir"]),
    "warmth": lambda bands: _normalized_difference(bands["red"], bands["blue"]),
    "redness": lambda bands: _normalized_difference(bands["red"], bands["green"]),
}
# What is said of the square around it, by the measure whose deviation it is.
TEXTURE_INDICES = {"roughness": "brightness", "nir_roughness": "nir"}
INDICES = (*PIXEL_INDICES, *TEXTURE_INDICES)


def compute_indices(
    bands: Mapping[str, Plane], names: Sequence[str], *, size: int
) -> dict[str, Plane]:
    """Indices of all pixels that have the full square around them.

    Args:
        bands: Red, green, blue and near infrared by name, each `(H, W)`.
        names: Names of the indices.
        size: Edge of the square, px, odd.

    Returns:
        Indices by name, each `(H - size + 1, W - size + 1)`.
    """
    halo = size // 2
    planes = {name: PIXEL_INDICES[TEXTURE_INDICES.get(name, name)](bands) for name in names}
    inner = slice(halo, -halo or None)
    return {
        name: local_deviation(plane, size) if name in TEXTURE_INDICES else plane[inner, inner]
        for name, plane in planes.items()
    }


def local_deviation(plane: Plane, size: int) -> Plane:
    """Standard deviation in the square around each pixel, without `size // 2` px on each side."""
    n = np.float32(size * size)
    mean = box_sum(plane, size) / n
    variance = box_sum(plane * plane, size) / n - mean * mean
    deviation: Plane = np.sqrt(np.maximum(variance, np.float32(0)))
    return deviation


def local_majority(
    classes: npt.NDArray[np.uint8], n_classes: int, size: int
) -> npt.NDArray[np.uint8]:
    """Most frequent class in the square around each pixel, the first of equals.

    Args:
        classes: Class indices, `(H, W)`.
        n_classes: Number of classes.
        size: Edge of the square, px, odd.

    Returns:
        Class indices, `(H - size + 1, W - size + 1)`.
    """
    height, width = (n - size + 1 for n in classes.shape)
    most_votes = np.zeros((height, width), np.float32)
    winners = np.zeros((height, width), np.uint8)
    for index in range(n_classes):
        votes = box_sum((classes == index).astype(np.float32), size)
        winners[votes > most_votes] = index
        np.maximum(most_votes, votes, out=most_votes)
    return winners


def box_sum(plane: Plane, size: int) -> Plane:
    """Sum over the square around each pixel, without `size // 2` px on each side.

    Added term by term: a running sum would round differently by where it began.
    """
    for axis in (0, 1):
        n = plane.shape[axis] - size + 1
        parts = [plane[(slice(None),) * axis + (slice(i, i + n),)] for i in range(size)]
        total = parts[0].copy()
        for part in parts[1:]:
            total += part
        plane = total
    return plane
