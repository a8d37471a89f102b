"""Export of a finished run as a bundle."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from geotrans import __version__
from geotrans.sampling.cache import Manifest, SideRecord
from geotrans.tasks.bundle import save_bundle
from geotrans.tasks.spec import (
    BandSpec,
    GeneratorSpec,
    NoiseSpec,
    PaletteClass,
    Score,
    SourceClass,
    TaskSpec,
)
from geotrans.training.channels import value_range
from geotrans.training.config import TrainConfig, resolve_config

_COMMON_NAMES = ("red", "green", "blue", "nir", "rededge", "swir16", "swir22", "pan", "coastal")
# Which way the scores of `training.evaluation` are better.
_LOWER_IS_BETTER = {"l1", "kernel_distance", "sam", "chroma"}


@dataclass(frozen=True)
class TrainedGenerator:
    """A network that a run has trained.

    Attributes:
        weights: Its state, norms not folded.
        args: Arguments it was built with.
        halo: Its reach, px; 0 for an inverse generator, where it is not used.
        align: Its stride, px.
    """

    weights: Mapping[str, Tensor]
    args: Mapping[str, Any]
    halo: int = 0
    align: int = 1


def export_bundle(
    path: Path,
    config: TrainConfig,
    manifest: Manifest,
    generator: TrainedGenerator,
    *,
    scores: Mapping[str, float],
    reproduce: str = "",
    fit: Mapping[str, float] | None = None,
    inverse: TrainedGenerator | None = None,
) -> Path:
    """Write weights and everything needed to use them as one file.

    Args:
        path: Bundle to write; replaced if it exists.
        config: The run.
        manifest: What the run was trained on.
        generator: The network of the task.
        scores: Held-out scores of it.
        reproduce: Command that trains the weights anew.
        fit: The same scores of the linear fit alone, where the network adds to one.
        inverse: The network of the way back, if the bundle is to carry it.
    """
    task = config.task
    palette = manifest.palette
    classes = None
    if palette is not None:
        classes = tuple(PaletteClass(name=name, color=color) for name, color in palette)
    gsd = manifest.gsd_m
    spec = TaskSpec(
        name=task.name,
        title=task.title,
        source=band_specs(manifest.source, task.source),
        target=band_specs(manifest.target, task.target),
        gsd_m=None
        if gsd is None
        else (round(gsd[0] / task.gsd_tolerance, 4), round(gsd[1] * task.gsd_tolerance, 4)),
        generator=GeneratorSpec(arch=config.generator.arch, args=dict(generator.args)),
        inverse=None
        if inverse is None
        else GeneratorSpec(arch=(config.inverse or config.generator).arch, args=dict(inverse.args)),
        norm=_find_norm(generator.args),
        halo=generator.halo,
        align=generator.align,
        noise=NoiseSpec(scales=task.noise) if task.noise else None,
        coordinates=task.coordinates,
        palette=classes if task.palette else None,
        source_classes=None
        if manifest.source.classes is None
        else tuple(SourceClass(**item.model_dump()) for item in manifest.source.classes),
        source_palette=classes if manifest.drawn == "source" else None,
        style=manifest.style,
        place=task.place,
        data=task.data,
        licence=task.licence,
        limits=task.limits,
        version=__version__,
        metrics={
            name: Score(
                value=round(value, 4),
                better="lower" if name in _LOWER_IS_BETTER else "higher",
                split=f"val {config.training.val_group or ''}".strip(),
                baselines={"linear fit": round(fit[name], 4)} if fit and name in fit else {},
            )
            for name, value in scores.items()
        },
        training=strip_local_paths(resolve_config(config)),
        reproduce=reproduce,
        created=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
    )
    inverse_weights = None if inverse is None else inverse.weights
    return save_bundle(path, spec, generator.weights, inverse=inverse_weights)


def band_specs(side: SideRecord, names: tuple[str, ...] | None) -> tuple[BandSpec, ...]:
    """The bands of one side of a cache, as a task reads or writes them."""
    names = names or side.bands
    return tuple(
        BandSpec(
            name=name,
            common_name=name if name in _COMMON_NAMES else None,
            dtype=side.dtype,
            value_range=value_range(side),
            units=side.units,
        )
        for name in names
    )


def _find_norm(args: Mapping[str, Any]) -> Any:
    """Normalisation of a generator, or of the body of a residual."""
    body: Mapping[str, Any] = args.get("body") or {}
    return args.get("norm") or body.get("args", {}).get("norm", "batch")


def strip_local_paths(config: dict[str, Any]) -> dict[str, Any]:
    """The configuration without folders of the machine it ran on."""
    data = {key: value for key, value in config["data"].items() if key not in {"root", "cache"}}
    return {**config, "data": data}
