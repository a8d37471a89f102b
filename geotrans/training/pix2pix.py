"""Paired translation: pix2pix, read from top to bottom.

References:
    Isola et al., "Image-to-Image Translation with Conditional Adversarial Networks", CVPR 2017,
    with the two-scale critic and feature matching of Wang et al., CVPR 2018, augmentation of what
    the critic sees (Zhao et al., NeurIPS 2020) and averaged weights (Yaz et al., ICLR 2019).
"""

from __future__ import annotations

import functools
import logging
import math
import time
from pathlib import Path
from typing import Any, NoReturn, cast

import torch
from lightning.fabric import Fabric
from lightning.fabric.utilities.exceptions import MisconfigurationException
from torch import Tensor, nn

from geotrans import models
from geotrans.errors import ConfigError, DeviceError, TrainingError
from geotrans.sampling.cache import PatchCache
from geotrans.training.augment import DiffAugment
from geotrans.training.averaging import AveragedWeights, freeze_norms, recompute_norms
from geotrans.training.checkpoint import load_checkpoint, save_checkpoint
from geotrans.training.config import TrainConfig, resolved, save_config
from geotrans.training.data import Batch, ResidentPatches, class_groups, inner, step_rng
from geotrans.training.evaluation import HeldOut
from geotrans.training.losses import (
    adversarial_loss,
    critic_loss,
    feature_loss,
    jaccard_loss,
    masked_cross_entropy,
    masked_l1,
)
from geotrans.training.monitor import Monitor, save_sheet

log = logging.getLogger(__name__)

CHECKPOINT = "checkpoint.pt"
NORM_BATCHES = 16
LOG_EVERY = 20


