"""Losses; each takes tensors and gives one number."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from geotrans.models import CriticOutput
from geotrans.tasks.spec import BandSpec


def masked_l1(output: Tensor, target: Tensor, valid: Tensor, *, pool: int = 1) -> Tensor:
    """Mean absolute difference of valid pixels.

    Args:
        output: `(N, C, H, W)`.
        target: The same.
        valid: 1 where pixels count, `(N, 1, H, W)`.
        pool: Edge of the squares both sides are averaged over first, px; where a map does not
            distinguish a roof from a lawn, colours agree on average and not by the pixel.
    """
    difference = (output - target) * valid
    if pool > 1:
        difference, valid = F.avg_pool2d(difference, pool), F.avg_pool2d(valid, pool)
    return difference.abs().sum() / (valid.sum() * output.shape[1]).clamp(min=1)


def masked_l2(output: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    """Mean squared difference of valid pixels; shapes as for `masked_l1`."""
    squares = ((output - target) * valid).square()
    return squares.sum() / (valid.sum() * output.shape[1]).clamp(min=1)


def critic_loss(real: Sequence[Tensor], fake: Sequence[Tensor], *, kind: str) -> Tensor:
    """What the critic minimises, mean over its heads.

    References:
        Hinge: Lim and Ye, "Geometric GAN", 2017. Least squares: Mao et al., ICCV 2017.
    """
    losses = []
    for r, f in zip(real, fake, strict=True):
        if kind == "hinge":
            losses.append(F.relu(1 - r).mean() + F.relu(1 + f).mean())
        else:
            losses.append(((r - 1) ** 2).mean() + (f**2).mean())
    return torch.stack(losses).mean() / 2


def adversarial_loss(fake: Sequence[Tensor], *, kind: str) -> Tensor:
    """What the generator minimises, mean over the critic's heads."""
    losses = [-f.mean() if kind == "hinge" else ((f - 1) ** 2).mean() for f in fake]
    return torch.stack(losses).mean()


def feature_loss(real: Sequence[CriticOutput], fake: Sequence[CriticOutput]) -> Tensor:
    """Mean absolute difference of a critic's activations.

    References:
        Wang et al., CVPR 2018, section 3.2.
    """
    losses = [
        F.l1_loss(f, r.detach())
        for real_output, fake_output in zip(real, fake, strict=True)
        for r, f in zip(real_output.features, fake_output.features, strict=True)
    ]
    return torch.stack(losses).mean()


def masked_cross_entropy(scores: Tensor, classes: Tensor, valid: Tensor) -> Tensor:
    """Cross-entropy of valid pixels; `scores` `(N, K, H, W)`, `classes` `(N, H, W)`."""
    losses = F.cross_entropy(scores, classes, reduction="none")[:, None]
    return (losses * valid).sum() / valid.sum().clamp(min=1)


def jaccard_loss(
    scores: Tensor, classes: Tensor, valid: Tensor, *, groups: Sequence[Sequence[int]] = ()
) -> Tensor:
    """One minus the soft intersection over union, mean over the classes present in the batch.

    Args:
        scores: `(N, K, H, W)`.
        classes: `(N, H, W)`.
        valid: 1 where pixels count, `(N, 1, H, W)`.
        groups: Classes that count as one more class together, such as all roads.

    References:
        Rahman and Wang, "Optimizing Intersection-Over-Union in Deep Neural Networks", ISVC 2016.
    """
    probability = scores.float().softmax(dim=1) * valid
    true = F.one_hot(classes, scores.shape[1]).permute(0, 3, 1, 2).float() * valid
    for group in groups:
        probability = torch.cat(
            [probability, probability[:, list(group)].sum(dim=1, keepdim=True)], dim=1
        )
        true = torch.cat([true, true[:, list(group)].sum(dim=1, keepdim=True)], dim=1)
    both = (probability * true).sum(dim=(0, 2, 3))
    either = (probability + true - probability * true).sum(dim=(0, 2, 3))
    present = true.sum(dim=(0, 2, 3)) > 0
    overlap = (both / either.clamp(min=1) * present).sum() / present.sum().clamp(min=1)
    return 1 - overlap


def known_loss(
    output: Tensor, source: Tensor, valid: Tensor, known: Sequence[tuple[int, int]]
) -> Tensor:
    """Mean absolute difference of bands that the source measures already.

    Args:
        output: `(N, C, H, W)`.
        source: What it was made of, `(N, C', H, W)`.
        valid: 1 where pixels count, `(N, 1, H, W)`.
        known: Positions `(in output, in source)` of the same band.
    """
    out_channels, source_channels = ([pair[i] for pair in known] for i in (0, 1))
    return masked_l1(output[:, out_channels], source[:, source_channels], valid)


def shared_bands(
    reads: Sequence[BandSpec], writes: Sequence[BandSpec]
) -> Sequence[tuple[int, int]]:
    """Positions `(written, read)` of bands that both have by name."""
    names = [band.name for band in reads]
    return [(i, names.index(band.name)) for i, band in enumerate(writes) if band.name in names]
