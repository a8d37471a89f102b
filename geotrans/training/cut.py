"""Unpaired translation in one direction: CUT, read from top to bottom.

References:
    Park et al., "Contrastive Learning for Unpaired Image-to-Image Translation", ECCV 2020
    (arXiv 2007.15651), written anew from the paper: one generator and one critic, and instead of a
    way back a patch-contrastive loss between output and source; the same loss on targets keeps the
    generator from changing what needs no change. Ours may hold bands that both domains measure to
    what was measured.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from geotrans import models
from geotrans.errors import ConfigError
from geotrans.models.residual import body_of, shown_to_body
from geotrans.sampling.cache import PatchCache
from geotrans.training.augment import DiffAugment
from geotrans.training.averaging import AveragedWeights, freeze_norms, recompute_norms
from geotrans.training.config import TrainConfig
from geotrans.training.contrast import Projections, at_places, contrast_loss, random_places
from geotrans.training.data import step_rng
from geotrans.training.domains import Drawn, UnpairedPatches
from geotrans.training.generator import fit_domain, generator_args
from geotrans.training.loop import Loop
from geotrans.training.losses import adversarial_loss, critic_loss, known_loss, shared_bands
from geotrans.training.pool import PatchPool

NORM_BATCHES = 16


class CUT:
    """A run of unpaired training in one direction.

    Args:
        config: The run.
        cache: Patches with splits `train`, which is drawn from as two domains, and `val`.
        out: Folder of the run.
        quiet: Whether to show no progress.

    Raises:
        ConfigError: If configuration and patches do not fit each other.
        DeviceError: If the device asked for is not there.
    """

    def __init__(
        self, config: TrainConfig, cache: PatchCache, out: Path, *, quiet: bool = False
    ) -> None:
        self.config, self.settings, self.cache, self.out = config, config.training, cache, out
        self.loop = Loop(config, cache, out, quiet=quiet)
        self.fabric = self.loop.fabric
        self.weights = config.loss.weights
        self.patches = UnpairedPatches(cache, "train", config, device=self.fabric.device)
        source, target = self.patches.source, self.patches.target
        if {"nce", "nce_identity"} & self.weights.keys() and len(source.bands) != len(target.bands):
            raise ConfigError(
                f"cut looks at its output through its own encoder; the source has "
                f"{len(source.bands)} bands, the target {len(target.bands)}; set training.method "
                "to cyclegan"
            )
        self.known = shared_bands(source.bands, target.bands)
        if "known" in self.weights and not self.known:
            raise ConfigError(
                f"loss.known compares bands that both sides have; the source has "
                f"{', '.join(source.names)}, the target {', '.join(target.names)}; set it to 0"
            )
        self.norms_frozen = False
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.settings.seed)
            self._set_up()

    def _set_up(self) -> None:
        """Generator, projections and critic with fresh weights, and their optimisers."""
        config, settings = self.config, self.settings
        source, target = self.patches.source, self.patches.target
        extra = len(config.task.coordinates) + len(config.task.noise)
        self.channels_in = len(source.bands) + extra
        self.generator_args = generator_args(
            config.generator, source=source.bands, target=target.bands
        )
        net = models.build(
            config.generator.arch, self.channels_in, len(target.bands), **self.generator_args
        )
        if config.generator.pretrained:
            models.load_pretrained(net, config.generator.arch)
        self.align = models.alignment(net)
        self.halo = models.receptive_halo(net, self.channels_in)
        if settings.crop % self.align:
            raise ConfigError(
                f"training.crop is {settings.crop} px; the generator needs a multiple of "
                f"{self.align}"
            )
        fit_domain(net, config.generator, reads=source, writes=target)
        heads = self._projections(net)
        net = net.to(memory_format=torch.channels_last)
        critic = models.PatchGAN(len(target.bands), **config.critic.model_dump())
        critic = critic.to(memory_format=torch.channels_last)
        self.average = AveragedWeights(net, decay=settings.ema)
        self.average.net.to(self.fabric.device)
        adam = functools.partial(
            torch.optim.Adam, betas=settings.betas, fused=self.fabric.device.type == "cuda"
        )
        setup = self.fabric.setup
        self.generator, self.optimizer = setup(
            net, adam(net.parameters(), lr=settings.lr_generator)
        )
        self.heads, self.head_optimizer = setup(
            heads, adam(heads.parameters(), lr=settings.lr_generator)
        )
        self.critic, self.critic_optimizer = setup(
            critic, adam(critic.parameters(), lr=settings.lr_critic)
        )
        self.pool = PatchPool(settings.pool)

    def _projections(self, net: nn.Module) -> Projections:
        """A perceptron for each level that is compared.

        Raises:
            ConfigError: If the generator has no encoder, or no such level.
        """
        body: Any = body_of(net)
        if not hasattr(body, "encode"):
            raise ConfigError(
                f"generator.arch {self.config.generator.arch} has no encoder that cut could look "
                "through; use unet, resnet or liteunet"
            )
        edge = 4 * self.align
        with torch.no_grad():
            blank = torch.zeros(1, self.channels_in, edge, edge)
            levels = [blank, *body.encode(shown_to_body(net, blank))]
        n_levels = len(levels)
        self.levels = self.config.contrast.levels or tuple(range(n_levels))
        if max(self.levels) >= n_levels:
            raise ConfigError(
                f"contrast.levels asks for level {max(self.levels)}; the encoder has levels 0 to "
                f"{n_levels - 1}"
            )
        channels = [levels[i].shape[1] for i in self.levels]
        return Projections(channels, width=self.config.contrast.width)

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
        return self.loop.run(self, resume=resume)

    def step(self, step: int, share: float) -> dict[str, Tensor]:
        """One update of critic, generator and projections.

        Args:
            step: Number of the step; every random draw follows from it.
            share: Share of the run that is done.

        Returns:
            Unweighted losses by name.
        """
        rank = self.fabric.global_rank
        source, target = self.patches.draw(step, rank=rank)
        self._prepare(step, share)
        fake = self._write(source)
        losses: dict[str, Tensor] = {}
        if "gan" in self.weights:
            losses |= self._judge(fake, source, target, step)
        rng = step_rng(self.settings.seed + 3, step, rank)
        if "nce" in self.weights:
            losses["nce"] = self._contrast(fake, source, rng)
        if "nce_identity" in self.weights:
            losses["nce_identity"] = self._contrast(self._write(target), target, rng)
        if "known" in self.weights:
            losses["known"] = known_loss(fake, source.values, source.valid, self.known)
        total = torch.stack([weight * losses[n] for n, weight in self.weights.items()]).sum()
        self.optimizer.zero_grad(set_to_none=True)
        self.head_optimizer.zero_grad(set_to_none=True)
        self.fabric.backward(total)
        self.optimizer.step()
        self.head_optimizer.step()
        self.average.update(self.generator)
        return {name: loss.detach() for name, loss in losses.items()}

    def _write(self, drawn: Drawn) -> Tensor:
        made: Tensor = self.generator(torch.cat([drawn.values, drawn.extra], dim=1))
        return made

    def _contrast(self, fake: Tensor, drawn: Drawn, rng: np.random.Generator) -> Tensor:
        """Whether each place of an output is recognised in what it was made of."""
        settings = self.config.contrast
        with self.fabric.autocast():
            seen = [
                self._encoded(torch.cat([values, drawn.extra], dim=1))
                for values in (fake, drawn.values)
            ]
        places = random_places(seen[1], settings.patches, rng)
        queries, keys = (self.heads(at_places(levels, places)) for levels in seen)
        return contrast_loss(queries, keys, temperature=settings.temperature)

    def _encoded(self, x: Tensor) -> list[Tensor]:
        net: Any = self.generator.module
        body: Any = body_of(net)
        levels = [x, *body.encode(shown_to_body(net, x))]
        return [levels[i] for i in self.levels]

    def _judge(self, fake: Tensor, source: Drawn, target: Drawn, step: int) -> dict[str, Tensor]:
        """Update the critic, then ask it about the generator."""
        kind, rank = self.config.loss.gan_kind, self.fabric.global_rank
        change = DiffAugment(
            self.config.augment.critic,
            step_rng(self.settings.seed + 1, step, rank),
            batch=len(fake),
            device=self.fabric.device,
        )
        # A critic must not tell the domains by where their scenes end.
        valid = source.valid * target.valid
        shown = self.pool.swap(fake.detach(), step_rng(self.settings.seed + 2, step, rank))
        on_real, on_fake = (
            self.critic(change(x * valid, x * valid)[1]) for x in (target.values, shown)
        )
        loss = critic_loss([v.scores for v in on_real], [v.scores for v in on_fake], kind=kind)
        self.critic_optimizer.zero_grad(set_to_none=True)
        self.fabric.backward(loss)
        self.critic_optimizer.step()
        self.critic.requires_grad_(False)
        verdicts = self.critic(change(fake * valid, fake * valid)[1])
        self.critic.requires_grad_(True)
        gan = adversarial_loss([v.scores for v in verdicts], kind=kind)
        return {"critic": loss, "gan": gan}

    def _prepare(self, step: int, share: float) -> None:
        """Training mode; norms are frozen for the last part of a run."""
        self.generator.train()
        if share >= self.settings.freeze_norm_from:
            if not self.norms_frozen:
                self._recompute_norms(self.generator, step)
                self.norms_frozen = True
            freeze_norms(self.generator)

    def _recompute_norms(self, net: nn.Module, step: int) -> None:
        first = (1 << 39) + step * NORM_BATCHES  # draws that no training step uses
        drawn = (self.patches.draw(first + i)[0] for i in range(NORM_BATCHES))
        recompute_norms(net, (torch.cat([s.values, s.extra], dim=1) for s in drawn))

    @property
    def networks(self) -> Mapping[str, nn.Module]:
        """Networks that are trained, by name."""
        return {"generator": self.generator, "heads": self.heads, "critic": self.critic}

    @property
    def rates(self) -> list[tuple[torch.optim.Optimizer, float]]:
        """Each optimiser with the learning rate it starts from."""
        return [
            (self.optimizer, self.settings.lr_generator),
            (self.head_optimizer, self.settings.lr_generator),
            (self.critic_optimizer, self.settings.lr_critic),
        ]

    def settled(self, step: int) -> Mapping[str, nn.Module]:
        """The averaged generator, as it would be exported."""
        if not self.norms_frozen:
            self._recompute_norms(self.average.net, step)
        return {"weights": self.average.net}

    def state(self) -> dict[str, Any]:
        """What a run needs to go on as if it had never stopped."""
        return {
            "generator": self.generator.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "average": self.average.net.state_dict(),
            "n_averaged": self.average.n_updates,
            "norms_frozen": self.norms_frozen,
            "heads": self.heads.state_dict(),
            "head_optimizer": self.head_optimizer.state_dict(),
            "critic": self.critic.state_dict(),
            "critic_optimizer": self.critic_optimizer.state_dict(),
            "pool": self.pool.held,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take in what `state` gave."""
        self.generator.load_state_dict(state["generator"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.average.net.load_state_dict(state["average"])
        self.average.n_updates = state["n_averaged"]
        self.norms_frozen = state["norms_frozen"]
        self.heads.load_state_dict(state["heads"])
        self.head_optimizer.load_state_dict(state["head_optimizer"])
        self.critic.load_state_dict(state["critic"])
        self.critic_optimizer.load_state_dict(state["critic_optimizer"])
        held = state["pool"]
        self.pool.held = None if held is None else held.to(self.fabric.device)
