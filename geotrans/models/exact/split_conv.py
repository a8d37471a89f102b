"""1 x 1 convolutions of many channels, summed in a fixed order.

oneDNN divides a long sum over channels among threads: the same pixel then differs in its last bits
from one number of threads to another. Sums of up to 144 channels it left whole wherever tried.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

# Most channels that one convolution adds up.
LONGEST = 128


class SplitConv(nn.Module):
    """A 1 x 1 convolution as a sum of shorter ones.

    Args:
        conv: Convolution of stride 1, with a bias or without.
    """

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.parts = nn.ModuleList()
        for part in torch.split(conv.weight.detach(), LONGEST, dim=1):
            short = nn.Conv2d(part.shape[1], part.shape[0], 1, bias=False)
            short.weight = nn.Parameter(part.clone())
            # The first one adds the bias.
            short.bias = None if self.parts else conv.bias
            self.parts.append(short)

    def forward(self, x: Tensor) -> Tensor:
        """Patches `(N, C_in, H, W)` to `(N, C_out, H, W)`."""
        first, *rest = (
            conv(channels.contiguous(memory_format=torch.channels_last))
            for conv, channels in zip(self.parts, torch.split(x, LONGEST, dim=1), strict=True)
        )
        total: Tensor = first
        for partial in rest:
            total = total + partial
        return total


def split_long_sums(net: nn.Module) -> None:
    """Make every 1 x 1 convolution of more channels than `LONGEST` a `SplitConv`."""
    for name, child in net.named_children():
        if type(child) is nn.Conv2d and _is_long(child):
            setattr(net, name, SplitConv(child))
        else:
            split_long_sums(child)


def _is_long(conv: nn.Conv2d) -> bool:
    plain = conv.kernel_size == (1, 1) and conv.stride == (1, 1) and conv.groups == 1
    return plain and conv.in_channels > LONGEST
