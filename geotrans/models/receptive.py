"""How far a network sees."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import nn

from geotrans.models.folding import fold


def receptive_halo(net: nn.Module, in_channels: int) -> int:
    """Farthest input pixel that any output pixel depends on, px along an axis.

    Measured, not derived: with every weight positive and every activation linear no influence can
    cancel, so the gradient of an output pixel is non-zero exactly where it looks. Every phase of
    the network's stride is tried.

    Args:
        net: Generator with an `align` attribute; left as it is.
        in_channels: Channels of its input.
    """
    probe = _linear(fold(copy.deepcopy(net))).double()
    align = int(getattr(net, "align", 1))
    # A narrow strip shows one axis as well as a square would; mirrored padding needs some width.
    narrow = align * -(-16 // align)
    strips = (lambda size: (size, narrow)), (lambda size: (narrow, size))
    return max(_reach(probe, in_channels, align, strip) for strip in strips)


def _reach(
    probe: nn.Module, in_channels: int, align: int, strip: Callable[[int], tuple[int, int]]
) -> int:
    """Reach along the long axis of a strip, which grows until the whole reach shows."""
    size = 8 * max(align, 8)
    while True:
        x = torch.ones(1, in_channels, *strip(size), dtype=torch.float64, requires_grad=True)
        y = probe(x)
        long, middle, reach = int(x.shape[3] > x.shape[2]), size // 2, 0
        for position in range(middle, middle + align):
            score = y.select(2 + long, position).sum()
            (seen,) = torch.autograd.grad(score, x, retain_graph=True)
            where = torch.nonzero(seen.sum(dim=(0, 1, 3 - long))).flatten()
            reach = max(reach, position - int(where.min()), int(where.max()) - position)
        if reach < middle - align:
            return reach
        size *= 2


def _linear(net: nn.Module) -> nn.Module:
    """The network with equal positive weights and without activations and norms."""
    for module in net.modules():
        for name, child in module.named_children():
            if isinstance(child, nn.Conv2d | nn.ConvTranspose2d):
                torch.nn.init.constant_(child.weight, 1 / child.weight[0].numel())
                if child.bias is not None:
                    torch.nn.init.zeros_(child.bias)
            elif isinstance(
                child, nn.Tanh | nn.ReLU | nn.LeakyReLU | nn.InstanceNorm2d | nn.BatchNorm2d
            ):
                setattr(module, name, nn.Identity())
    return net
