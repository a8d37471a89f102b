"""U-Net generator.

References:
    Ronneberger et al., "U-Net", MICCAI 2015, and Isola et al., "Image-to-Image Translation with
    Conditional Adversarial Networks", CVPR 2017. Ours upsamples by nearest neighbour and a
    convolution (no checkerboard: Odena et al., Distill 2016), has no dropout, may carry residual
    blocks at one level, and ends in a full-resolution head that sees the input again.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from geotrans.errors import ConfigError
from geotrans.models.layers import ResidualBlock, activation, conv_norm, up_norm


class UNet(nn.Module):
    """Encoder and decoder with skip connections; every layer is local.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        depth: Times the resolution is halved; `align` is `2 ** depth`.
        width: Channels after the first halving; doubled at each level up to `max_width`.
        max_width: Most channels of a level.
        head_width: Channels at full resolution.
        head_layers: 3 x 3 layers at full resolution before the last.
        blocks: Residual blocks at `block_level`, each with the dilation given.
        block_level: Level the blocks work at: 1 is half resolution.
        norm: `"batch"`, `"instance"` or `"none"`.
        out_activation: `"tanh"` for images in [-1, 1], `"none"` for scores.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        depth: int = 5,
        width: int = 32,
        max_width: int = 256,
        head_width: int = 16,
        head_layers: int = 0,
        blocks: Sequence[int] = (),
        block_level: int = 3,
        norm: str = "batch",
        out_activation: str = "tanh",
    ) -> None:
        super().__init__()
        if depth < 1 or (blocks and not 1 <= block_level <= depth):
            raise ConfigError(
                f"a U-Net of depth {depth} has no level {block_level if blocks else 1}; "
                "set depth to at least 1 and block_level to at most depth"
            )
        self.align = 2**depth
        self.block_level = block_level
        widths = [min(max_width, width * 2**level) for level in range(depth)]
        self.down = nn.ModuleList()
        channels = in_channels
        for level, wide in enumerate(widths):
            # As in pix2pix the first layer has no norm: it sees the values as they are.
            level_norm = norm if level else "none"
            self.down.append(conv_norm(channels, wide, kernel=4, stride=2, norm=level_norm))
            channels = wide
        self.blocks = nn.Sequential(
            *(ResidualBlock(widths[block_level - 1], dilation=d, norm=norm) for d in blocks)
        )
        self.up = nn.ModuleList()
        for level in reversed(range(depth)):
            wide = widths[level - 1] if level else head_width
            self.up.append(up_norm(channels, wide, norm=norm))
            channels = 2 * wide if level else wide
        channels += in_channels
        head: list[nn.Module] = []
        for _ in range(head_layers):
            head.append(conv_norm(channels, head_width, kernel=3, norm=norm))
            channels = head_width
        head.append(nn.Conv2d(channels, out_channels, 3, padding=1))
        self.head = nn.Sequential(*head)
        self.out_activation = activation(out_activation)

    def encode(self, x: Tensor) -> list[Tensor]:
        """Features of patches at each level, from half resolution down."""
        levels = []
        for level, down in enumerate(self.down, start=1):
            x = down(x)
            if level == self.block_level:
                x = self.blocks(x)
            levels.append(x)
        return levels

    def forward(self, x: Tensor) -> Tensor:
        """Translate patches `(N, C, H, W)`; H and W are multiples of `align`."""
        skips = self.encode(x)
        y = skips.pop()
        for up in self.up:
            y = up(y)
            y = torch.cat([y, skips.pop() if skips else x], dim=1)
        scores: Tensor = self.out_activation(self.head(y))
        return scores
