"""A training run from its configuration to its bundle."""

from __future__ import annotations

import json
import logging
import shlex
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from geotrans.errors import ConfigError, OutputError, SamplingError, option
from geotrans.runtime.files import write_whole
from geotrans.sampling.cache import PatchCache
from geotrans.sampling.tiling import ensure_cache
from geotrans.training.config import TrainConfig, load_config, save_config

if TYPE_CHECKING:
    from lightning.fabric import Fabric

    from geotrans.training.loop import Loop
    from geotrans.training.method import Method

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainedTask:
    """Result of a training run.

    Attributes:
        folder: Folder of the run: report, curves, sheets, checkpoint, resolved configuration.
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

    def _repr_html_(self) -> str:
        from geotrans.html.card import embed_thumbnail, render_card

        sheets = sorted(self.folder.glob("sheets/step_*.png"))
        return render_card(
            self.bundle.stem,
            f"trained in {self.seconds / 60:.1f} min",
            [
                ("weights of", f"step {self.step} of {self.steps}"),
                *((name, f"{value:.4g}") for name, value in self.scores.items()),
                ("bundle", self.bundle),
                ("folder", self.folder),
            ],
            figure=embed_thumbnail(sheets[-1], f"sheet of {self.bundle.stem}") if sheets else None,
        )


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
        resume: Whether to go on from the folder's checkpoint; else a folder that holds one is
            refused.
        quiet: Whether to show no progress.

    Returns:
        Where everything lies, and how good it is.

    Raises:
        ConfigError: If the configuration says something unknown, or the checkpoint another.
        SamplingError: If there is nothing to train on.
        TrainingError: If a loss is not finite; the last checkpoint is kept.
        DeviceError: If the requested device is not available.
        OutputError: If the folder cannot be written.
    """
    if isinstance(config, TrainConfig):
        if overrides:
            raise ConfigError("overrides go with a file; change the configuration itself instead")
        source = "CONFIG.yaml"
    else:
        source = Path(config).name
        config = load_config(config, overrides)
    folder = Path(out) if out is not None else Path("runs") / config.task.name
    _prepare_folder(folder, resume=resume)
    cache = ensure_cache(config.data)
    if missing := {"train", "val"} - set(cache.splits):
        raise SamplingError(
            f"training needs the splits train and val; {cache.path} has {', '.join(cache.splits)}; "
            f"add {' and '.join(sorted(missing))} to data.splits"
        )
    command = _format_command(source, overrides)
    if config.members:
        return _train_members(config, cache, folder, resume=resume, quiet=quiet, reproduce=command)
    from geotrans.training.loop import Loop

    loop = Loop(config, cache, folder, quiet=quiet)
    method = open_method(config, cache, loop.fabric)
    with _write_report_at_end(loop.fabric, folder, cache):
        trained = _train_method(loop, method, resume=resume, reproduce=command)
    loop.fabric.barrier()
    return trained


@contextmanager
def _write_report_at_end(fabric: Fabric, folder: Path, cache: PatchCache) -> Iterator[None]:
    """Record the machine and the places, and write the report however the run ends."""
    if not fabric.is_global_zero:
        yield
        return
    from geotrans.training.report import RESULT, record_machine, record_places, write_report

    (folder / RESULT).unlink(missing_ok=True)  # the run that is to go on has none yet
    record_machine(folder, fabric)
    record_places(folder, cache.manifest)
    try:
        yield
    finally:
        if (folder / "config.yaml").is_file():
            log.info("wrote %s", write_report(folder))


