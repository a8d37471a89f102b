"""Upsampling by plain convolutions, so that tiles agree to the bit.

oneDNN's transposed convolutions choose the order of their sums by the shape of the image and the
number of threads: the same pixels in two windows differ in the last bits, and some of them by a
grey level. Its convolutions without padding, which leave it no edge to treat in another way, gave
the same bits in every shape and number of threads tried.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class PhaseUpsample(nn.Module):
    """A transposed convolution with a 4 x 4 kernel, stride 2 and padding 1.

    Rows of even and odd number, and the even and odd pixels of each, see 2 x 2 input pixels each
    through taps of their own. One plain convolution makes all pixels of the even rows, one those of
    the odd, in the order in which they lie in memory.

    Args:
        kernel: Weights as a transposed convolution has them, `(C_in, C_out, 4, 4)`; or 3 x 3 ones,
            to which an output padding of 1 adds the same size.
        bias: One value a channel, `(C_out,)`.
    """

    def __init__(self, kernel: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.channels_out = kernel.shape[1]
        self.taps = kernel.shape[2]
        # A fourth tap that is zero changes nothing.
        kernel = F.pad(kernel, (0, 4 - self.taps, 0, 4 - self.taps))
        self.rows = nn.ModuleList(_make_row_conv(kernel, bias, parity) for parity in (0, 1))

    def as_transposed(self) -> nn.ConvTranspose2d:
        """A transposed convolution of the same reach, its weights its own."""
        return nn.ConvTranspose2d(
            1, 1, self.taps, stride=2, padding=1, output_padding=4 - self.taps
        )

    def forward(self, x: Tensor) -> Tensor:
        """Patches of twice the height and width, channels last in memory."""
        n, _, height, width = x.shape
        output = _empty_like(x, (n, self.channels_out, 2 * height, 2 * width))
        padded = _pad_zeros(x)
        for parity, conv in enumerate(self.rows):
            # (N, (odd, even) x C, H, W + 1); in memory each row is odd 0, even 0, odd 1, even 1 ...
            y = conv(padded[:, :, parity : parity + height + 1])
            y = y.contiguous(memory_format=torch.channels_last)
            row = (width + 1) * 2 * self.channels_out
            # ... of which the first would lie left of the image, and the last right of it.
            output[:, :, parity::2] = y.as_strided(
                (n, self.channels_out, height, 2 * width),
                (height * row, 1, row, self.channels_out),
                y.storage_offset() + self.channels_out,
            )
        return output


def _make_row_conv(kernel: Tensor, bias: Tensor, parity: int) -> nn.Conv2d:
    """The convolution that makes the output rows of one parity: odd pixels, then even ones."""
    channels_in, channels_out = kernel.shape[:2]
    conv = nn.Conv2d(channels_in, 2 * channels_out, 2)
    # Output pixel 2i + p reads pixels i - 1 + p and i + p through taps 3 - p and 1 - p.
    rows = kernel[:, :, [3 - parity, 1 - parity]]
    both = torch.cat([rows[..., [3 - p, 1 - p]] for p in (1, 0)], dim=1)
    conv.weight = nn.Parameter(both.transpose(0, 1).contiguous())
    conv.bias = nn.Parameter(torch.cat([bias, bias]))
    return conv


def _pad_zeros(x: Tensor) -> Tensor:
    """The patches with a frame of zeros, 1 px wide, channels last in memory."""
    n, channels, height, width = x.shape
    padded = _empty_like(x, (n, channels, height + 2, width + 2))
    padded[:, :, :: height + 1] = 0
    padded[:, :, :, :: width + 1] = 0
    padded[:, :, 1:-1, 1:-1] = x
    return padded


def _empty_like(like: Tensor, shape: tuple[int, int, int, int]) -> Tensor:
    return torch.empty(
        shape, dtype=like.dtype, device=like.device, memory_format=torch.channels_last
    )
