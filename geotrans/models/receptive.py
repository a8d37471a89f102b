"""How far a network sees."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from geotrans.models.folding import fold
from geotrans.models.phases import PhaseUp
from geotrans.models.registry import alignment
from geotrans.models.residual import body_of


def receptive_halo(net: nn.Module, in_channels: int, *, by_stride: bool = False) -> int:
    """Farthest input pixel that any output pixel depends on, px along an axis.

    Measured, not derived: with every weight positive and every activation linear no influence can
    cancel, so a lone pixel shows up exactly where it is seen. Every phase of the network's stride
    is tried. All channels of a layer would then be alike, so the probe has one of each.

    Args:
        net: Generator with an `align` attribute; left as it is.
        in_channels: Channels of its input.
        by_stride: Light up all `align` px of a stride at once, which takes a fraction of the time
            and may find up to `align - 1` px less.
    """
    align = alignment(net)
    # A narrow strip shows one axis as well as a square would; mirrored padding needs some width.
    narrow = align * -(-16 // align)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        probe = _probe(net)
        probe(torch.ones(1, in_channels, narrow, narrow, dtype=torch.float64))
        for weight in probe.parameters():
            weight.fill_(1 / weight[0].numel())
        return max(_reach(probe, in_channels, align, narrow, axis, by_stride) for axis in (2, 3))


def _reach(
    probe: nn.Module, in_channels: int, align: int, narrow: int, axis: int, by_stride: bool
) -> int:
    """Reach along the long axis of a strip, which grows until the whole reach shows."""
    size = 8 * max(align, 8)
    while True:
        middle = size // 2
        shape = (size, narrow) if axis == 2 else (narrow, size)
        lights = torch.eye(align, size, dtype=torch.float64).roll(middle, dims=1)  # (phase, px)
        if by_stride:
            lights = lights.sum(dim=0, keepdim=True)
        x = lights.unsqueeze(1).unsqueeze(5 - axis).expand(-1, in_channels, *shape)
        seen = probe(x.contiguous()).sum(dim=(1, 5 - axis)) > 0  # (phase, px)
        reach = max(_distance(a, b) for a, b in zip(seen, lights > 0, strict=True))
        if reach < middle - align:
            return reach
        size *= 2


def _distance(seen: Tensor, lit: Tensor) -> int:
    """How far what is seen reaches beyond what is lit."""
    where, source = torch.nonzero(seen).flatten(), torch.nonzero(lit).flatten()
    return max(int(source.min() - where.min()), int(where.max() - source.max()))


def _probe(net: nn.Module) -> nn.Module:
    """The network with one channel a layer, without biases, activations and norms."""
    probe = fold(body_of(net))  # what a residual adds to its body sees the pixel alone
    for module in list(probe.modules()):
        for name, child in module.named_children():
            if isinstance(child, PhaseUp):
                setattr(module, name, _lone(child.as_transposed()))
            elif isinstance(child, nn.Conv2d | nn.ConvTranspose2d):
                setattr(module, name, _lone(child))
            elif isinstance(
                child, nn.Tanh | nn.ReLU | nn.LeakyReLU | nn.InstanceNorm2d | nn.BatchNorm2d
            ):
                setattr(module, name, nn.Identity())
    return probe


def _lone(conv: nn.Conv2d | nn.ConvTranspose2d) -> nn.Module:
    """A convolution of the same reach with one output channel and as many inputs as come."""
    shape: dict[str, Any] = {
        name: getattr(conv, name) for name in ("kernel_size", "stride", "padding", "dilation")
    }
    shape |= {"bias": False, "padding_mode": conv.padding_mode, "dtype": torch.float64}
    if isinstance(conv, nn.Conv2d):
        return nn.LazyConv2d(1, **shape)
    shape["output_padding"] = conv.output_padding
    return nn.LazyConvTranspose2d(1, **shape)
