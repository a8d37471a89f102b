"""Bootstrap intervals of scores over places.

Pixels and windows of one place are correlated, so that places, not pixels, are resampled.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self

import numpy as np
import numpy.typing as npt

from geotrans.errors import UsageError
from geotrans.metrics.checks import FloatArray

N_DRAWS = 2000
LEVEL = 0.95


@dataclass(frozen=True, slots=True)
class Interval:
    """A score and its bootstrap interval over places.

    Attributes:
        value: The score of all places.
        low: Lower end of the interval.
        high: Upper end of the interval.
        n: Number of places.
        draws: The score of each resample, `(D,)`. Scores of the same places under one seed share
            their resamples, so that differences and ratios may be taken draw by draw.
    """

    value: float
    low: float
    high: float
    n: int
    draws: FloatArray = field(repr=False, compare=False)

    @classmethod
    def from_draws(cls, value: float, draws: FloatArray, *, n: int) -> Self:
        """The 95 % percentile interval of `draws`; resamples without a score (NaN) are left out."""
        known = draws[np.isfinite(draws)]
        tail = (1 - LEVEL) / 2
        low, high = np.quantile(known, [tail, 1 - tail]) if known.size else (np.nan, np.nan)
        return cls(float(value), float(low), float(high), n, draws)

    def scaled(self, factor: float) -> Self:
        """The same score in another unit, `factor > 0`."""
        return type(self)(
            self.value * factor, self.low * factor, self.high * factor, self.n, self.draws * factor
        )

    def __str__(self) -> str:
        return f"{self.value:.4g} [{self.low:.4g}, {self.high:.4g}] over {self.n} places"


def resample(n: int, *, n_draws: int = N_DRAWS, seed: int = 0) -> FloatArray:
    """Draw how often each of `n` places is in each resample, shape `(n_draws, n)`."""
    rng = np.random.default_rng(seed)
    return rng.multinomial(n, np.full(n, 1 / n), size=n_draws).astype(np.float64)


def group_by_place(
    values: npt.ArrayLike, places: Sequence[str]
) -> tuple[tuple[str, ...], FloatArray]:
    """Sum one value per image over the images of each place.

    Args:
        values: One value, or one row of values, per image, `(N, ...)`.
        places: Place of each image.

    Returns:
        Places in alphabetical order, and their sums, `(P, ...)`.
    """
    values = np.asarray(values, np.float64)
    if len(values) != len(places):
        raise UsageError(f"{len(values)} images, but {len(places)} places; give one place an image")
    names, index = np.unique(np.asarray(places, dtype=np.str_), return_inverse=True)
    sums = np.zeros((len(names), *values.shape[1:]))
    np.add.at(sums, index, values)
    return tuple(str(name) for name in names), sums


def ratio(
    numerators: npt.ArrayLike,
    denominators: npt.ArrayLike,
    places: Sequence[str],
    *,
    n_draws: int = N_DRAWS,
    seed: int = 0,
) -> Interval:
    """Ratio of two sums over all images: an IoU, an accuracy, a mean.

    Args:
        numerators: One value per image, `(N,)`.
        denominators: One value per image, `(N,)`.
        places: Place of each image.
        n_draws: Number of resamples.
        seed: Seed of the resamples.

    Returns:
        The ratio, NaN where the denominators sum to 0.
    """
    names, numerator_sums = group_by_place(numerators, places)
    _, denominator_sums = group_by_place(denominators, places)
    weights = resample(len(names), n_draws=n_draws, seed=seed)
    with np.errstate(invalid="ignore", divide="ignore"):
        value = numerator_sums.sum() / denominator_sums.sum()
        draws = (weights @ numerator_sums) / (weights @ denominator_sums)
    return Interval.from_draws(value, draws, n=len(names))


def mean_ratio(
    numerators: npt.ArrayLike,
    denominators: npt.ArrayLike,
    places: Sequence[str],
    *,
    n_draws: int = N_DRAWS,
    seed: int = 0,
) -> Interval:
    """Mean of several ratios of sums, as the mean IoU over classes.

    Args:
        numerators: One row per image, `(N, K)`.
        denominators: One row per image, `(N, K)`; a ratio whose denominators sum to 0 is left out.
        places: Place of each image.
        n_draws: Number of resamples.
        seed: Seed of the resamples.
    """
    names, numerator_sums = group_by_place(numerators, places)
    _, denominator_sums = group_by_place(denominators, places)
    weights = np.concatenate(
        [np.ones((1, len(names))), resample(len(names), n_draws=n_draws, seed=seed)]
    )
    numerator_draws, denominator_draws = weights @ numerator_sums, weights @ denominator_sums
    is_known = denominator_draws > 0
    shares = np.divide(
        numerator_draws, denominator_draws, out=np.zeros_like(numerator_draws), where=is_known
    )
    with np.errstate(invalid="ignore"):
        means = shares.sum(1) / is_known.sum(1)
    return Interval.from_draws(means[0], means[1:], n=len(names))


def mean(
    values: npt.ArrayLike, places: Sequence[str], *, n_draws: int = N_DRAWS, seed: int = 0
) -> Interval:
    """Mean of one value per image; images without a value (NaN) are left out."""
    values = np.asarray(values, np.float64)
    is_known = ~np.isnan(values)
    return ratio(np.where(is_known, values, 0), is_known, places, n_draws=n_draws, seed=seed)