class Pix2Pix:
    """A run of paired training.

    Args:
        config: The run.
        cache: Patches with splits `train` and `val`.
        out: Folder of the run.
        quiet: Whether to show no progress.

    Raises:
        ConfigError: If configuration and patches do not fit each other.
        DeviceError: If the device asked for is not there.
    """

    def __init__(
        self, config: TrainConfig, cache: PatchCache, out: Path, *, quiet: bool = False
    ) -> None:
        loop = config.training
        self.config, self.loop, self.cache, self.out, self.quiet = config, loop, cache, out, quiet
        self.fabric = _fabric(config)
        self.fabric.launch()
        models.keep_freed_memory()
        self.weights = config.loss.weights
        self.patches = ResidentPatches(cache, "train", config, device=self.fabric.device)
        palette = cache.manifest.palette if config.task.palette else None
        n_source, n_target = self.patches.source.shape[1], self.patches.target.shape[1]
        self.channels_in = n_source + len(config.task.noise)
        self.channels_out = len(palette) if palette else n_target
        self.generator_args = {
            "out_activation": "none" if palette else "tanh",
            **config.generator.args,
        }
        self.groups = list(class_groups(config.task, palette).values())
        self.norms_frozen = False
        colors = [c for _, c in palette] if palette else []
        # Colours of the classes on [-1, 1], so that critics see a map as a picture.
        self.colors = torch.tensor(colors, device=self.fabric.device) / 127.5 - 1
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(loop.seed)
            self._set_up(n_source, n_target)

    def _set_up(self, n_source: int, n_target: int) -> None:
        """Networks with fresh weights, and their optimisers."""
        fabric, loop, config = self.fabric, self.loop, self.config
        generator = models.build(
            config.generator.arch, self.channels_in, self.channels_out, **self.generator_args
        )
        self.align = models.alignment(generator)
        self.halo = models.receptive_halo(generator, self.channels_in)
        edge = loop.crop + 2 * loop.margin
        if edge % self.align:
            raise ConfigError(
                f"training.crop + 2 * training.margin is {edge} px; "
                f"the generator needs a multiple of {self.align}"
            )
        generator = generator.to(memory_format=torch.channels_last)
        self.average = AveragedWeights(generator, decay=loop.ema)
        self.average.net.to(fabric.device)
        adam = functools.partial(
            torch.optim.Adam, betas=loop.betas, fused=fabric.device.type == "cuda"
        )
        optimizer = adam(generator.parameters(), lr=loop.lr_generator)
        self.generator, self.optimizer = fabric.setup(generator, optimizer)
        critics = nn.ModuleDict()
        if "gan" in self.weights:
            critics["patch"] = models.PatchGAN(n_source + n_target, **config.critic.model_dump())
        if "perceptual" in self.weights:
            from geotrans.training.vgg import FeatureCritic, VGGFeatures

            if n_target != 3:
                raise ConfigError(
                    f"loss.perceptual looks at red, green and blue; the target has {n_target} "
                    "bands; name three in task.target, or set loss.perceptual to 0"
                )
            critics["feature"] = FeatureCritic(n_source)
            vgg = VGGFeatures().to(memory_format=torch.channels_last)
            self.vgg = fabric.to_device(vgg)
        self.critics, self.critic_optimizers = {}, {}
        for name, critic in critics.items():
            critic = critic.to(memory_format=torch.channels_last)
            critic_optimizer = adam(critic.parameters(), lr=loop.lr_critic)
            self.critics[name], self.critic_optimizers[name] = fabric.setup(
                critic, critic_optimizer
            )

    def run(self, *, resume: bool = True) -> dict[str, Any]:
        """Train until the steps or minutes are over.

        Args:
            resume: Whether to go on from the checkpoint in the folder, if there is one.

        Returns:
            The best held-out scores, the step they belong to, and the generator's weights.

        Raises:
            TrainingError: If a loss or a weight is no number any more.
            KeyboardInterrupt: With a word about where the same run would go on.
        """
        state = self._restored() if resume else {}
        step = saved = int(state.get("step", 0))
        seconds, best = float(state.get("seconds", 0.0)), state.get("best", {})
        patches = ResidentPatches(self.cache, "val", self.config, device=self.fabric.device)
        held_out = HeldOut(
            patches, self.config, self.cache.manifest, align=self.align, halo=self.halo
        )
        monitor = None
        if self.fabric.is_global_zero:
            save_config(self.out / "config.yaml", self.config)
            monitor = Monitor(self.out, step=step, quiet=self.quiet)
        before, started = seconds, time.monotonic()
        share = self._share(step, seconds)
        recent: list[dict[str, Tensor]] = []
        try:
            while share < 1:
                recent.append(self.step(step, share))
                step += 1
                seconds = before + time.monotonic() - started
                share = self._share(step, seconds)
                is_due = step % self.loop.evaluate_every == 0 or share >= 1
                if step % LOG_EVERY == 0 or is_due:
                    told = self._numbers(step, recent)
                    recent.clear()
                    if monitor:
                        monitor.losses(step, told)
                if monitor:
                    monitor.progress(step, images=self._images, share=share, seconds=seconds)
                if is_due:
                    best = self._evaluate(held_out, monitor, step, best)
                    seconds = before + time.monotonic() - started
                    self._save(step, seconds, best)
                    saved = step
        except KeyboardInterrupt:
            message = f"interrupted at step {step}; the same command goes on from step {saved}"
            raise KeyboardInterrupt(message) from None
        finally:
            if monitor:
                monitor.close()
        return {**best, "steps": step, "seconds": seconds}

    def step(self, step: int, share: float) -> dict[str, Tensor]:
        """One update of critics and generator.

        Args:
            step: Number of the step; every random draw follows from it.
            share: Share of the run that is done.

        Returns:
            Unweighted losses by name.
        """
        rank = self.fabric.global_rank
        batch = self.patches.draw(step, rank=rank)
        self._set_rates(share)
        self.generator.train()
        if share >= self.loop.freeze_norm_from:
            if not self.norms_frozen:
                self._recompute_norms(self.generator, step)
                self.norms_frozen = True
            freeze_norms(self.generator)
        scores = inner(self.generator(batch.source), batch.margin)
        fake, real = self._pictures(scores, batch)
        source = batch.seen[:, : self.patches.source.shape[1]]

        # What critics see of both sides, once: the same draw serves critics and generator.
        rng = step_rng(self.loop.seed + 1, step, rank)
        change = DiffAugment(
            self.config.augment.critic, rng, batch=len(real), device=self.fabric.device
        )
        seen_real, seen_fake = (
            change(source, real * batch.valid),
            change(source, fake * batch.valid),
        )
        losses: dict[str, Tensor] = {}
        if "gan" in self.weights:
            losses |= self._judge_patches(seen_real, seen_fake)
        if "perceptual" in self.weights:
            losses |= self._judge_features(seen_real, seen_fake, rng)
        if "l1" in self.weights:
            losses["l1"] = masked_l1(fake, real, batch.valid, pool=self.config.loss.l1_pool)
        if "cross_entropy" in self.weights:
            assert batch.classes is not None
            losses["cross_entropy"] = masked_cross_entropy(scores, batch.classes, batch.valid)
        if "jaccard" in self.weights:
            assert batch.classes is not None
            losses["jaccard"] = jaccard_loss(scores, batch.classes, batch.valid, groups=self.groups)

        total = torch.stack([weight * losses[name] for name, weight in self.weights.items()]).sum()
        self.optimizer.zero_grad(set_to_none=True)
        self.fabric.backward(total)
        self.optimizer.step()
        self.average.update(self.generator)
        return {name: loss.detach() for name, loss in losses.items()}

    def _judge_patches(
        self, real: tuple[Tensor, Tensor], fake: tuple[Tensor, Tensor]
    ) -> dict[str, Tensor]:
        """Update the patch critic, then ask it about the generator."""
        critic, kind = self.critics["patch"], self.config.loss.gan_kind
        on_real = critic(torch.cat(real, dim=1))
        on_fake = critic(torch.cat([fake[0], fake[1].detach()], dim=1))
        loss = critic_loss([v.scores for v in on_real], [v.scores for v in on_fake], kind=kind)
        self._update("patch", loss)
        critic.requires_grad_(False)
        verdicts = critic(torch.cat(fake, dim=1))
        critic.requires_grad_(True)
        gan = adversarial_loss([v.scores for v in verdicts], kind=kind)
        return {"critic": loss, "gan": gan, "feature": feature_loss(on_real, verdicts)}

    def _judge_features(
        self, real: tuple[Tensor, Tensor], fake: tuple[Tensor, Tensor], rng: Any
    ) -> dict[str, Tensor]:
        """The same for the critic that looks through a pretrained network."""
        from geotrans.training.vgg import random_view, viewed

        critic, kind = self.critics["feature"], "hinge"
        view = random_view(rng, self.loop.crop)
        source = viewed(real[0], view)
        with torch.no_grad():
            of_real = self.vgg(viewed(real[1], view))
        of_fake = self.vgg(viewed(fake[1], view))
        loss = critic_loss(
            critic(of_real, source), critic([f.detach() for f in of_fake], source), kind=kind
        )
        self._update("feature", loss)
        critic.requires_grad_(False)
        scores = critic(of_fake, source)
        critic.requires_grad_(True)
        return {"feature_critic": loss, "perceptual": adversarial_loss(scores, kind=kind)}

    def _update(self, name: str, loss: Tensor) -> None:
        optimizer = self.critic_optimizers[name]
        optimizer.zero_grad(set_to_none=True)
        self.fabric.backward(loss)
        optimizer.step()

    def _pictures(self, scores: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """Output and target as the critics see them; a map is mixed from its class colours."""
        if not len(self.colors):
            return scores, batch.target
        return torch.einsum("nkhw,kc->nchw", scores.softmax(dim=1), self.colors), batch.target

    @property
    def _images(self) -> int:
        return self.loop.batch * int(self.fabric.world_size)

    def _share(self, step: int, seconds: float) -> float:
        """Share of the run that is done, by steps or minutes, whichever is further."""
        minutes = self.loop.max_minutes
        by_time = seconds / (60 * minutes) if minutes else 0.0
        share = max(step / self.loop.steps, by_time)
        return float(self.fabric.broadcast(share)) if self.fabric.world_size > 1 else share

    def _set_rates(self, share: float) -> None:
        start = self.loop.decay_from
        factor = 1.0 if share < start else max(0.0, (1 - share) / max(1 - start, 1e-9))
        for optimizer, rate in [
            (self.optimizer, self.loop.lr_generator),
            *((o, self.loop.lr_critic) for o in self.critic_optimizers.values()),
        ]:
            for group in optimizer.param_groups:
                group["lr"] = rate * factor

    def _numbers(self, step: int, recent: list[dict[str, Tensor]]) -> dict[str, float]:
        """Losses of the last step, means over the devices; all recent ones are looked at.

        Raises:
            TrainingError: If one is no number any more.
        """
        names = list(recent[-1])
        table = torch.stack([torch.stack([losses[n].float() for n in names]) for losses in recent])
        rows = cast(Tensor, self.fabric.all_reduce(table)).tolist()
        for then, row in enumerate(rows, start=step - len(rows) + 1):
            for name, value in zip(names, row, strict=True):
                if not math.isfinite(value):
                    self._give_up(f"loss '{name}' is {value}", then)
        return dict(zip(names, rows[-1], strict=True))

    def _give_up(self, reason: str, step: int) -> NoReturn:
        kept = (
            f"the last good checkpoint is kept in {self.out}"
            if (self.out / CHECKPOINT).exists()
            else "there is no checkpoint yet"
        )
        raise TrainingError(
            f"{reason} at step {step}; {kept}; lower training.lr_generator or the loss's weight"
        )

    def _evaluate(
        self, held_out: HeldOut, monitor: Monitor | None, step: int, best: dict[str, Any]
    ) -> dict[str, Any]:
        """Score the averaged weights; keep them if they are the best so far."""
        net = self.average.net
        # A loss tells of the weights before the step, so the last step shows only here.
        for trained in (self.generator, *self.critics.values()):
            if not all(weight.isfinite().all() for weight in trained.parameters()):
                self._give_up("weights are no numbers any more", step)
        if not self.norms_frozen:
            self._recompute_norms(net, step)
        outputs = held_out.outputs(net)
        scores = held_out.scores(outputs)
        if monitor:
            monitor.scores(step, scores)
            (self.out / "sheets").mkdir(exist_ok=True)
            save_sheet(self.out / "sheets" / f"step_{step:07d}.png", held_out.sheet(outputs))
        name, _, better = self.loop.select.partition(":")
        if math.isnan(scores[name]):
            raise TrainingError(
                f"the score '{name}' has no value: 'val' holds nothing it looks at; "
                f"set training.select to one of {', '.join(held_out.score_names)}"
            )
        sign = -1 if better == "min" else 1
        if best and sign * scores[name] <= sign * best["scores"][name]:
            return best
        scores = {name: value for name, value in scores.items() if not math.isnan(value)}
        weights = {key: value.detach().cpu().clone() for key, value in net.state_dict().items()}
        return {"step": step, "scores": scores, "weights": weights}

    def _recompute_norms(self, net: nn.Module, step: int) -> None:
        first = (1 << 39) + step * NORM_BATCHES  # draws that no training step uses
        recompute_norms(net, (self.patches.draw(first + i).source for i in range(NORM_BATCHES)))

    def _save(self, step: int, seconds: float, best: dict[str, Any]) -> None:
        if not self.fabric.is_global_zero:
            return
        state = {
            "config": resolved(self.config),
            "step": step,
            "seconds": seconds,
            "best": best,
            "generator": self.generator.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "average": self.average.net.state_dict(),
            "n_averaged": self.average.n_updates,
            "norms_frozen": self.norms_frozen,
            "critics": {name: c.state_dict() for name, c in self.critics.items()},
            "critic_optimizers": {n: o.state_dict() for n, o in self.critic_optimizers.items()},
        }
        save_checkpoint(self.out / CHECKPOINT, state)

    def _restored(self) -> dict[str, Any]:
        """The state in the folder's checkpoint, loaded; empty if there is none."""
        path = self.out / CHECKPOINT
        if not path.is_file():
            return {}
        state = load_checkpoint(path, config=resolved(self.config))
        self.generator.load_state_dict(state["generator"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.average.net.load_state_dict(state["average"])
        self.average.n_updates = state["n_averaged"]
        self.norms_frozen = state["norms_frozen"]
        for name in self.critics:
            self.critics[name].load_state_dict(state["critics"][name])
            self.critic_optimizers[name].load_state_dict(state["critic_optimizers"][name])
        log.info("going on from step %d", state["step"])
        return state


def _fabric(config: TrainConfig) -> Fabric:
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
        return Fabric(accelerator=loop.accelerator, devices=loop.devices, precision=precision)
    except (RuntimeError, ValueError, MisconfigurationException) as error:
        raise DeviceError(
            f"training.accelerator '{loop.accelerator}' with training.devices {loop.devices} "
            f"cannot be had here: {' '.join(str(error).split())}"
        ) from error
