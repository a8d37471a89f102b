"""ResNet generator.

References:
    Johnson et al., "Perceptual Losses for Real-Time Style Transfer", ECCV 2016, as used by Zhu et
    al., "Unpaired Image-to-Image Translation using Cycle-Consistent Adversarial Networks", ICCV
    2017: two halvings, residual blocks, two doublings. Ours may upsample by nearest neighbour and
    a convolution, and uses batch norm unless asked otherwise, so that it stays local.
"""

from __future__ import annotations

from torch import Tensor, nn

from geotrans.errors import ConfigError
from geotrans.models.layers import UpConv, activation, normalisation


class _ReflectBlock(nn.Module):
    """Residual block on mirrored borders, as the reference network has it."""

    def __init__(self, channels: int, *, norm: str) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.ReflectionPad2d(1),
            nn.Conv2d(channels, channels, 3, bias=norm != "batch"),
            normalisation(norm, channels),
            nn.ReLU(inplace=True),
            nn.ReflectionPad2d(1),
            nn.Conv2d(channels, channels, 3, bias=norm != "batch"),
            normalisation(norm, channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = x + self.body(x)
        return y


class ResNet(nn.Module):
    """Encoder, residual blocks and decoder without skip connections.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        blocks: Residual blocks at a quarter of the resolution; 6 and 9 are usual.
        width: Channels at full resolution; four times as many in the blocks.
        norm: `"batch"`, `"instance"` or `"none"`.
        upsample: `"nearest"` (with a 3 x 3 convolution) or `"transposed"` (as published).
        out_activation: `"tanh"` for images in [-1, 1], `"none"` for scores.
    """

    align = 4

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        blocks: int = 9,
        width: int = 64,
        norm: str = "batch",
        upsample: str = "nearest",
        out_activation: str = "tanh",
    ) -> None:
        super().__init__()
        self.n_blocks = blocks
        bias = norm != "batch"
        layers: list[nn.Module] = [
            nn.ReflectionPad2d(3),
            nn.Conv2d(in_channels, width, 7, bias=bias),
            normalisation(norm, width),
            nn.ReLU(inplace=True),
        ]
        for wide in (width, 2 * width):
            layers += [
                nn.Conv2d(wide, 2 * wide, 3, stride=2, padding=1, bias=bias),
                normalisation(norm, 2 * wide),
                nn.ReLU(inplace=True),
            ]
        layers += [_ReflectBlock(4 * width, norm=norm) for _ in range(blocks)]
        for wide in (4 * width, 2 * width):
            layers += [
                _make_doubling(wide, wide // 2, upsample, bias=bias),
                normalisation(norm, wide // 2),
                nn.ReLU(inplace=True),
            ]
        layers += [nn.ReflectionPad2d(3), nn.Conv2d(width, out_channels, 7)]
        self.body = nn.Sequential(*layers)
        self.out_activation = activation(out_activation)

    def encode(self, x: Tensor) -> list[Tensor]:
        """Features of patches: at full, half and quarter resolution, and after some blocks."""
        levels: list[Tensor] = []
        n_blocks = 0
        for layer in self.body:
            x = layer(x)
            is_block = isinstance(layer, _ReflectBlock)
            n_blocks += is_block
            if is_block and n_blocks % 4 == 1:
                levels.append(x)
            if n_blocks == 0 and isinstance(layer, nn.ReLU):
                levels.append(x)
            if n_blocks == self.n_blocks:
                break
        return levels

    def forward(self, x: Tensor) -> Tensor:
        """Translate patches `(N, C, H, W)`; H and W are multiples of 4."""
        y: Tensor = self.out_activation(self.body(x))
        return y


def _make_doubling(channels_in: int, channels_out: int, kind: str, *, bias: bool) -> nn.Module:
    if kind == "nearest":
        return UpConv(channels_in, channels_out, bias=bias)
    if kind == "transposed":
        return nn.ConvTranspose2d(
            channels_in, channels_out, 3, stride=2, padding=1, output_padding=1, bias=bias
        )
    raise ConfigError(f"upsample '{kind}' is not known; use nearest or transposed")
