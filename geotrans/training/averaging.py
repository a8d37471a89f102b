"""Averaged weights, and batch norm statistics that belong to them."""

from __future__ import annotations

import copy
from collections.abc import Iterable

import torch
from torch import Tensor, nn


class AveragedWeights:
    """Exponential moving average of a network's weights, warmed up.

    Early steps count for less: the factor is `min(decay, (1 + n) / (10 + n))` after n updates.

    Args:
        net: Network that is trained.
        decay: Averaging factor after the warm-up.
    """

    def __init__(self, net: nn.Module, *, decay: float) -> None:
        self.net = copy.deepcopy(net).requires_grad_(False)
        self.decay = decay
        self.n_updates = 0

    @torch.no_grad()
    def update(self, net: nn.Module) -> None:
        """Update the average with the weights of one more step; buffers are copied."""
        decay = min(self.decay, (1 + self.n_updates) / (10 + self.n_updates))
        self.n_updates += 1
        averaged: list[Tensor] = list(self.net.parameters())
        trained: list[Tensor] = list(net.parameters())
        torch._foreach_lerp_(averaged, trained, 1 - decay)
        for average, current in zip(self.net.buffers(), net.buffers(), strict=True):
            average.copy_(current)


def freeze_norms(net: nn.Module) -> None:
    """Have batch norms use the statistics they have, and keep them, until `net.train()`."""
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()


@torch.no_grad()
def recompute_norms(net: nn.Module, sources: Iterable[Tensor]) -> None:
    """Give batch norms the plain average of their statistics over some batches.

    The running statistics belong to the trained weights, not to the averaged ones.
    """
    norms = [m for m in net.modules() if isinstance(m, nn.BatchNorm2d)]
    momenta = [m.momentum for m in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain average
    was_training = net.training
    net.train()
    for source in sources:
        net(source)
    net.train(was_training)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
