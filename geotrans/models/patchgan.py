"""PatchGAN critic at one or more scales.

References:
    Isola et al., CVPR 2017 (70 x 70 patches); Wang et al., "High-Resolution Image Synthesis with
    Conditional GANs", CVPR 2018 (several scales, features for matching); Miyato et al., "Spectral
    Normalization", ICLR 2018.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm


class CriticOutput(NamedTuple):
    """What one scale of a critic says.

    Attributes:
        scores: One score a patch, `(N, 1, h, w)`; higher is more real.
        features: Activations of the inner layers, from fine to coarse.
    """

    scores: Tensor
    features: list[Tensor]


class PatchGAN(nn.Module):
    """Critics of the same shape at full, half, quarter ... resolution.

    Args:
        in_channels: Channels of source and target together.
        width: Channels of the first layer; doubled at each halving.
        layers: Halvings; 3 see 70 x 70 px.
        scales: Number of critics.
        norm: `"spectral"` or `"none"`.
    """

    def __init__(
        self,
        in_channels: int,
        *,
        width: int = 64,
        layers: int = 3,
        scales: int = 1,
        norm: str = "spectral",
    ) -> None:
        super().__init__()
        self.critics = nn.ModuleList(
            _make_stages(in_channels, width=width, layers=layers, norm=norm) for _ in range(scales)
        )
        self.shrink = nn.AvgPool2d(3, stride=2, padding=1, count_include_pad=False)

    def forward(self, x: Tensor) -> list[CriticOutput]:
        """Judge `(N, C, H, W)`: one verdict a scale, finest first."""
        outputs = []
        for scale, stages in enumerate(self.critics):
            y = x = self.shrink(x) if scale else x
            features = []
            for stage in stages:  # type: ignore[attr-defined] # a ModuleList holds ModuleLists
                y = stage(y)
                features.append(y)
            outputs.append(CriticOutput(features.pop(), features))
        return outputs


def _make_stages(in_channels: int, *, width: int, layers: int, norm: str) -> nn.ModuleList:
    """The layers of one critic, the last of which gives the scores."""

    def conv(channels_in: int, channels_out: int, stride: int) -> nn.Module:
        layer = nn.Conv2d(channels_in, channels_out, 4, stride=stride, padding=1)
        return spectral_norm(layer) if norm == "spectral" else layer

    widths = [width * min(8, 2**i) for i in range(layers + 1)]
    stages: list[nn.Module] = []
    channels = in_channels
    for i, wide in enumerate(widths):
        stride = 2 if i < layers else 1
        stages.append(nn.Sequential(conv(channels, wide, stride), nn.LeakyReLU(0.2)))
        channels = wide
    stages.append(conv(channels, 1, 1))
    return nn.ModuleList(stages)
