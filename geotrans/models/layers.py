"""Small parts several networks are made of."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from geotrans.errors import ConfigError


def normalisation(kind: str, channels: int) -> nn.Module:
    """A normalisation layer by name: `"batch"`, `"instance"` or `"none"`."""
    if kind == "batch":
        return nn.BatchNorm2d(channels)
    if kind == "instance":
        return nn.InstanceNorm2d(channels)
    if kind == "none":
        return nn.Identity()
    raise ConfigError(f"norm '{kind}' is not known; use batch, instance or none")


def activation(kind: str) -> nn.Module:
    """An activation by name: `"tanh"`, `"relu"`, `"leaky"` or `"none"`."""
    if kind == "tanh":
        return nn.Tanh()
    if kind == "relu":
        return nn.ReLU(inplace=True)
    if kind == "leaky":
        return nn.LeakyReLU(0.2, inplace=True)
    if kind == "none":
        return nn.Identity()
    raise ConfigError(f"activation '{kind}' is not known; use tanh, relu, leaky or none")


def conv_norm(
    channels_in: int,
    channels_out: int,
    *,
    kernel: int,
    stride: int = 1,
    dilation: int = 1,
    norm: str = "batch",
    act: str = "leaky",
) -> nn.Sequential:
    """Convolution, normalisation, activation.

    With stride 1 and an odd kernel the size is kept; with stride 2 and kernel 4 it is halved.
    """
    padding = dilation * (kernel - 1) // 2
    return nn.Sequential(
        nn.Conv2d(
            channels_in,
            channels_out,
            kernel,
            stride=stride,
            padding=padding,
            dilation=dilation,
            bias=norm != "batch",
        ),
        normalisation(norm, channels_out),
        activation(act),
    )


class ResidualBlock(nn.Module):
    """Two 3 x 3 convolutions whose output is added to their input."""

    def __init__(self, channels: int, *, dilation: int = 1, norm: str = "batch") -> None:
        super().__init__()
        self.body = nn.Sequential(
            conv_norm(channels, channels, kernel=3, dilation=dilation, norm=norm, act="relu"),
            conv_norm(channels, channels, kernel=3, norm=norm, act="none"),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Patches of the same shape."""
        y: Tensor = x + self.body(x)
        return y


class UpConv(nn.Module):
    """Nearest-neighbour upsampling by 2 and a 3 x 3 convolution, computed as one.

    Each output pixel sees only 2 x 2 different input pixels, so both steps together are a 4 x 4
    transposed convolution of stride 2 whose kernel sums the 3 x 3 one: 4 multiplications instead
    of 9, nothing upsampled in memory, and still no checkerboard, because the four phases share
    one kernel.
    """

    def __init__(self, channels_in: int, channels_out: int, *, bias: bool = True) -> None:
        super().__init__()
        # Held as the plain convolution it stands for, and initialised like it.
        conv = nn.Conv2d(channels_in, channels_out, 3, bias=bias)
        self.weight = conv.weight
        self.bias = conv.bias
        # Output pixel 2i + p reads rows i - 1, i, i + 1 of the input through these sums of taps.
        taps = torch.tensor([[0, 0, 1], [0, 1, 1], [1, 1, 0], [1, 0, 0]], dtype=torch.float32)
        self.register_buffer("taps", taps, persistent=False)

    def kernel(self) -> Tensor:
        """The transposed convolution's kernel, `(C_in, C_out, 4, 4)`."""
        taps = self.taps.to(self.weight.dtype)
        summed: Tensor = torch.einsum("iy,ocyx,jx->coij", taps, self.weight, taps)
        return summed

    def forward(self, x: Tensor) -> Tensor:
        """Patches of twice the height and width."""
        return nn.functional.conv_transpose2d(x, self.kernel(), self.bias, stride=2, padding=1)


def up_norm(
    channels_in: int, channels_out: int, *, norm: str = "batch", act: str = "leaky"
) -> nn.Sequential:
    """Upsampling by 2 with a convolution, normalisation, activation."""
    return nn.Sequential(
        UpConv(channels_in, channels_out, bias=norm != "batch"),
        normalisation(norm, channels_out),
        activation(act),
    )
