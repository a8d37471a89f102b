"""Gain and offset for every tile, so that tiles agree where they overlap.

In each overlap both tiles should have the same mean and the same spread. Logarithms of gains, then
offsets, are each the least-squares solution of one equation per pair. What the overlaps leave open
is unchanged: within a connected group of tiles the gains have a geometric mean of 1, and the
offsets, at each tile's own mean, an average of 0, so that the brightness of the group is preserved.

References:
    M. Brown, D. Lowe, "Automatic panoramic image stitching using invariant features", IJCV 74
    (2007), section 6, for gains by least squares over overlaps; here with offsets, in logarithms,
    and with a solution of least norm instead of a prior.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from geotrans.scene import Patch

# A spread below this share of the mean is noise of arithmetic.
_MIN_CONTRAST = 1e-6

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Balance:
    """Correction of the values of each tile: `gain * value + offset`.

    Attributes:
        gains: By tile and band, `(n_tiles, C)`.
        offsets: By tile and band, `(n_tiles, C)`.
    """

    gains: Floats
    offsets: Floats

    def apply(self, number: int, patch: Patch, channels: list[int]) -> Patch:
        """Pixels of a tile with the tile's gain and offset, as floats."""
        gain = self.gains[number, channels][:, None, None]
        offset = self.offsets[number, channels][:, None, None]
        return Patch(gain * patch.data.astype(np.float64) + offset, patch.valid)


@dataclass(frozen=True)
class Overlaps:
    """Statistics of pairs of tiles where they overlap.

    Attributes:
        tiles: Numbers of both tiles, `(n, 2)`.
        weights: Pixels they share, `(n,)`.
        means: Mean of either, by band, `(n, 2, C)`.
        spreads: Standard deviation of either, by band, `(n, 2, C)`.
    """

    tiles: npt.NDArray[np.intp]
    weights: Floats
    means: Floats
    spreads: Floats


def solve_balance(overlaps: Overlaps, n_tiles: int) -> Balance:
    """Gains and offsets with which tiles agree best where they overlap."""
    n_bands = overlaps.means.shape[2]
    gains, offsets = np.ones((n_tiles, n_bands)), np.zeros((n_tiles, n_bands))
    for band in range(n_bands):
        means, spreads = overlaps.means[:, :, band], overlaps.spreads[:, :, band]
        # Where one of both has no contrast, gains are undetermined.
        has_contrast = (spreads > _MIN_CONTRAST * np.abs(means)).all(axis=1) & (spreads > 0).all(
            axis=1
        )
        logs = np.log(spreads[has_contrast])
        gain = np.exp(
            _solve_least_squares(
                overlaps.tiles[has_contrast],
                overlaps.weights[has_contrast],
                logs[:, 0] - logs[:, 1],
                n_tiles,
            )
        )
        tile_means = _mean_by_tile(overlaps, means, n_tiles)
        stretched = (
            gain[overlaps.tiles] * (means - tile_means[overlaps.tiles]) + tile_means[overlaps.tiles]
        )
        shift = _solve_least_squares(
            overlaps.tiles, overlaps.weights, stretched[:, 0] - stretched[:, 1], n_tiles
        )
        gains[:, band], offsets[:, band] = gain, tile_means * (1 - gain) + shift
    return Balance(gains, offsets)


def _mean_by_tile(overlaps: Overlaps, means: Floats, n_tiles: int) -> Floats:
    """Mean of each tile over its overlaps; 0 where it has none."""
    flat, weights = overlaps.tiles.ravel(), np.repeat(overlaps.weights, 2)
    total = np.bincount(flat, weights * means.ravel(), n_tiles)
    count = np.bincount(flat, weights, n_tiles)
    return np.divide(total, count, out=np.zeros(n_tiles), where=count > 0)


def _solve_least_squares(
    pairs: npt.NDArray[np.intp], weights: Floats, differences: Floats, n: int
) -> Floats:
    """The `x` of least norm for which all `x[i] + difference` are nearest to `x[j]`.

    Conjugate gradients on the normal equations, whose matrix is never built: thousands of tiles
    have a few overlaps each. Started at zero they stay in its range, which makes the norm least.
    """
    first, second = pairs[:, 0], pairs[:, 1]

    def apply_transpose(residuals: Floats) -> Any:
        flow = weights * residuals
        return np.bincount(first, flow, n) - np.bincount(second, flow, n)

    x = np.zeros(n)
    residual = -apply_transpose(differences)
    direction, squared_norm = residual.copy(), float(residual @ residual)
    tolerance = squared_norm * 1e-24
    for _ in range(10 * n):
        if squared_norm <= tolerance:
            break
        mapped = apply_transpose(direction[first] - direction[second])
        step = squared_norm / float(direction @ mapped)
        x += step * direction
        residual -= step * mapped
        previous, squared_norm = squared_norm, float(residual @ residual)
        direction = residual + squared_norm / previous * direction
    return x
