"""Networks as they run: norms folded into convolutions, upsampling as plain convolutions."""

from __future__ import annotations

import copy
from typing import cast

import torch
from torch import Tensor, nn

from geotrans.models.exact.onednn_conv import use_onednn_conv
from geotrans.models.exact.split_conv import split_long_sums
from geotrans.models.exact.upsample import PhaseUpsample
from geotrans.models.layers import UpConv

_Conv = nn.Conv2d | nn.ConvTranspose2d | UpConv


def fold(net: nn.Module, *, plain: bool = False) -> nn.Module:
    """A copy for inference that computes the same with fewer steps, and the same in every window.

    Batch norms become part of the convolution before them, and every doubling of the resolution a
    `PhaseUpsample`. Instance norms, which need the image, stay.

    Args:
        net: Network with trained statistics; left as it is.
        plain: Stop at layers that every engine knows: transposed convolutions double the
            resolution.

    Returns:
        A network in evaluation mode without gradients.
    """
    folded = copy.deepcopy(net).eval()
    _fold_norms(folded)
    if plain:
        _use_plain_doublings(folded)
    else:
        _split_phases(folded)
        split_long_sums(folded)
        use_onednn_conv(folded)
    return folded.eval().requires_grad_(False)


def _fold_norms(module: nn.Module) -> None:
    previous: _Conv | None = None
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm2d) and previous is not None:
            _fold_norm(previous, child)
            setattr(module, name, nn.Identity())
        elif not isinstance(child, _Conv):
            _fold_norms(child)
        previous = child if isinstance(child, _Conv) else None


def _use_plain_doublings(module: nn.Module) -> None:
    for name, child in module.named_children():
        if not isinstance(child, UpConv):
            _use_plain_doublings(child)
            continue
        kernel = child.kernel().detach()
        channels_in, channels_out = kernel.shape[:2]
        up = nn.ConvTranspose2d(channels_in, channels_out, 4, stride=2, padding=1, bias=False)
        up.weight = nn.Parameter(kernel)
        up.bias = child.bias
        setattr(module, name, up)


def _split_phases(module: nn.Module) -> None:
    for name, child in module.named_children():
        kernel = _doubling_kernel(child)
        if kernel is None:
            _split_phases(child)
        else:
            bias = cast(Tensor | None, child.bias)
            bias = kernel.new_zeros(kernel.shape[1]) if bias is None else bias.detach()
            setattr(module, name, PhaseUpsample(kernel, bias))


def _doubling_kernel(module: nn.Module) -> Tensor | None:
    """The kernel of a layer that doubles the resolution; None of any other layer."""
    if isinstance(module, UpConv):
        return module.kernel().detach()
    if not isinstance(module, nn.ConvTranspose2d) or module.groups > 1:
        return None
    shape = module.kernel_size, module.stride, module.padding, module.output_padding
    doubles = (((4, 4), (2, 2), (1, 1), (0, 0)), ((3, 3), (2, 2), (1, 1), (1, 1)))
    return module.weight.detach() if shape in doubles else None


def _fold_norm(conv: _Conv, norm: nn.BatchNorm2d) -> None:
    """Scale and shift the outputs of `conv` as `norm` would, in float64."""
    mean, var = cast(Tensor, norm.running_mean), cast(Tensor, norm.running_var)
    gain = norm.weight.double() / torch.sqrt(var.double() + norm.eps)
    bias = torch.zeros_like(mean) if conv.bias is None else conv.bias.detach()
    # A transposed convolution keeps its output channels on axis 1.
    axes = (1, -1, 1, 1) if isinstance(conv, nn.ConvTranspose2d) else (-1, 1, 1, 1)
    conv.weight.data = (conv.weight.double() * gain.view(axes)).to(conv.weight.dtype)
    shifted = (bias.double() - mean.double()) * gain + norm.bias.double()
    conv.bias = nn.Parameter(shifted.to(conv.weight.dtype), requires_grad=False)
