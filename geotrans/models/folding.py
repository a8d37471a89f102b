"""Networks as they run: norms folded into convolutions, upsampling as one step."""

from __future__ import annotations

import copy
from typing import cast

import torch
from torch import Tensor, nn

from geotrans.models.layers import UpConv

_Conv = nn.Conv2d | nn.ConvTranspose2d


def fold(net: nn.Module) -> nn.Module:
    """A copy for inference that computes the same with fewer steps.

    Batch norms become part of the convolution before them, `UpConv` a plain transposed
    convolution. Instance norms, which need the image, stay.

    Args:
        net: Network with trained statistics; left as it is.

    Returns:
        A network in evaluation mode without gradients.
    """
    folded = copy.deepcopy(net).eval().requires_grad_(False)
    _fold_children(folded)
    return folded


def _fold_children(module: nn.Module) -> None:
    previous: tuple[str, _Conv] | None = None
    for name, child in module.named_children():
        if isinstance(child, UpConv):
            child = _plain(child)
            setattr(module, name, child)
        if isinstance(child, _Conv):
            previous = name, child
        elif isinstance(child, nn.BatchNorm2d) and previous is not None:
            _fold_norm(previous[1], child)
            setattr(module, name, nn.Identity())
            previous = None
        else:
            previous = None
            _fold_children(child)


def _plain(up: UpConv) -> nn.ConvTranspose2d:
    """The transposed convolution an `UpConv` stands for."""
    channels_out, channels_in = up.weight.shape[:2]
    conv = nn.ConvTranspose2d(channels_in, channels_out, 4, stride=2, padding=1)
    conv.weight.data = up.kernel().detach()
    conv.bias = nn.Parameter(
        torch.zeros(channels_out) if up.bias is None else up.bias.detach().clone()
    )
    return conv.requires_grad_(False)


def _fold_norm(conv: _Conv, norm: nn.BatchNorm2d) -> None:
    """Scale and shift the outputs of `conv` as `norm` would, in float64."""
    mean, var = cast(Tensor, norm.running_mean), cast(Tensor, norm.running_var)
    gain = norm.weight.double() / torch.sqrt(var.double() + norm.eps)
    bias = torch.zeros_like(mean) if conv.bias is None else conv.bias
    # A transposed convolution keeps its output channels on axis 1.
    axes = (1, -1, 1, 1) if isinstance(conv, nn.ConvTranspose2d) else (-1, 1, 1, 1)
    conv.weight.data = (conv.weight.double() * gain.view(axes)).to(conv.weight.dtype)
    shifted = (bias.double() - mean.double()) * gain + norm.bias.double()
    conv.bias = nn.Parameter(shifted.to(conv.weight.dtype), requires_grad=False)
