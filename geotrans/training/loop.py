"""The training loop shared by all methods: schedule, evaluation, checkpoints."""

from __future__ import annotations

import logging
import math
import time
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, cast

import torch
from lightning.fabric import Fabric
from lightning.fabric.utilities.exceptions import MisconfigurationException
from torch import Tensor, nn

from geotrans import models
from geotrans.errors import DeviceError, TrainingError
from geotrans.sampling.cache import PatchCache
from geotrans.training.checkpoint import load_checkpoint, save_checkpoint
from geotrans.training.config import TrainConfig, resolve_config, save_config
from geotrans.training.data import ResidentPatches
from geotrans.training.evaluation import HeldOut
from geotrans.training.monitor import Monitor, save_sheet

if TYPE_CHECKING:
    from geotrans.training.method import Method

log = logging.getLogger(__name__)

CHECKPOINT = "checkpoint.pt"
LOG_EVERY = 20


class Loop:
    """Devices, clock and files of a run.

    Args:
        config: The run.
        cache: Patches with splits `train` and `val`.
        out: Folder of the run.
        quiet: Whether to show no progress.

    Raises:
        DeviceError: If the requested device is not available.
    """

    def __init__(
        self, config: TrainConfig, cache: PatchCache, out: Path, *, quiet: bool = False
    ) -> None:
        self.config, self.cache, self.out, self.quiet = config, cache, out, quiet
        self.fabric = open_fabric(config)
        self.fabric.launch()
        models.keep_freed_memory()

    def run(self, method: Method, *, resume: bool = True) -> dict[str, Any]:
        """Train until the steps or minutes are over.

        Args:
            method: What a step is.
            resume: Whether to go on from the checkpoint in the folder, if there is one.

        Returns:
            The best held-out scores, the step they belong to, and the networks' weights; under
            `fit` the scores of a residual's linear map alone.

        Raises:
            TrainingError: If a loss or a weight is not finite.
            KeyboardInterrupt: Names the step from which the same command resumes.
        """
        settings = self.config.training
        state = self._restore(method) if resume else {}
        step = saved = int(state.get("step", 0))
        seconds, best = float(state.get("seconds", 0.0)), state.get("best", {})
        held_out = self._open_held_out(method)
        monitor = None
        if self.fabric.is_global_zero:
            save_config(self.out / "config.yaml", self.config)
            monitor = Monitor(self.out, step=step, quiet=self.quiet)
        fit = state["fit"] if "fit" in state else self._score_linear_fit(method, held_out, monitor)
        seconds_before, started = seconds, time.monotonic()
        share = self._compute_share(step, seconds)
        recent: list[dict[str, Tensor]] = []
        images = settings.batch * int(self.fabric.world_size)
        try:
            while share < 1:
                set_rates(method.rates, share, decay_from=settings.decay_from)
                recent.append(method.step(step, share))
                step += 1
                seconds = seconds_before + time.monotonic() - started
                share = self._compute_share(step, seconds)
                is_due = step % settings.evaluate_every == 0 or share >= 1
                if step % LOG_EVERY == 0 or is_due:
                    latest = self._reduce_losses(step, recent)
                    recent.clear()
                    if monitor:
                        monitor.log_losses(step, latest)
                if monitor:
                    monitor.show_progress(step, images=images, share=share, seconds=seconds)
                if is_due:
                    best = self._evaluate(method, held_out, monitor, step, best)
                    seconds = seconds_before + time.monotonic() - started
                    self._save(method, step, seconds, best, fit)
                    saved = step
                    if monitor:
                        monitor.log_timing(step, seconds=seconds, images=step * images)
        except KeyboardInterrupt:
            message = f"interrupted at step {step}; the same command goes on from step {saved}"
            raise KeyboardInterrupt(message) from None
        finally:
            if monitor:
                monitor.close()
        return {**best, "fit": fit, "steps": step, "seconds": seconds}

    def _open_held_out(self, method: Method) -> HeldOut:
        patches = ResidentPatches(self.cache, "val", self.config, device=self.fabric.device)
        return HeldOut(
            patches, self.config, self.cache.manifest, align=method.align, halo=method.halo
        )

    def _compute_share(self, step: int, seconds: float) -> float:
        """Share of the run that is done, by steps or minutes, whichever is further."""
        settings = self.config.training
        by_time = seconds / (60 * settings.max_minutes) if settings.max_minutes else 0.0
        share = max(step / settings.steps, by_time)
        return float(self.fabric.broadcast(share)) if self.fabric.world_size > 1 else share

    def _reduce_losses(self, step: int, recent: list[dict[str, Tensor]]) -> dict[str, float]:
        """Losses of the last step, averaged over devices; all recent steps are checked.

        Raises:
            TrainingError: If one is not finite.
        """
        names = list(recent[-1])
        table = torch.stack([torch.stack([losses[n].float() for n in names]) for losses in recent])
        rows = cast(Tensor, self.fabric.all_reduce(table)).tolist()
        for loss_step, row in enumerate(rows, start=step - len(rows) + 1):
            for name, value in zip(names, row, strict=True):
                if not math.isfinite(value):
                    self._fail(f"loss '{name}' is {value}", loss_step)
        return dict(zip(names, rows[-1], strict=True))

    def _fail(self, reason: str, step: int) -> NoReturn:
        hint = (
            f"the last good checkpoint is kept in {self.out}"
            if (self.out / CHECKPOINT).exists()
            else "there is no checkpoint yet"
        )
        raise TrainingError(
            f"{reason} at step {step}; {hint}; lower training.lr_generator or the loss's weight"
        )

    def _evaluate(
        self,
        method: Method,
        held_out: HeldOut,
        monitor: Monitor | None,
        step: int,
        best: dict[str, Any],
    ) -> dict[str, Any]:
        """Score the averaged weights; return them if they are the best so far."""
        # A loss is computed before its step, so bad weights of the last step show only here.
        for network in method.networks.values():
            if not all(weight.isfinite().all() for weight in network.parameters()):
                self._fail("weights are no numbers any more", step)
        nets = method.finalize_averages(step)
        outputs = held_out.outputs(nets["weights"])
        scores = held_out.scores(outputs)
        if monitor:
            monitor.log_scores(step, scores)
            (self.out / "sheets").mkdir(exist_ok=True)
            save_sheet(self.out / "sheets" / f"step_{step:07d}.png", held_out.sheet(outputs))
        name, _, better = self.config.training.select.partition(":")
        if math.isnan(scores[name]):
            raise TrainingError(
                f"the score '{name}' has no value: 'val' holds nothing it looks at; "
                f"set training.select to one of {', '.join(held_out.score_names)}"
            )
        sign = -1 if better == "min" else 1
        if best and sign * scores[name] <= sign * best["scores"][name]:
            return best
        scores = {name: value for name, value in scores.items() if not math.isnan(value)}
        return {
            "step": step,
            "scores": scores,
            **{name: _to_cpu(net) for name, net in nets.items()},
        }

    def _score_linear_fit(
        self, method: Method, held_out: HeldOut, monitor: Monitor | None
    ) -> dict[str, float]:
        """Scores of a residual before its body has learned anything; none of other networks."""
        if self.config.generator.arch != "residual":
            return {}
        outputs = held_out.outputs(method.finalize_averages(0)["weights"])
        scores = held_out.scores(outputs)
        log.info("step 0 is the linear fit alone, no network")
        if monitor:
            monitor.log_scores(0, scores)
        return {name: value for name, value in scores.items() if math.isfinite(value)}

    def _save(
        self,
        method: Method,
        step: int,
        seconds: float,
        best: dict[str, Any],
        fit: dict[str, float],
    ) -> None:
        if not self.fabric.is_global_zero:
            return
        state = {
            "config": resolve_config(self.config),
            "step": step,
            "seconds": seconds,
            "best": best,
            "fit": fit,
            **method.state(),
        }
        save_checkpoint(self.out / CHECKPOINT, state)

    def _restore(self, method: Method) -> dict[str, Any]:
        """The state in the folder's checkpoint, loaded; empty if there is none."""
        path = self.out / CHECKPOINT
        if not path.is_file():
            return {}
        state = load_checkpoint(path, config=resolve_config(self.config))
        method.restore(state)
        log.info("going on from step %d", state["step"])
        return state


