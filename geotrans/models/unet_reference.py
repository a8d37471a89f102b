"""The U-Net of the pix2pix paper, as published weights need it.

References:
    Isola et al., "Image-to-Image Translation with Conditional Adversarial Networks", CVPR 2017,
    appendix 6.1: 4 x 4 convolutions of stride 2 down to a bottleneck, transposed ones up again, the
    activation before each convolution, skip connections of what comes out of the norm. Without the
    dropout, which is for training.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from geotrans.errors import ConfigError
from geotrans.models.layers import activation, normalisation


class UNetReference(nn.Module):
    """Encoder and decoder with skip connections, halving `depth` times.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        depth: Times the resolution is halved: 7 for crops of 128 px, 8 for 256. `align` is
            `2 ** depth`, and each px sees about three times as far.
        width: Channels after the first halving; doubled three times, then kept.
        norm: `"batch"`, `"instance"` or `"none"`.
        out_activation: `"tanh"` for images in [-1, 1], `"none"` for scores.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        depth: int = 8,
        width: int = 64,
        norm: str = "batch",
        out_activation: str = "tanh",
    ) -> None:
        super().__init__()
        if depth < 2:
            raise ConfigError(f"a U-Net of depth {depth} has no skip connection; set depth to 2")
        self.align = 2**depth
        bias = norm != "batch"
        widths = [width * min(8, 2**level) for level in range(depth)]
        self.down = nn.ModuleList()
        self.up = nn.ModuleList()
        channels = in_channels
        for level, wide in enumerate(widths):
            # The first sees values as they are, and the last might leave a single px to its norm.
            has_norm = 0 < level < depth - 1
            conv = nn.Conv2d(channels, wide, 4, stride=2, padding=1, bias=bias)
            self.down.append(_with_norm(conv, norm if has_norm else "none", wide))
            channels = wide
        for level in reversed(range(depth)):
            wide = widths[level - 1] if level else out_channels
            conv_up = nn.ConvTranspose2d(
                channels, wide, 4, stride=2, padding=1, bias=bias or level == 0
            )
            self.up.append(_with_norm(conv_up, norm if level else "none", wide))
            channels = 2 * wide
        self.out_activation = activation(out_activation)

    def forward(self, x: Tensor) -> Tensor:
        """Translate patches `(N, C, H, W)`; H and W are multiples of `align`."""
        skips: list[Tensor] = []
        y = x
        for level, down in enumerate(self.down):
            y = down(F.leaky_relu(y, 0.2) if level else y)
            skips.append(y)
        y = skips.pop()
        for up in self.up:
            y = up(F.relu(y))
            if skips:
                y = torch.cat([skips.pop(), y], dim=1)
        scores: Tensor = self.out_activation(y)
        return scores


def _with_norm(conv: nn.Module, norm: str, channels: int) -> nn.Sequential:
    return nn.Sequential(conv, normalisation(norm, channels))
