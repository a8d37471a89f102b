"""Convolutions that add up in the same order, whatever the size of the window.

For kernels up to 3 x 3 torch takes another implementation than oneDNN's where the input holds no
more than 20,480 values, and for 1 x 1 ones where there is only one thread: a pixel would differ in
its last bits between a small tile and a large one, or between one process and many.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class OneDnnConv(nn.Conv2d):
    """A convolution by oneDNN always, where torch has it and is free to choose."""

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        is_free = input.dtype == torch.float32 and input.device.type == "cpu"
        output: Tensor
        if is_free and self.padding_mode == "zeros" and isinstance(self.padding, tuple):
            output = torch.mkldnn_convolution(
                input, weight, bias, self.padding, self.stride, self.dilation, self.groups
            )
        else:
            output = super()._conv_forward(input, weight, bias)
        return output


def use_onednn_conv(net: nn.Module) -> None:
    """Make every plain convolution of a network a `OneDnnConv`."""
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return
    for module in net.modules():
        if type(module) is nn.Conv2d:
            module.__class__ = OneDnnConv
