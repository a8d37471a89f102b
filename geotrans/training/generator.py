"""Arguments of a generator, by position, from its configuration, which names bands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, model_validator
from torch import Tensor, nn

from geotrans.errors import ConfigError, suggest
from geotrans.models import Residual
from geotrans.models.residual import LUMA, restore_luminance
from geotrans.runtime.config import validate_section
from geotrans.tasks.spec import BandSpec
from geotrans.training.config import GeneratorConfig
from geotrans.training.data import Batch, ResidentPatches, crop_margin
from geotrans.training.domains import DomainPatches
from geotrans.training.instrument import BandCollection, fit_context
from geotrans.training.linear import fit_known, fit_linear

_COLORS = ("red", "green", "blue")
# Noise in the dark is not to become colour.
_MAX_GAIN = 4.0


class ResidualConfig(BaseModel):
    """Arguments of `arch: residual`, as a configuration gives them.

    Attributes:
        body: The network that adds to the linear map.
        carry: Target bands that are source bands to the bit: names both sides have, or the source
            band's name by the target band's.
        lock: Source band that holds the luminance of red, green and blue.
        blind: Source bands that the linear map sees and the body does not.
        fit: What the linear map of a run without pairs is fitted on: `"known"` bands that both
            sides have, or also their `"context"`, which gives source-only bands a weight.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    body: GeneratorConfig
    carry: tuple[str, ...] | dict[str, str] = ()
    lock: str | None = None
    blind: tuple[str, ...] = ()
    fit: Literal["known", "context"] = "known"

    @model_validator(mode="after")
    def _pretrained_is_said_once(self) -> ResidualConfig:
        if self.body.pretrained:
            raise ValueError("body.pretrained is said as generator.pretrained")
        return self


def generator_args(
    config: GeneratorConfig,
    *,
    source: Sequence[BandSpec],
    target: Sequence[BandSpec],
    palette: bool = False,
) -> dict[str, Any]:
    """Plain arguments of a generator, as `models.build` and a bundle take them.

    Args:
        config: The generator.
        source: Bands it reads; noise channels come after them.
        target: Bands it writes.
        palette: Whether it writes one score a class instead.

    Raises:
        ConfigError: If a band is not there, or cannot be carried or locked; names the nearest.
    """
    if config.arch != "residual":
        return {"out_activation": "none" if palette else "tanh", **config.args}
    if palette:
        raise ConfigError("generator.arch residual writes values, not classes of a task.palette")
    residual = validate_section(ResidualConfig, config.args, where="generator.args")
    body = {"out_activation": "none", **residual.body.args}
    args: dict[str, Any] = {
        "body": {"arch": residual.body.arch, "args": body},
        "n_bands": len(source),
    }
    carry = residual.carry if isinstance(residual.carry, dict) else {n: n for n in residual.carry}
    if carry:
        args["carry"] = [_carried_positions(to, by, source, target) for to, by in carry.items()]
    if residual.blind:
        args["blind"] = [_find_position(name, source, "blind", "source") for name in residual.blind]
    if residual.lock is not None:
        luminance = _find_position(residual.lock, source, "lock", "source")
        args["lock"] = [
            luminance,
            *(_find_position(name, target, "lock", "target") for name in _COLORS),
        ]
    return args


def fit_paired(net: nn.Module, patches: ResidentPatches) -> None:
    """Give a residual the linear map of training pairs; any other network is left alone.

    Raises:
        ConfigError: If the source is classes, of which a linear map makes no sense.
    """
    if isinstance(net, Residual):
        if patches.class_values is not None:
            raise ConfigError("generator.arch residual adds to measured bands, not to classes")
        source = crop_margin(patches.source, patches.source_border)
        sides = (side.cpu().numpy() for side in (source, patches.target, patches.valid))
        fit = fit_linear(*sides).normalize(*patches.ranges)
        net.set_linear(fit.weight, fit.bias)


def fit_unpaired(
    net: nn.Module, config: GeneratorConfig, *, reads: DomainPatches, writes: DomainPatches
) -> None:
    """Give a residual a linear map that needs no pairs; any other network is left alone.

    Args:
        net: The generator.
        config: What it is, by name.
        reads: Patches of the domain it reads.
        writes: Patches of the domain it writes.

    Raises:
        ConfigError: If the two sides share no band.
    """
    if not isinstance(net, Residual):
        return
    source, target = (
        BandCollection(
            list(domain.values.cpu().numpy()),
            list(domain.valid.cpu().numpy()),
            domain.names,
            domain.bands[0].value_range,
        )
        for domain in (reads, writes)
    )
    if config.args.get("fit") == "context":
        fit = fit_context(source, target)
    else:
        fit = fit_known(target.images, target.valid, source=source.names, target=target.names)
    fit = fit.normalize(source.value_range, target.value_range)
    net.set_linear(fit.weight, fit.bias)


def adapt_target(batch: Batch, args: Mapping[str, Any]) -> Batch:
    """A batch whose target a residual can reproduce after colour jitter of the source.

    Carried bands become those of the source. Under a lock, the target is lit as the source is: the
    share of red, green and blue in each pixel stays, so that colour goes with brightness as it
    does on the ground, and what leaves the range fades as it does in the network.

    Args:
        batch: Patches whose source may have been changed.
        args: Arguments of the generator, with positions.
    """
    source, target = batch.critic_source, batch.target
    if args.get("carry"):
        target = target.clone()
        for to, by in args["carry"]:
            target[:, to] = source[:, by]
    if args.get("lock"):
        luminance, *colors = args["lock"]
        target = target.clone()
        target[:, colors] = adjust_lighting(target[:, colors], source[:, luminance, None])
    return replace(batch, target=target)


def adjust_lighting(colors: Tensor, luminance: Tensor) -> Tensor:
    """Red, green, blue `(N, 3, H, W)` on [-1, 1] under another luminance `(N, 1, H, W)`."""
    weights = torch.tensor(LUMA, device=colors.device)[:, None, None]
    brightness = ((colors * weights).sum(dim=1, keepdim=True) + 1) / 2
    gain = ((luminance + 1) / 2 / brightness.clamp(min=1 / 255)).clamp(max=_MAX_GAIN)
    return restore_luminance((colors + 1) * gain - 1, luminance)


def _carried_positions(
    to: str, by: str, source: Sequence[BandSpec], target: Sequence[BandSpec]
) -> list[int]:
    """Positions of a carried target band and its source band."""
    pair = [
        _find_position(to, target, "carry", "target"),
        _find_position(by, source, "carry", "source"),
    ]
    target_band, source_band = target[pair[0]], source[pair[1]]
    for key in ("dtype", "value_range", "units"):
        written, read = getattr(target_band, key), getattr(source_band, key)
        if written != read:
            raise ConfigError(
                f"generator.args.carry: {key} of target band '{to}' is {written}, of source band "
                f"'{by}' {read}; give both sides one (data.source, data.target), or let the linear "
                "map lead from one to the other"
            )
    return pair


def _find_position(name: str, bands: Sequence[BandSpec], key: str, side: str) -> int:
    names = [band.name for band in bands]
    if name not in names:
        raise ConfigError(
            f"generator.args.{key} asks for the {side} band '{name}'{suggest(name, names)}; "
            f"the {side} has {', '.join(names)}"
        )
    return names.index(name)
