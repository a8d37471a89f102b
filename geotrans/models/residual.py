"""A frozen linear map of the source bands, and a network that adds a correction.

    output = linear map of the source bands + body, the body zero at the start

The linear map is fitted by least squares and frozen. It, carried bands and the sum are float32
even where the body runs in less, so that what the source measures is not rounded on the way.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from geotrans.errors import ConfigError
from geotrans.models.layers import UpConv

# Rec. 601, on stored values: the luma of a grey-scale copy.
LUMA = (0.299, 0.587, 0.114)


class Residual(nn.Module):
    """A generator over a frozen linear map of the bands it reads.

    Args:
        body: Network from all channels but those it is blind to, to the target bands that are not
            carried; its last layer is set to zero.
        n_bands: Channels of the input that are source bands; those after them are noise, which
            the linear map does not see.
        carry: Pairs `(target band, source band)` of positions: the target band is the source band,
            to the bit.
        blind: Positions of source bands that the linear map sees and the body does not.
        lock: Positions `(luminance, red, green, blue)` of one source band and three target bands.
            The three are given the luminance of that band; the network adds chroma alone.

    Attributes:
        free: Positions of the target bands that are not carried, in order.
        weight: The linear map, one row a free band, `(len(free), n_bands)`, on [-1, 1].
        bias: Its summands, `(len(free),)`.

    Raises:
        ConfigError: If positions do not fit, or the body has no layer to start from zero.
    """

    weight: Tensor
    bias: Tensor

    def __init__(
        self,
        body: nn.Module,
        *,
        n_bands: int,
        out_channels: int,
        carry: Sequence[Sequence[int]] = (),
        blind: Sequence[int] = (),
        lock: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        carried = [target for target, _ in carry]
        self.free = [band for band in range(out_channels) if band not in carried]
        _check_positions(n_bands, out_channels, carry, lock)
        if not {*blind} < {*range(n_bands)}:
            raise ConfigError(
                f"blind {[*blind]} is to name some of the {n_bands} bands of the source, not all"
            )
        self.n_bands = n_bands
        self.blind = sorted({*blind})
        self.sources = [source for _, source in carry]
        order = self.free + carried
        self.order = [order.index(band) for band in range(out_channels)]
        self.lock = None if lock is None else lock[0]
        self.colors = [self.free.index(band) for band in (lock or ())[1:]]
        self.body = body
        self.register_buffer("weight", torch.zeros(len(self.free), n_bands))
        self.register_buffer("bias", torch.zeros(len(self.free)))
        _start_from_zero(body)

    @property
    def align(self) -> int:
        """Stride of the body, px."""
        return int(self.body.align)  # type: ignore[arg-type] # every generator has one

    def set_linear(self, weight: npt.NDArray[np.floating], bias: npt.NDArray[np.floating]) -> None:
        """Take a linear map of all target bands, `(C_out, n_bands)` and `(C_out,)`, on [-1, 1]."""
        self.weight.copy_(torch.from_numpy(np.asarray(weight)[self.free]))
        self.bias.copy_(torch.from_numpy(np.asarray(bias)[self.free]))

    def forward(self, x: Tensor) -> Tensor:
        """Translate patches `(N, C, H, W)`; H and W are multiples of `align`."""
        correction: Tensor = self.body(self.shown(x)).to(x.dtype)
        bands = x[:, : self.n_bands]
        output = self._linear(bands) + correction
        if self.lock is not None:
            colors = restore_luminance(output[:, self.colors], bands[:, self.lock, None])
            output = output.clone()
            output[:, self.colors] = colors
        if not self.sources:
            return output
        return torch.cat([output, bands[:, self.sources]], dim=1)[:, self.order]

    def shown(self, x: Tensor) -> Tensor:
        """The channels that the body sees."""
        if not self.blind:
            return x
        return x[:, [i for i in range(x.shape[1]) if i not in self.blind]]

    def _linear(self, bands: Tensor) -> Tensor:
        """One plain product and one plain sum a band: every pixel gets the same bits anywhere."""
        total: Tensor = self.bias.to(bands.dtype)[:, None, None]
        for band, column in zip(bands.unbind(dim=1), self.weight.unbind(dim=1), strict=True):
            total = total + band[:, None] * column.to(bands.dtype)[:, None, None]
        return total


def get_body(net: nn.Module) -> nn.Module:
    """The part of a generator that sees neighbours and that may be rounded: all of most."""
    return net.body if isinstance(net, Residual) else net


def select_body_inputs(net: nn.Module, x: Tensor) -> Tensor:
    """What that part sees of patches `(N, C, H, W)`."""
    return net.shown(x) if isinstance(net, Residual) else x


def restore_luminance(colors: Tensor, luminance: Tensor) -> Tensor:
    """Colours of a given luminance.

    What leaves [-1, 1] is faded towards grey of that luminance, all three alike, rather than cut:
    hue and luminance stay. Beyond [-1, 1] itself, a luminance is grey.

    Args:
        colors: Red, green, blue, `(N, 3, H, W)`.
        luminance: `(N, 1, H, W)`.
    """
    red, green, blue = (
        weight * band[:, None] for weight, band in zip(LUMA, colors.unbind(dim=1), strict=True)
    )
    chroma = colors - (red + green + blue)
    room = torch.where(chroma > 0, 1 - luminance, 1 + luminance)
    share = (room / chroma.abs().clamp(min=1e-6)).amin(dim=1, keepdim=True).clamp(0, 1)
    restored: Tensor = luminance + share * chroma
    return restored


def _check_positions(
    n_bands: int,
    out_channels: int,
    carry: Sequence[Sequence[int]],
    lock: Sequence[int] | None,
) -> None:
    carried = [target for target, _ in carry]
    read = [source for _, source in carry] + list((lock or ())[:1])
    written = carried + list((lock or ())[1:])
    if any(not 0 <= i < n_bands for i in read) or any(not 0 <= i < out_channels for i in written):
        raise ConfigError(
            f"carry {[tuple(pair) for pair in carry]} and lock {lock and tuple(lock)} name bands "
            f"beyond the {n_bands} of the source or the {out_channels} of the target"
        )
    if len(set(written)) < len(written) or len(carried) == out_channels:
        raise ConfigError(
            f"of {out_channels} target bands, {written} are carried or locked; carry or lock each "
            "once, and leave the network one to write"
        )
    if lock is not None and len(lock) != 4:
        raise ConfigError(f"lock has {len(lock)} positions; it needs luminance, red, green, blue")


def _start_from_zero(body: nn.Module) -> None:
    """Set the last layer that has weights to zero."""
    layers = [m for m in body.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d | UpConv)]
    if not layers:
        raise ConfigError(
            f"a residual body must have layers to learn; {type(body).__name__} has none"
        )
    nn.init.zeros_(layers[-1].weight)
    if layers[-1].bias is not None:
        nn.init.zeros_(layers[-1].bias)
