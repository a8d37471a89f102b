"""Target bands as a linear function of source bands, by least squares."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from geotrans.errors import ConfigError, SamplingError

log = logging.getLogger(__name__)

FloatArray = npt.NDArray[np.float64]
Range = tuple[float, float]

# A correlation matrix whose smallest eigenvalue is below this is singular in float64.
_SINGULAR = 1e-10
_RIDGE = 1e-6


@dataclass(frozen=True)
class LinearMap:
    """`target = weight @ source + bias`, pixel by pixel.

    Attributes:
        weight: One row a target band, `(C_target, C_source)`.
        bias: Summands, `(C_target,)`.
    """

    weight: FloatArray
    bias: FloatArray

    def normalize(self, source: Range, target: Range) -> LinearMap:
        """The same map from and to [-1, 1], where the ranges of stored values are these."""
        middle, half = sum(source) / 2, (source[1] - source[0]) / 2
        out_middle, out_half = sum(target) / 2, (target[1] - target[0]) / 2
        summand = self.bias + self.weight @ np.full(self.weight.shape[1], middle) - out_middle
        return LinearMap(self.weight * half / out_half, summand / out_half)


def fit_linear(
    source: Iterable[npt.NDArray[Any]],
    target: Iterable[npt.NDArray[Any]],
    valid: Iterable[npt.NDArray[np.bool_]],
) -> LinearMap:
    """Least squares over all valid pixels, summed in float64.

    The same patches give the same map; sums over uint8 are exact in any order. Bands that
    depend on each other get a small ridge, with a warning.

    Args:
        source: Patches `(C_source, H, W)`.
        target: The same ground, `(C_target, H, W)`.
        valid: Pixels to look at, `(H, W)`.

    Raises:
        SamplingError: If no pixel is valid.
    """
    n, n_source = 0, 0
    total: FloatArray | float = 0.0
    products: FloatArray | float = 0.0
    for reads, writes, is_valid in zip(source, target, valid, strict=True):
        values = np.concatenate([reads, writes])[:, is_valid].astype(np.float64)
        n_source = len(reads)
        n += values.shape[1]
        total = total + values.sum(axis=1)
        products = products + values @ values.T
    if n == 0:
        raise SamplingError("asked for a linear fit; no pixel of the training patches is valid")
    mean = np.asarray(total / n)
    covariance = products / n - np.outer(mean, mean)
    weight = _solve(covariance[:n_source, :n_source], covariance[:n_source, n_source:]).T
    return LinearMap(weight, mean[n_source:] - weight @ mean[:n_source])


def fit_known(
    images: Sequence[npt.NDArray[Any]],
    valid: Sequence[npt.NDArray[np.bool_]],
    *,
    source: Sequence[str],
    target: Sequence[str],
) -> LinearMap:
    """The linear map estimated from images of the target alone, without pairs.

    A band both sides have is taken over as it is; each other target band is a linear function of
    those. Both sides must store the bands they share alike.

    Args:
        images: Patches of the target, `(C_target, H, W)`.
        valid: Pixels to look at, `(H, W)`.
        source: Names of the source bands.
        target: Names of the target bands.

    Returns:
        A map from all source bands; those that the target does not have weigh nothing.

    Raises:
        ConfigError: If the sides share no band.
        SamplingError: If no pixel is valid.
    """
    known = [i for i, name in enumerate(target) if name in source]
    if not known:
        raise ConfigError(
            f"source ({', '.join(source)}) and target ({', '.join(target)}) share no band; "
            "a linear fit without pairs needs one"
        )
    fit = fit_linear([image[known] for image in images], images, valid)
    weight = np.zeros((len(target), len(source)))
    weight[:, [source.index(target[i]) for i in known]] = fit.weight
    bias = fit.bias.copy()
    for i in known:  # the fit gives these but for rounding
        weight[i] = 0
        weight[i, source.index(target[i])] = 1
        bias[i] = 0
    return LinearMap(weight, bias)


def _solve(covariance: FloatArray, cross: FloatArray) -> FloatArray:
    """Weights `(C_source, C_target)`; a band that never changes weighs nothing."""
    deviation = np.sqrt(covariance.diagonal().clip(min=0))
    varies = deviation > 0
    weights = np.zeros_like(cross)
    if not varies.any():
        return weights
    scale = deviation[varies]
    correlation = covariance[np.ix_(varies, varies)] / np.outer(scale, scale)
    if np.linalg.eigvalsh(correlation)[0] < _SINGULAR:
        log.warning("source bands depend on each other; the linear fit prefers small weights")
        correlation = correlation + _RIDGE * np.eye(len(scale))
    solution = np.linalg.solve(correlation, cross[varies] / scale[:, None])
    weights[varies] = solution / scale[:, None]
    return weights
