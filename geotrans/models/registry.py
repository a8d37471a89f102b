"""Generators by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from torch import Tensor, nn

from geotrans.errors import ConfigError, suggest
from geotrans.models.ensemble import Ensemble
from geotrans.models.liteunet import LiteUNet
from geotrans.models.residual import Residual, get_body
from geotrans.models.resnet import ResNet
from geotrans.models.unet import UNet
from geotrans.models.unet_reference import UNetReference

_MAX_MEMBERS = 64


class Identity(nn.Module):
    """Gives back what it gets; for checks of geometry."""

    align = 1

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        if in_channels != out_channels:
            raise ConfigError(f"identity cannot turn {in_channels} channels into {out_channels}")

    def forward(self, x: Tensor) -> Tensor:
        """The same patches."""
        return x


def _build_residual(
    in_channels: int,
    out_channels: int,
    *,
    body: Mapping[str, Any],
    n_bands: int | None = None,
    carry: Sequence[Sequence[int]] = (),
    blind: Sequence[int] = (),
    lock: Sequence[int] | None = None,
) -> Residual:
    """A body, `{"arch": ..., "args": {...}}`, over a linear map of the first `n_bands` channels."""
    arch, args = body["arch"], body.get("args", {})
    if arch == "residual":
        raise ConfigError("the body of a residual is another network, such as unet")
    return Residual(
        build(arch, max(1, in_channels - len(blind)), max(1, out_channels - len(carry)), **args),
        n_bands=in_channels if n_bands is None else n_bands,
        out_channels=out_channels,
        carry=carry,
        blind=blind,
        lock=lock,
    )


def _build_ensemble(
    in_channels: int,
    out_channels: int,
    *,
    of: Mapping[str, Any],
    n: int = 2,
    out_activation: str = "tanh",
) -> Ensemble:
    """An ensemble of `n` networks `{"arch": ..., "args": {...}}` with separate weights."""
    if not 1 <= n <= _MAX_MEMBERS:
        raise ConfigError(f"an ensemble has 1 to {_MAX_MEMBERS} members; got n = {n}")
    args = {"out_activation": out_activation, **of.get("args", {})}
    return Ensemble(build(of["arch"], in_channels, out_channels, **args) for _ in range(n))


GENERATORS: dict[str, Callable[..., nn.Module]] = {
    "ensemble": _build_ensemble,
    "identity": Identity,
    "liteunet": LiteUNet,
    "residual": _build_residual,
    "resnet": ResNet,
    "unet": UNet,
    "unet_reference": UNetReference,
}


def build(arch: str, in_channels: int, out_channels: int, **args: Any) -> nn.Module:
    """A generator with fresh weights.

    Args:
        arch: Name in `GENERATORS`.
        in_channels: Channels of the input, noise included.
        out_channels: Channels of the output.
        **args: Arguments of the architecture.

    Raises:
        ConfigError: If the name or an argument is not known; names the nearest.
    """
    if arch not in GENERATORS:
        raise ConfigError(
            f"generator '{arch}' is not known{suggest(arch, GENERATORS)}; "
            f"there are {', '.join(GENERATORS)}"
        )
    known = [
        p for p in inspect.signature(GENERATORS[arch]).parameters if not p.endswith("channels")
    ]
    for name in args:
        if name not in known:
            raise ConfigError(
                f"generator '{arch}' has no argument '{name}'{suggest(name, known)}; "
                f"it has {', '.join(known) or 'none'}"
            )
    return GENERATORS[arch](in_channels, out_channels, **args)


def alignment(net: nn.Module) -> int:
    """Stride of a generator, px: windows must start on its multiples to agree."""
    return int(cast(int, net.align))


def load_pretrained(net: nn.Module, arch: str) -> None:
    """Give a generator's encoder the weights it has learned elsewhere.

    Args:
        net: Generator with fresh weights; of a residual, its body is meant.
        arch: Its name in `GENERATORS`.

    Raises:
        ConfigError: If the architecture has no pretrained encoder.
        UsageError: If the package that holds the weights is not installed.
    """
    encoder = get_body(net)
    if not hasattr(encoder, "load_pretrained"):
        known = [
            name for name, generator in GENERATORS.items() if hasattr(generator, "load_pretrained")
        ]
        raise ConfigError(
            f"generator '{arch}' has no pretrained encoder; set generator.pretrained to false, or "
            f"generator.arch, or that of its body, to {' or '.join(known)}"
        )
    cast(Any, encoder).load_pretrained()