def _train_method(loop: Loop, method: Method, *, resume: bool, reproduce: str) -> TrainedTask:
    """Train, and export the best weights."""
    from geotrans.training.export import TrainedGenerator, export_bundle

    config, folder = loop.config, loop.out
    best = loop.run(method, resume=resume)
    trained = TrainedTask(
        folder=folder,
        bundle=folder / f"{config.task.name}.safetensors",
        scores=best["scores"],
        step=best["step"],
        steps=best["steps"],
        seconds=best["seconds"],
    )
    if loop.fabric.is_global_zero:
        generator = TrainedGenerator(
            best["weights"], method.generator_args, method.halo, method.align
        )
        inverse = None
        if config.task.inverse and "inverse" in best:
            inverse = TrainedGenerator(best["inverse"], method.inverse_args)
        export_bundle(
            trained.bundle, config, loop.cache.manifest, generator, scores=trained.scores,
            reproduce=reproduce, fit=best["fit"], inverse=inverse,
        )  # fmt: skip
        _write_result(trained)
    return trained


def _train_members(
    config: TrainConfig,
    cache: PatchCache,
    folder: Path,
    *,
    resume: bool,
    quiet: bool,
    reproduce: str,
) -> TrainedTask:
    """Train the members one after the other, each in its own folder, and export their mean."""
    from geotrans.training.loop import open_fabric

    trainings = config.trainings
    fabric = open_fabric(config)
    fabric.launch()
    if fabric.is_global_zero:
        save_config(folder / "config.yaml", config)
    with _write_report_at_end(fabric, folder, cache):
        members = []
        for i, training in enumerate(trainings, start=1):
            log.info("member %d of %d", i, len(trainings))
            members.append(train(training, out=folder / f"member_{i}", resume=resume, quiet=quiet))
        steps = sum(member.steps for member in members)
        trained = TrainedTask(
            folder=folder,
            bundle=folder / f"{config.task.name}.safetensors",
            scores=members[0].scores,
            step=steps,
            steps=steps,
            seconds=sum(member.seconds for member in members),
        )
        if fabric.is_global_zero:
            from geotrans.training.members import average_bundles

            scores = average_bundles(
                trained.bundle,
                [member.bundle for member in members],
                config,
                cache,
                step=steps,
                device=fabric.device,
                reproduce=reproduce,
            )
            trained = replace(trained, scores=scores)
            _write_result(trained)
    fabric.barrier()
    return trained


def open_method(config: TrainConfig, cache: PatchCache, fabric: Fabric) -> Method:
    """The method that a configuration names, set up."""
    if config.training.method == "cyclegan":
        from geotrans.training.cyclegan import CycleGAN

        return CycleGAN(config, cache, fabric)
    if config.training.method == "cut":
        from geotrans.training.cut import CUT

        return CUT(config, cache, fabric)
    from geotrans.training.pix2pix import Pix2Pix

    return Pix2Pix(config, cache, fabric)


def _prepare_folder(folder: Path, *, resume: bool) -> None:
    """Make the folder, before anything long begins."""
    runs = folder, *sorted(folder.glob("member_*"))
    resumable = [run for run in runs if (run / "checkpoint.pt").exists()]
    if resumable and not resume:
        raise OutputError(
            f"{resumable[0]} holds a checkpoint, and a new run is asked for; go on from it, or "
            f"choose another {option('out')}"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OutputError(f"cannot write to {folder}: {error.strerror}") from error


def _format_command(source: str, overrides: Sequence[str]) -> str:
    """Command that reproduces the run, without options for local folders."""
    local_options = ("data.root=", "data.cache=")
    return shlex.join(
        ["geotrans", "train", source, *(o for o in overrides if not o.startswith(local_options))]
    )


def _write_result(trained: TrainedTask) -> None:
    """Write the result of the run as JSON and log it."""
    from geotrans.training.report import RESULT

    summary = {
        "bundle": trained.bundle.name,
        "scores": trained.scores,
        "step": trained.step,
        "steps": trained.steps,
        "seconds": round(trained.seconds, 1),
    }
    path = trained.folder / RESULT
    write_whole(path, (json.dumps(summary, indent=1) + "\n").encode())
    log.info("wrote %s (step %d of %d)", trained.bundle, trained.step, trained.steps)
