"""Kernel distance between a set of images and a set of real ones.

The unbiased squared maximum mean discrepancy with a cubic kernel between features of windows.
The features are EfficientNet-Lite0's and pairs of windows from one place are left out, so values
compare with each other and not with the FID or KID of the literature.

References:
    Gretton et al., "A Kernel Two-Sample Test", JMLR 13 (2012), the U-statistic of section 2.2;
    Binkowski et al., "Demystifying MMD GANs", arXiv 1801.01401, the cubic kernel. Changed: other
    features, no pairs within a place, intervals by resampling places.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from geotrans.errors import UsageError
from geotrans.metrics.checks import FloatArray
from geotrans.metrics.interval import N_DRAWS, Interval

WINDOW_PX = 128
STRIDE_PX = 64
SCALE = 1000.0


class KernelDistance(Interval):
    """Squared discrepancy times 1000, 0 for two sets of one kind; may fall below 0 by chance."""


@dataclass(frozen=True, slots=True)
class KernelFeatures:
    """Features of the windows of a set of pictures.

    Attributes:
        values: One row per window, `(M, 1280)` float32.
        places: Place of each window.
    """

    values: npt.NDArray[np.float32]
    places: tuple[str, ...]

    def __add__(self, other: KernelFeatures) -> KernelFeatures:
        """Both sets as one."""
        values = np.concatenate([self.values, other.values])
        return KernelFeatures(values, self.places + other.places)


def compute_features(
    images: npt.NDArray[np.uint8],
    places: Sequence[str],
    *,
    valid: npt.NDArray[np.bool_] | None = None,
    window: int = WINDOW_PX,
    stride: int = STRIDE_PX,
    device: str = "cpu",
    batch: int = 16,
) -> KernelFeatures:
    """Features of every window of every image; keep them for a side that does not change.

    Args:
        images: Red, green, blue, `(N, 3, H, W)` uint8, at least `window` px high and wide.
        places: Place of each image.
        valid: `(N, H, W)`; windows with an invalid pixel are left out.
        window: Window edge, px.
        stride: Distance between windows, px.
        device: Where the network runs.
        batch: Windows per step.

    Raises:
        UsageError: If the images are not of that kind, or no whole window is left.
    """
    import torch
    from torch.nn import functional as F

    from geotrans.metrics.efficientnet import INPUT_PX, load_efficientnet

    _check_images(images, places, window)
    rows = range(0, images.shape[2] - window + 1, stride)
    cols = range(0, images.shape[3] - window + 1, stride)
    windows = [
        (n, slice(row, row + window), slice(col, col + window))
        for n in range(len(images))
        for row in rows
        for col in cols
    ]
    if valid is not None:
        windows = [(n, y, x) for n, y, x in windows if valid[n, y, x].all()]
    if not windows:
        raise UsageError(f"no window of {window} px is wholly valid in {len(images)} images")
    network = load_efficientnet(device)
    features = []
    with torch.inference_mode():
        for start in range(0, len(windows), batch):
            pixels = np.stack([images[n, :, y, x] for n, y, x in windows[start : start + batch]])
            patch = torch.from_numpy(pixels).to(device).float()
            patch = F.interpolate(patch, INPUT_PX, mode="bilinear", align_corners=False)
            patch = ((patch - 127) / 128).contiguous(memory_format=torch.channels_last)
            features.append(network.features(patch).cpu().numpy())
    return KernelFeatures(np.concatenate(features), tuple(places[n] for n, _, _ in windows))


def kernel_distance(
    fake: npt.NDArray[np.uint8] | KernelFeatures,
    real: npt.NDArray[np.uint8] | KernelFeatures,
    places: Sequence[str] | None = None,
    *,
    n_draws: int = N_DRAWS,
    seed: int = 0,
    device: str = "cpu",
) -> KernelDistance:
    """Kernel distance times 1000, with its 95 % interval over places.

    Args:
        fake: Pictures `(N, 3, H, W)` uint8, or their features.
        real: The same of real pictures.
        places: Place of each picture, wherever pictures are given.
        n_draws: Resamples of the places.
        seed: Seed of the resamples.
        device: Where the network runs.

    Returns:
        The distance. Places that both sides hold are resampled together.

    Raises:
        UsageError: If a side has fewer than two places, so that no pair is left.
    """
    fake, real = _as_features(fake, places, device), _as_features(real, places, device)
    names = sorted({*fake.places, *real.places})
    fake_sums, real_sums, mixed_sums = _sum_by_place(fake, real, names)
    weights = _resample(names, fake, real, n_draws=n_draws, seed=seed)
    ones = np.ones((1, len(names)))
    value, draws = (
        SCALE
        * (
            _mean_kernel(fake_sums, w)
            + _mean_kernel(real_sums, w)
            - 2 * _mean_kernel(mixed_sums, w)
        )
        for w in (ones, weights)
    )
    return KernelDistance.from_draws(float(value[0]), draws, n=len(names))


def gap_closed(model: Interval, baseline: Interval, *, real: float = 0.0) -> Interval:
    """Share of the gap between a baseline and real pictures that a model has closed.

    Args:
        model: Kernel distance of the model.
        baseline: Kernel distance of the baseline, of the same places under the same seed.
        real: Kernel distance of real pictures to real ones, 0 for an unbiased estimate.

    Returns:
        0 at the baseline, 1 at real pictures.
    """
    value = (baseline.value - model.value) / (baseline.value - real)
    draws = (baseline.draws - model.draws) / (baseline.draws - real)
    return Interval.from_draws(value, draws, n=model.n)


def _as_features(
    side: npt.NDArray[np.uint8] | KernelFeatures, places: Sequence[str] | None, device: str
) -> KernelFeatures:
    if not isinstance(side, KernelFeatures):
        if places is None:
            raise UsageError("pictures were given without their places; pass places")
        side = compute_features(side, places, device=device)
    if len(set(side.places)) < 2:
        raise UsageError("kernel distance compares windows of different places; 1 was given")
    return side


def _check_images(images: npt.NDArray[np.uint8], places: Sequence[str], window: int) -> None:
    shape = images.shape
    if images.dtype != np.uint8 or len(shape) != 4 or shape[1] != 3 or min(shape[2:]) < window:
        raise UsageError(
            f"kernel distance takes uint8 pictures (N, 3, H, W) of at least {window} px; "
            f"found {images.dtype} {shape}"
        )
    if len(places) != len(images):
        raise UsageError(f"{len(images)} images, but {len(places)} places; give one place an image")


def _sum_by_place(
    fake: KernelFeatures, real: KernelFeatures, names: Sequence[str]
) -> tuple[tuple[FloatArray, FloatArray], ...]:
    """Sums of the kernel and numbers of pairs between places, each `(P, P)`, 0 within a place."""
    is_other_place = 1 - np.eye(len(names))

    def sum_pairs(a: KernelFeatures, b: KernelFeatures) -> tuple[FloatArray, FloatArray]:
        x, y = a.values.astype(np.float64), b.values.astype(np.float64)
        kernel = (x @ y.T / x.shape[1] + 1) ** 3
        rows, cols = (np.equal.outer(names, side.places).astype(np.float64) for side in (a, b))
        return rows @ kernel @ cols.T * is_other_place, np.outer(
            rows.sum(1), cols.sum(1)
        ) * is_other_place

    return sum_pairs(fake, fake), sum_pairs(real, real), sum_pairs(fake, real)


def _mean_kernel(sums: tuple[FloatArray, FloatArray], weights: FloatArray) -> FloatArray:
    """Mean kernel over pairs of places drawn `weights` times, one value per row of weights."""
    kernel, pairs = (np.einsum("dp,pq,dq->d", weights, m, weights, optimize=True) for m in sums)
    with np.errstate(invalid="ignore"):
        mean: FloatArray = kernel / pairs
    return mean


def _resample(
    names: Sequence[str], fake: KernelFeatures, real: KernelFeatures, *, n_draws: int, seed: int
) -> FloatArray:
    """Times each place is drawn, `(D, P)`: shared and unshared places each among their own."""
    rng = np.random.default_rng(seed)
    kinds = np.array(
        [(name in set(fake.places)) + 2 * (name in set(real.places)) for name in names]
    )
    weights = np.zeros((n_draws, len(names)))
    for kind in np.unique(kinds):
        is_kind = kinds == kind
        n = int(is_kind.sum())
        weights[:, is_kind] = rng.multinomial(n, np.full(n, 1 / n), size=n_draws)
    return weights
