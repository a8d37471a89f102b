"""Patch-contrastive loss: each place of an output is to be recognised in its source.

References:
    Park et al., "Contrastive Learning for Unpaired Image-to-Image Translation", ECCV 2020
    (arXiv 2007.15651), section 3 and equations 2 to 4, written anew from the paper: features of
    the generator's own encoder at several levels, projected by a two-layer perceptron each, on the
    unit sphere; the same place is the positive, other places of the same patch the negatives.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Projections(nn.Module):
    """One small perceptron a level, from its channels to the unit sphere.

    Args:
        channels: Channels of each level.
        width: Channels of the projections.
    """

    def __init__(self, channels: Sequence[int], *, width: int) -> None:
        super().__init__()
        self.heads = nn.ModuleList(
            nn.Sequential(nn.Linear(wide, width), nn.ReLU(), nn.Linear(width, width))
            for wide in channels
        )

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Features of some places a level, `(N, S, C)`, as unit vectors `(N, S, width)`."""
        return [
            F.normalize(head(level), dim=-1)
            for head, level in zip(self.heads, features, strict=True)
        ]


def draw_positions(levels: Sequence[Tensor], n: int, rng: np.random.Generator) -> list[Tensor]:
    """Places of each level, counted row by row; all of them where there are not as many.

    Args:
        levels: Features `(N, C, h, w)`.
        n: Places a level.
        rng: Where the draws come from.
    """
    positions = []
    for level in levels:
        size = level.shape[-2] * level.shape[-1]
        chosen = rng.permutation(size)[:n]
        positions.append(torch.from_numpy(chosen).to(level.device))
    return positions


def gather_positions(levels: Sequence[Tensor], positions: Sequence[Tensor]) -> list[Tensor]:
    """Features at some places of each level, `(N, S, C)`."""
    return [
        level.flatten(2)[:, :, indices].transpose(1, 2)  # (N, C, h, w) -> (N, S, C)
        for level, indices in zip(levels, positions, strict=True)
    ]


def contrast_loss(
    queries: Sequence[Tensor], keys: Sequence[Tensor], *, temperature: float
) -> Tensor:
    """Cross-entropy of finding each query among the keys of its patch, mean over the levels.

    Args:
        queries: Unit vectors of the output, one tensor a level, `(N, S, C)`.
        keys: The same places of the source. What they are is taken as given: no gradient moves a
            source towards its output.
        temperature: Divisor of the similarities.
    """
    losses = []
    for query, key in zip(queries, keys, strict=True):
        similarity = query.float() @ key.detach().float().transpose(1, 2) / temperature  # (N, S, S)
        labels = torch.arange(similarity.shape[1], device=query.device).expand(similarity.shape[:2])
        losses.append(F.cross_entropy(similarity.flatten(0, 1), labels.flatten()))
    return torch.stack(losses).mean()