def set_rates(
    optimizers: Iterable[tuple[torch.optim.Optimizer, float]], share: float, *, decay_from: float
) -> None:
    """Learning rates at a share of the run: whole, then falling linearly to 0."""
    factor = 1.0 if share < decay_from else max(0.0, (1 - share) / max(1 - decay_from, 1e-9))
    for optimizer, rate in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = rate * factor


def open_fabric(config: TrainConfig) -> Fabric:
    """The devices of a run; bf16 by default where it is sure to be fast.

    Raises:
        DeviceError: If they are not there.
    """
    loop = config.training
    precision = loop.precision
    if precision == "auto":
        is_cuda = loop.accelerator in {"auto", "cuda", "gpu"} and torch.cuda.is_available()
        precision = "bf16-mixed" if is_cuda and torch.cuda.is_bf16_supported() else "32-true"
    try:
        with warnings.catch_warnings():
            # Fabric starts the processes itself; that a machine has SLURM is no mistake.
            warnings.filterwarnings("ignore", message="The `srun` command is available")
            return Fabric(accelerator=loop.accelerator, devices=loop.devices, precision=precision)
    except (RuntimeError, ValueError, MisconfigurationException) as error:
        raise DeviceError(
            f"training.accelerator '{loop.accelerator}' with training.devices {loop.devices} "
            f"cannot be had here: {' '.join(str(error).split())}"
        ) from error


def _to_cpu(net: nn.Module) -> dict[str, Tensor]:
    return {key: value.detach().cpu().clone() for key, value in net.state_dict().items()}
