"""Small bundles to translate with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from geotrans.models import build, receptive_halo
from geotrans.tasks import (
    BandSpec,
    Bundle,
    GeneratorSpec,
    NoiseSpec,
    PaletteClass,
    TaskSpec,
    open_bundle,
    save_bundle,
)

RGB = tuple(BandSpec(name=name) for name in ("red", "green", "blue"))
UNET = {"depth": 3, "width": 8, "max_width": 16, "head_width": 8}
PALETTE = tuple(
    PaletteClass(name=f"class {i}", color=(30 * i, 255 - 30 * i, 7 * i)) for i in range(6)
)

MakeBundle = Callable[..., Bundle]


def random_net(arch: str, channels_in: int, channels_out: int, args: dict[str, Any]) -> nn.Module:
    """A network whose outputs fill [-1, 1], with batch statistics of its own."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        net = build(arch, channels_in, channels_out, **args)
        for module in net.modules():
            if isinstance(module, nn.BatchNorm2d):
                nn.init.normal_(module.running_mean, 0, 0.1)
                nn.init.uniform_(module.running_var, 0.02, 0.1)
                nn.init.normal_(module.bias, 0, 0.3)
    return net


@pytest.fixture
def make_bundle(tmp_path: Path) -> MakeBundle:
    """`make_bundle(arch, args, ...)` writes a bundle with random weights and opens it."""

    def make(
        arch: str = "unet",
        args: dict[str, Any] | None = None,
        *,
        noise: Sequence[int] = (),
        palette: Sequence[PaletteClass] | None = None,
        change: Callable[[nn.Module], object] = lambda net: None,
        **fields: Any,
    ) -> Bundle:
        args = dict(UNET if args is None and arch == "unet" else args or {})
        if palette:
            args["out_activation"] = "none"
        spec = TaskSpec(
            name="test",
            **{"source": RGB, "target": RGB} | fields,
            generator=GeneratorSpec(arch=arch, args=args),
            noise=NoiseSpec(scales=tuple(noise)) if noise else None,
            palette=tuple(palette) if palette else None,
            halo=0,
            align=1,
        )
        net = random_net(arch, spec.channels_in, spec.channels_out, args)
        change(net)
        halo = receptive_halo(net, spec.channels_in)
        spec = spec.model_copy(update={"halo": halo, "align": int(net.align)})
        return open_bundle(save_bundle(tmp_path / "test.safetensors", spec, net.state_dict()))

    return make
