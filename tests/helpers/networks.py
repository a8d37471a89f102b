"""Small networks as training leaves them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from geotrans import models

_UNET = {"depth": 2, "width": 6, "max_width": 8, "head_width": 5, "head_layers": 1}
_RESNET = {"blocks": 1, "width": 4}

SMALL: dict[str, tuple[str, dict[str, Any]]] = {
    "unet": ("unet", _UNET),
    "unet with blocks": ("unet", {**_UNET, "blocks": (1, 2), "block_level": 2}),
    "unet of depth 1, no norm": ("unet", {**_UNET, "depth": 1, "norm": "none"}),
    "liteunet": ("liteunet", {"stages": 2, "width": 4, "head_width": 5}),
    "ensemble": (
        "ensemble",
        {"n": 2, "of": {"arch": "unet", "args": {"depth": 2, "width": 4, "max_width": 8}}},
    ),
    "resnet": ("resnet", _RESNET),
    "resnet as published": ("resnet", {**_RESNET, "upsample": "transposed"}),
}


def small(name: str, channels_in: int = 3, channels_out: int = 3) -> nn.Module:
    """A generator in evaluation mode; its norms have statistics and weights unlike fresh ones."""
    arch, args = SMALL[name]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        net = models.build(arch, channels_in, channels_out, **args)
        for module in net.modules():
            if isinstance(module, nn.BatchNorm2d):
                nn.init.uniform_(module.weight, 0.5, 1.5)
                nn.init.uniform_(module.bias, -0.5, 0.5)
                assert module.running_mean is not None
                assert module.running_var is not None
                module.running_mean.uniform_(-0.3, 0.3)
                module.running_var.uniform_(0.3, 2.0)
    return net.eval().requires_grad_(False)


def noise(*shape: int) -> Tensor:
    """Values in [-1, 1), always the same."""
    return torch.rand(shape, generator=torch.Generator().manual_seed(3)) * 2 - 1
