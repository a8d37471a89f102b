"""From several finished trainings of a task to one bundle, whose network is their mean."""

from __future__ import annotations

import datetime as dt
import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from geotrans import models
from geotrans.sampling.cache import PatchCache
from geotrans.tasks.bundle import Bundle, save_bundle
from geotrans.tasks.spec import GeneratorSpec, TaskSpec
from geotrans.training.config import TrainConfig, resolve_config
from geotrans.training.data import ResidentPatches
from geotrans.training.evaluation import HeldOut
from geotrans.training.export import strip_local_paths
from geotrans.training.monitor import save_sheet

log = logging.getLogger(__name__)


def average_bundles(
    path: Path,
    members: Sequence[Path],
    config: TrainConfig,
    cache: PatchCache,
    *,
    step: int,
    device: torch.device,
    reproduce: str = "",
) -> dict[str, float]:
    """Average the networks of some bundles of one task, score the mean and write its bundle.

    Args:
        path: Bundle to write; replaced if it exists.
        members: Bundles of the trainings.
        config: The run they belong to.
        cache: Its patches, with a split `val`.
        step: Steps of all trainings together; names the sheet in `sheets` beside the bundle.
        device: Where the mean is scored.
        reproduce: Command that trains all of them anew.

    Returns:
        Held-out scores of the mean, by name.

    Raises:
        OutputError: If a file cannot be written.
    """
    bundles = [Bundle.open(member) for member in members]
    first = bundles[0].spec
    arch, args, weights = models.build_ensemble(
        first.generator.arch, first.generator.args, [bundle.state() for bundle in bundles]
    )
    spec = first.model_copy(
        update={
            "generator": GeneratorSpec(arch=arch, args=args),
            "training": strip_local_paths(resolve_config(config)),
            "reproduce": reproduce,
            "created": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        }
    )
    patches = ResidentPatches(cache, "val", config, device=device)
    held_out = HeldOut(patches, config, cache.manifest, align=spec.align, halo=spec.halo)
    outputs = held_out.outputs(_build_network(spec, weights).to(device))
    scores = {k: v for k, v in held_out.scores(outputs).items() if math.isfinite(v)}
    message = "  ".join(f"{name} {value:.4g}" for name, value in scores.items())
    log.info("mean of %d members: %s", len(members), message)
    sheets = path.parent / "sheets"
    sheets.mkdir(exist_ok=True)
    save_sheet(sheets / f"step_{step:07d}.png", held_out.sheet(outputs))
    metrics = {
        name: spec.metrics[name].model_copy(update={"value": round(value, 4)})
        for name, value in scores.items()
    }
    save_bundle(path, spec.model_copy(update={"metrics": metrics}), weights)
    return scores


def _build_network(spec: TaskSpec, weights: Mapping[str, Tensor]) -> torch.nn.Module:
    net = models.build(
        spec.generator.arch, spec.channels_in, spec.channels_out, **spec.generator.args
    )
    net.load_state_dict(weights, strict=False)  # bundles leave out how many batches norms saw
    return net.eval()
