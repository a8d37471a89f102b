"""Bundles for checks of geometry: a network that changes nothing, and one that changes all."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from geotrans.tasks import (
    BandSpec,
    GeneratorSpec,
    NoiseSpec,
    SourceClass,
    TaskSpec,
    save_bundle,
)

# Ranges from which float32 arithmetic to [-1, 1] and back is exact for every value.
RANGES = {
    "uint8": (0.0, 255.0),
    "uint16": (0.0, 65_535.0),
    "int16": (-32_768.0, 32_767.0),
    "float32": (-(2.0**22), 2.0**22),
}


def identity_bundle(
    path: Path,
    *,
    bands: Sequence[str] = ("red", "green", "blue"),
    dtype: str = "uint8",
    halo: int = 0,
    align: int = 1,
    nodata: Any = "source",
    **fields: Any,
) -> Path:
    """A bundle whose product is its source, bit for bit."""
    wanted = [BandSpec(name=n, dtype=dtype, value_range=RANGES[dtype]) for n in bands]
    spec = TaskSpec(
        name="same",
        source=wanted,
        target=[band.model_copy(update={"dtype": "source"}) for band in wanted],
        generator=GeneratorSpec(arch="identity"),
        norm="none",
        halo=halo,
        align=align,
        nodata=nodata,
        **fields,
    )
    return save_bundle(path, spec, {})


def random_bundle(path: Path, *, noise: Sequence[int] = (), **fields: Any) -> Path:
    """A small U-Net with random weights whose product differs wherever its context does."""
    import torch

    from geotrans.models import build, receptive_halo

    args = {"depth": 2, "width": 8, "max_width": 16, "head_width": 4}
    n_in, n_out = 3 + len(noise), len(fields.get("palette", ())) or 3
    with torch.random.fork_rng():
        torch.manual_seed(1)
        net = build("unet", n_in, n_out, **args)
        for parameter in net.parameters():
            parameter.data.mul_(1.5)
    rgb = [BandSpec(name=name) for name in ("red", "green", "blue")]
    spec = TaskSpec(
        name="random",
        source=rgb,
        target=rgb,
        generator=GeneratorSpec(arch="unet", args=args),
        halo=receptive_halo(net, n_in),
        align=4,
        noise=NoiseSpec(scales=tuple(noise)) if noise else None,
        **fields,
    )
    return save_bundle(path, spec, net.state_dict())


CLASSES = (
    SourceClass(value=0, name="tree", color=(34, 110, 50)),
    SourceClass(value=3, name="roof", color=(245, 240, 235)),
    SourceClass(value=4, name="road", color=(165, 165, 175)),
)


def class_bundle(path: Path, *, noise: Sequence[int] = (1,), **fields: Any) -> Path:
    """A small U-Net with random weights that reads one band of classes."""
    import torch

    from geotrans.models import build, receptive_halo

    args = {"depth": 2, "width": 8, "max_width": 16, "head_width": 4}
    n_in = len(CLASSES) + len(noise)
    with torch.random.fork_rng():
        torch.manual_seed(2)
        net = build("unet", n_in, 3, **args)
    spec = TaskSpec(
        name="painted",
        source=[BandSpec(name="class")],
        source_classes=CLASSES,
        target=[BandSpec(name=name) for name in ("red", "green", "blue")],
        generator=GeneratorSpec(arch="unet", args=args),
        halo=receptive_halo(net, n_in),
        align=4,
        noise=NoiseSpec(scales=tuple(noise)) if noise else None,
        **fields,
    )
    return save_bundle(path, spec, net.state_dict())


def instance_bundle(
    path: Path, *, noise: Sequence[int] = (), norm: str = "instance", **fields: Any
) -> Path:
    """A small ResNet with random weights, whose norms take their statistics from the scene."""
    import torch

    from geotrans.models import build, receptive_halo

    args = {"blocks": 1, "width": 8, "upsample": "transposed", "norm": norm}
    n_in = 3 + len(noise)
    with torch.random.fork_rng():
        torch.manual_seed(2)
        net = build("resnet", n_in, 3, **args)
        net.body[-1].weight.data.mul_(3)
    rgb = [BandSpec(name=name) for name in ("red", "green", "blue")]
    spec = TaskSpec(
        name="instance",
        source=rgb,
        target=rgb,
        generator=GeneratorSpec(arch="resnet", args=args),
        norm=norm,
        halo=receptive_halo(net, n_in),
        align=4,
        noise=NoiseSpec(scales=tuple(noise)) if noise else None,
        **fields,
    )
    return save_bundle(path, spec, net.state_dict())
