"""Memory footprint of a network at inference."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

_PROBE_PX = 64


@torch.inference_mode()
def largest_layer(net: nn.Module, in_channels: int) -> float:
    """Values that the largest layer reads and writes, for each pixel of the network's input.

    Args:
        net: Network on a CPU; left as it is.
        in_channels: Channels of its input.

    Returns:
        Times the bytes of a value and the pixels of a window, this is the least memory the network
        can run in.
    """
    net = copy.deepcopy(net).float().eval()
    align = int(getattr(net, "align", 1))
    edge = -(-_PROBE_PX // align) * align
    n_largest = 0

    def count_values(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        nonlocal n_largest
        tensors = [t for t in (*inputs, output) if isinstance(t, Tensor)]
        n_largest = max(n_largest, sum(t.numel() for t in tensors))

    for module in net.modules():
        if not list(module.children()):
            module.register_forward_hook(count_values)
    output: Tensor = net(torch.zeros(1, in_channels, edge, edge))
    return max(n_largest, output.numel() + in_channels * edge**2) / edge**2
