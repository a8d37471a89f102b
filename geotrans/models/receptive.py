"""Receptive field of a network."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn

from geotrans.models.exact.folding import fold
from geotrans.models.exact.split_conv import SplitConv
from geotrans.models.exact.upsample import PhaseUpsample
from geotrans.models.registry import alignment
from geotrans.models.residual import get_body

# Layers that move no influence from pixel to pixel.
_POINTWISE = (
    nn.Tanh,
    nn.ReLU,
    nn.ReLU6,
    nn.LeakyReLU,
    nn.InstanceNorm2d,
    nn.BatchNorm2d,
)


def receptive_halo(net: nn.Module, in_channels: int, *, by_stride: bool = False) -> int:
    """Farthest input pixel that any output pixel depends on, px along an axis.

    Measured, not derived: with every weight positive and every activation linear no influence can
    cancel, so a lone pixel shows up exactly where it is seen. Every phase of the network's stride
    counts; one between two others is tried only where it could reach farther, as what a pixel
    reaches never moves left when the pixel moves right. All channels of a layer would be alike, so
    the probe has one of each.

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
        probe = _make_probe(net)
        probe(torch.ones(1, in_channels, narrow, narrow, dtype=torch.float64))
        for weight in probe.parameters():
            weight.fill_(1 / weight[0].numel())
        return max(
            _measure_reach(probe, in_channels, align, narrow, axis, by_stride) for axis in (2, 3)
        )


def _measure_reach(
    probe: nn.Module, in_channels: int, align: int, strip_width: int, axis: int, by_stride: bool
) -> int:
    """Reach along the long axis of a strip, which grows until the whole reach shows."""
    size = 8 * max(align, 8)
    while True:
        middle = size // 2
        blank = torch.zeros(
            1,
            in_channels,
            *((size, strip_width) if axis == 2 else (strip_width, size)),
            dtype=torch.float64,
        )
        input_reach = partial(_input_reach, probe, blank, axis)
        if by_stride:
            first, last = input_reach(0, align)
            reach = max(-first, last - (align - 1))
        else:
            reach = _find_farthest(input_reach, align)
        if reach < middle - align:
            return reach
        size *= 2


def _input_reach(
    probe: nn.Module, blank: Tensor, axis: int, phase: int, n_lit: int = 1
) -> tuple[int, int]:
    """First and last px that see any of those lit, counted from the middle of a strip."""
    x, middle = blank.clone(), blank.shape[axis] // 2
    x.narrow(axis, middle + phase, n_lit).fill_(1)
    nonzero = torch.nonzero(probe(x).sum(dim=(0, 1, 5 - axis)))
    return int(nonzero.min()) - middle, int(nonzero.max()) - middle


def _find_farthest(input_reach: Callable[[int], tuple[int, int]], n_phases: int) -> int:
    """Longest way from a phase to the first or last px it is seen at."""
    ends = {phase: input_reach(phase) for phase in {0, n_phases - 1}}
    best = max(max(p - first, last - p) for p, (first, last) in ends.items())
    spans = [(0, n_phases - 1)]
    while spans:
        start, stop = spans.pop()
        bound = max(stop - 1 - ends[start][0], ends[stop][1] - start - 1)
        if stop - start < 2 or bound <= best:
            continue
        phase = (start + stop) // 2
        ends[phase] = first, last = input_reach(phase)
        best = max(best, phase - first, last - phase)
        spans += [(start, phase), (phase, stop)]
    return best


def _make_probe(net: nn.Module) -> nn.Module:
    """The network with one channel a layer, without biases, activations and norms."""
    probe = fold(get_body(net))  # what a residual adds to its body sees the pixel alone
    for module in list(probe.modules()):
        for name, child in module.named_children():
            if isinstance(child, PhaseUpsample):
                setattr(module, name, _make_impulse(child.as_transposed()))
            elif isinstance(child, SplitConv):
                setattr(module, name, _make_impulse(cast(nn.Conv2d, child.parts[0])))
            elif isinstance(child, nn.Conv2d | nn.ConvTranspose2d):
                setattr(module, name, _make_impulse(child))
            elif isinstance(child, _POINTWISE):
                setattr(module, name, nn.Identity())
    return probe


def _make_impulse(conv: nn.Conv2d | nn.ConvTranspose2d) -> nn.Module:
    """A convolution of the same reach with one output channel and as many inputs as come."""
    shape: dict[str, Any] = {
        name: getattr(conv, name) for name in ("kernel_size", "stride", "padding", "dilation")
    }
    shape |= {"bias": False, "padding_mode": conv.padding_mode, "dtype": torch.float64}
    if isinstance(conv, nn.Conv2d):
        return nn.LazyConv2d(1, **shape)
    shape["output_padding"] = conv.output_padding
    return nn.LazyConvTranspose2d(1, **shape)
