"""A linear map between bands never observed together, estimated from the context of pixels.

Two collections share some bands, here called known; each has others of its own. How an own band of
the source goes with an own band of the target cannot be read off either collection, nor off both
pixel by pixel. But texture and colour around a pixel, seen in known bands alone, predict both:
where context predicts a high value of the source's band, the target shows its own band's value.

References:
    Two-sample instrumental variables: Angrist and Krueger, "The Effect of Age at School Entry on
    Educational Attainment", JASA 1992; as two-stage least squares, Inoue and Solon, "Two-Sample
    Instrumental Variables Estimators", Review of Economics and Statistics 2010. Known bands are
    the exogenous variables, means and deviations of their surroundings the instruments.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from geotrans.training.linear import LinearMap, fit_known, fit_linear

log = logging.getLogger(__name__)

FloatArray = npt.NDArray[np.float64]

# Edges of the averaging windows around a pixel, px, and sampling step, px.
_BOX_EDGES = (3, 7, 15, 31)
_STEP = 4
# Share of the own bands' variance beyond the known bands that context must explain to count.
_MIN_EXPLAINED = 0.05
_RIDGE = 1e-3


@dataclass(frozen=True)
class BandCollection:
    """One collection.

    Attributes:
        images: Patches of stored values, `(C, H, W)`.
        valid: Pixels to look at, `(H, W)`.
        names: Names of the bands.
        value_range: Values that stand for dark and bright.
    """

    images: Sequence[npt.NDArray[Any]]
    valid: Sequence[npt.NDArray[np.bool_]]
    names: Sequence[str]
    value_range: tuple[float, float]

    def sample(self, names: Sequence[str]) -> tuple[FloatArray, FloatArray]:
        """Bands and context at a regular sample of valid pixels, `(n, C)` and `(n, K)`."""
        known = [self.names.index(name) for name in names]
        low, high = self.value_range
        values, contexts = [], []
        for image, valid in zip(self.images, self.valid, strict=True):
            x = torch.from_numpy(image[known].astype(np.float32)) - low
            grid = (slice(None), *(slice(_STEP // 2, None, _STEP),) * 2)
            is_valid = valid[grid[1:]]
            values.append(image[grid][:, is_valid].T)
            contexts.append(context_features(x / (high - low), valid)[grid].numpy()[:, is_valid].T)
        return np.concatenate(values).astype(np.float64), np.concatenate(contexts).astype(
            np.float64
        )


def fit_context(source: BandCollection, target: BandCollection) -> LinearMap:
    """The linear map from source to target bands, estimated from two collections without pairs.

    Known bands are taken over as they are. Each other band of the target is fitted to the known
    bands and to what context predicts of the source's own; a band that context hardly predicts
    gets weight 0, with a warning.

    Args:
        source: Patches of the source.
        target: Patches of the target.

    Raises:
        ConfigError: If the two share no band.
        SamplingError: If no pixel is valid.
    """
    plain = fit_known(target.images, target.valid, source=source.names, target=target.names)
    known = [name for name in target.names if name in source.names]
    own = [i for i, name in enumerate(source.names) if name not in known]
    if not own:
        return plain
    known_columns = [source.names.index(name) for name in known]
    values, features = source.sample(known)
    predict, explained = _first_stage(values[:, known_columns], values[:, own], features)
    kept = [j for j, share in enumerate(explained) if share >= _MIN_EXPLAINED]
    for j, share in enumerate(explained):
        name = source.names[own[j]]
        log.info("context tells %.0f %% of %s beyond the known bands", 100 * share, name)
        if j not in kept:
            log.warning("%s has no part in the linear fit: context does not tell it", name)
    if not kept:
        return plain
    values, features = target.sample(known)
    target_columns = [target.names.index(name) for name in known]
    predictors = np.concatenate([values[:, target_columns], predict(features)[:, kept]], axis=1)
    free = [i for i, name in enumerate(target.names) if name not in known]
    fit = fit_linear(
        [predictors.T[:, :, None]],
        [values[:, free].T[:, :, None]],
        [np.ones((len(predictors), 1), bool)],
    )
    weight, bias = plain.weight.copy(), plain.bias.copy()
    weight[np.ix_(free, [*known_columns, *(own[j] for j in kept)])] = fit.weight
    bias[free] = fit.bias
    return LinearMap(weight, bias)


def context_features(bands: Tensor, valid: npt.NDArray[np.bool_]) -> Tensor:
    """Context of each pixel: means and deviations of bands, contrasts and products.

    Args:
        bands: `(C, H, W)`, about 0 to 1.
        valid: Pixels to look at, `(H, W)`.

    Returns:
        `(K, H, W)`.
    """
    contrasts = [(a - b) / (a + b + 0.05) for a, b in itertools.combinations(bands, 2)]
    planes = torch.stack([*bands, *contrasts])
    products = [a * b for a, b in itertools.combinations_with_replacement(planes, 2)]
    features = [*planes, *products]
    weight = torch.from_numpy(valid)[None].float()
    for edge in _BOX_EDGES:
        weights = _box_mean(weight, edge).clamp(min=1e-6)
        means, squares = (_box_mean(x * weight, edge) / weights for x in (planes, planes**2))
        spread = (squares - means**2).clamp(min=0).sqrt()
        features += [*means, *spread]
    return torch.stack(features)


def _box_mean(planes: Tensor, edge: int) -> Tensor:
    """Means over squares about each pixel, as far as they lie in the patch."""
    for kernel in ((edge, 1), (1, edge)):
        padding = (kernel[0] // 2, kernel[1] // 2)
        planes = F.avg_pool2d(planes, kernel, stride=1, padding=padding, count_include_pad=False)
    return planes


def _first_stage(
    known: FloatArray, own: FloatArray, features: FloatArray
) -> tuple[Callable[[FloatArray], FloatArray], FloatArray]:
    """Predictor of own bands from context, and the share of variance it explains of each."""
    mean, deviation = features.mean(axis=0), features.std(axis=0)
    deviation[deviation == 0] = 1
    offset = own.mean(axis=0)

    def standardize(x: FloatArray) -> FloatArray:
        return (x - mean) / deviation

    standardized = standardize(features)
    ridge = _RIDGE * len(standardized) * np.eye(standardized.shape[1])
    weight = np.linalg.solve(standardized.T @ standardized + ridge, standardized.T @ (own - offset))
    residual = _linear_residual(known, own)
    explained = 1 - ((own - offset - standardized @ weight) ** 2).mean(axis=0) / np.maximum(
        (residual**2).mean(axis=0), 1e-12
    )

    def predict(x: FloatArray) -> FloatArray:
        prediction: FloatArray = standardize(x) @ weight + offset
        return prediction

    return predict, explained


def _linear_residual(known: FloatArray, own: FloatArray) -> FloatArray:
    """Residual of the own bands after a linear fit on the known ones."""
    x = np.concatenate([known, np.ones((len(known), 1))], axis=1)
    residual: FloatArray = own - x @ np.linalg.lstsq(x, own, rcond=None)[0]
    return residual
