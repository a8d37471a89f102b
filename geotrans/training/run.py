"""A training run from its configuration to its bundle."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from geotrans.errors import OutputError
from geotrans.sampling.cache import PatchCache
from geotrans.sampling.tiling import ensure_cache
from geotrans.training.config import TrainConfig, load_config, resolved

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainedTask:
    """What a run leaves.

    Attributes:
        folder: Folder of the run: curves, sheets, checkpoint, resolved configuration.
        bundle: The task, ready to use.
        scores: Held-out scores of the exported weights.
        step: Step they belong to.
        steps: Steps of the whole run.
        seconds: Seconds of training, evaluation included.
    """

    folder: Path
    bundle: Path
    scores: dict[str, float]
    step: int
    steps: int
    seconds: float


def train(
    config: str | Path | TrainConfig,
    overrides: Sequence[str] = (),
    *,
    out: str | Path | None = None,
    resume: bool = True,
    quiet: bool = False,
) -> TrainedTask:
    """Train a task and export its bundle.

    Args:
        config: YAML file, or a configuration.
        overrides: `section.key=value`; they win over the file.
        out: Folder of the run; `runs/<task>` unless given.
        resume: Whether to go on from the folder's checkpoint. Without it a folder that holds one
            is refused.
        quiet: Whether to show no progress.

    Returns:
        Where everything lies, and how good it is.

    Raises:
        ConfigError: If the configuration says something unknown, or the checkpoint another.
        SamplingError: If there is nothing to train on.
        TrainingError: If a loss is no number any more; the last checkpoint stays.
        OutputError: If the folder cannot be written.
    """
    if not isinstance(config, TrainConfig):
        config, source = load_config(config, overrides), str(config)
    else:
        source = "CONFIG.yaml"
    folder = Path(out) if out is not None else Path("runs") / config.task.name
    _prepare(folder, config, resume=resume)
    cache = ensure_cache(config.data)
    from geotrans.training.pix2pix import Pix2Pix

    run = Pix2Pix(config, cache, folder, quiet=quiet)
    result = run.run(resume=resume)
    return _finish(
        run, config, cache, folder, result, " ".join(["geotrans train", source, *overrides])
    )


def _prepare(folder: Path, config: TrainConfig, *, resume: bool) -> None:
    """Make the folder and write down what runs in it."""
    if not resume and (folder / "checkpoint.pt").exists():
        raise OutputError(
            f"{folder} holds a checkpoint; leave out --restart to go on from it, "
            "or give another folder with -o"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        text = yaml.safe_dump(resolved(config), sort_keys=False, allow_unicode=True)
        (folder / "config.yaml").write_text(text, encoding="utf-8")
    except OSError as error:
        raise OutputError(f"cannot write to {folder}: {error.strerror}") from error


def _finish(
    run: Any,
    config: TrainConfig,
    cache: PatchCache,
    folder: Path,
    result: dict[str, Any],
    command: str,
) -> TrainedTask:
    """Export the best weights and sum the run up in `result.json`."""
    from geotrans.training.export import export_bundle

    bundle = export_bundle(
        folder / f"{config.task.name}.safetensors",
        config,
        cache.manifest,
        result["weights"],
        scores=result["scores"],
        generator_args=run.generator_args,
        halo=run.halo,
        align=run.align,
        reproduce=command,
    )
    trained = TrainedTask(
        folder, bundle, result["scores"], result["step"], result["steps"], result["seconds"]
    )
    summary = {
        "bundle": bundle.name,
        "scores": trained.scores,
        "step": trained.step,
        "steps": trained.steps,
        "seconds": round(trained.seconds, 1),
    }
    (folder / "result.json").write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    log.info("wrote %s (step %d of %d)", bundle, trained.step, trained.steps)
    return trained
