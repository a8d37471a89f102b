"""Networks of the CycleGAN and pix2pix authors' code, built from a description of their layers.

They are written as the papers' appendices and the keys of published files tell, apart from the
package on purpose: what is imported must compute what these do.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn


def _norm(kind: str, channels: int) -> nn.Module:
    return nn.BatchNorm2d(channels) if kind == "batch" else nn.InstanceNorm2d(channels)


class _Block(nn.Module):
    def __init__(self, channels: int, norm: str, dropout: bool) -> None:
        super().__init__()
        bias = norm == "instance"
        layers: list[nn.Module] = [
            nn.ReflectionPad2d(1),
            nn.Conv2d(channels, channels, 3, bias=bias),
            _norm(norm, channels),
            nn.ReLU(True),
        ]
        if dropout:
            layers.append(nn.Dropout(0.5))
        layers += [
            nn.ReflectionPad2d(1),
            nn.Conv2d(channels, channels, 3, bias=bias),
            _norm(norm, channels),
        ]
        self.conv_block = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = x + self.conv_block(x)
        return y


class ReferenceResnet(nn.Module):
    """c7s1-64, d128, d256, R256 ..., u128, u64, c7s1-3."""

    def __init__(
        self, c_in: int, c_out: int, width: int, norm: str, blocks: int, dropout: bool
    ) -> None:
        super().__init__()
        bias = norm == "instance"
        layers: list[nn.Module] = [
            nn.ReflectionPad2d(3),
            nn.Conv2d(c_in, width, 7, bias=bias),
            _norm(norm, width),
            nn.ReLU(True),
        ]
        for n in (width, 2 * width):
            layers += [
                nn.Conv2d(n, 2 * n, 3, stride=2, padding=1, bias=bias),
                _norm(norm, 2 * n),
                nn.ReLU(True),
            ]
        layers += [_Block(4 * width, norm, dropout) for _ in range(blocks)]
        for n in (4 * width, 2 * width):
            layers += [
                nn.ConvTranspose2d(n, n // 2, 3, stride=2, padding=1, output_padding=1, bias=bias),
                _norm(norm, n // 2),
                nn.ReLU(True),
            ]
        layers += [nn.ReflectionPad2d(3), nn.Conv2d(width, c_out, 7), nn.Tanh()]
        self.model = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.model(x)
        return y


class _Level(nn.Module):
    """|-- down -- everything below -- up --|, beside the way straight through."""

    def __init__(
        self,
        outer: int,
        inner: int,
        norm: str,
        *,
        below: nn.Module | None = None,
        c_in: int | None = None,
        dropout: bool = False,
    ) -> None:
        super().__init__()
        bias = norm == "instance"
        self.outermost = c_in is not None
        down = nn.Conv2d(outer if c_in is None else c_in, inner, 4, stride=2, padding=1, bias=bias)
        up_in = inner if below is None else 2 * inner
        layers: list[nn.Module]
        if self.outermost:
            assert below is not None
            layers = [down, below, nn.ReLU(True)]
            layers += [nn.ConvTranspose2d(up_in, outer, 4, stride=2, padding=1), nn.Tanh()]
        else:
            up = nn.ConvTranspose2d(up_in, outer, 4, stride=2, padding=1, bias=bias)
            layers = [nn.LeakyReLU(0.2, True), down]
            if below is not None:
                layers += [_norm(norm, inner), below]
            layers += [nn.ReLU(True), up, _norm(norm, outer)]
            if dropout:
                layers.append(nn.Dropout(0.5))
        self.model = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        if self.outermost:
            y: Tensor = self.model(x)
            return y
        return torch.cat([x, self.model(x)], dim=1)


class ReferenceUnet(nn.Module):
    """C64, C128, C256, C512 ... and back."""

    def __init__(
        self, c_in: int, c_out: int, width: int, norm: str, downs: int, dropout: bool
    ) -> None:
        super().__init__()
        level = _Level(8 * width, 8 * width, norm)
        for _ in range(downs - 5):
            level = _Level(8 * width, 8 * width, norm, below=level, dropout=dropout)
        for n in (4, 2, 1):
            level = _Level(n * width, 2 * n * width, norm, below=level)
        self.model = _Level(c_out, width, norm, below=level, c_in=c_in)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.model(x)
        return y


def reference_net(
    arch: str, *, c_in: int = 3, c_out: int = 3, width: int = 4, norm: str = "instance",
    dropout: bool = False,
) -> nn.Module:  # fmt: skip
    """A network as training leaves it: in evaluation mode, norms with statistics of their own."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(11)
        net: nn.Module
        if arch.startswith("resnet"):
            net = ReferenceResnet(c_in, c_out, width, norm, int(arch[7]), dropout)
        else:
            downs = {"unet_128": 7, "unet_256": 8}[arch]
            net = ReferenceUnet(c_in, c_out, width, norm, downs, dropout)
        for module in net.modules():
            if isinstance(module, nn.BatchNorm2d):
                nn.init.uniform_(module.weight, 0.5, 1.5)
                nn.init.uniform_(module.bias, -0.5, 0.5)
                assert module.running_mean is not None
                assert module.running_var is not None
                module.running_mean.uniform_(-0.3, 0.3)
                module.running_var.uniform_(0.3, 2.0)
            elif isinstance(module, nn.Conv2d | nn.ConvTranspose2d) and module.bias is not None:
                nn.init.uniform_(module.bias, -0.2, 0.2)
    return net.eval().requires_grad_(False)


def save_reference(
    path: Path,
    net: nn.Module,
    *,
    prefix: str = "",
    old_statistics: bool = False,
    new_format: bool = True,
) -> Path:
    """Write a state dict as those who trained it did.

    Args:
        path: File to write.
        net: The network.
        prefix: `"module."` of a network on several GPUs.
        old_statistics: Running statistics beside instance norms, as old torch kept them.
        new_format: Whether it is a zip file.
    """
    state: dict[str, Any] = {f"{prefix}{key}": value for key, value in net.state_dict().items()}
    if old_statistics:
        for name, module in net.named_modules():
            if isinstance(module, nn.InstanceNorm2d):
                n = module.num_features
                state[f"{prefix}{name}.running_mean"] = torch.full((n,), 7.0)
                state[f"{prefix}{name}.running_var"] = torch.full((n,), 3.0)
                state[f"{prefix}{name}.num_batches_tracked"] = torch.tensor(5)
    write_state(path, state, new_format=new_format)
    return path


def write_state(path: Path, state: Mapping[str, Any], *, new_format: bool = True) -> None:
    """`torch.save`."""
    torch.save(dict(state), path, _use_new_zipfile_serialization=new_format)
