"""Unpaired translation in one direction: CUT, read from top to bottom.

References:
    Park et al., "Contrastive Learning for Unpaired Image-to-Image Translation", ECCV 2020
    (arXiv 2007.15651), written anew from the paper: one generator and one critic, and instead of a
    way back a patch-contrastive loss between output and source; the same loss on targets keeps the
    generator from changing what needs no change. Ours may hold bands that both domains measure to
    what was measured.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from geotrans import models
from geotrans.errors import ConfigError
from geotrans.models.residual import get_body, select_body_inputs
from geotrans.training.augment import DiffAugment
from geotrans.training.contrast import Projections, contrast_loss, draw_positions, gather_positions
from geotrans.training.data import step_rng
from geotrans.training.domains import DomainBatch, UnpairedPatches
from geotrans.training.generator import fit_unpaired, generator_args
from geotrans.training.losses import adversarial_loss, critic_loss, known_loss, shared_bands
from geotrans.training.method import Method
from geotrans.training.pool import PatchPool


class CUT(Method):
    """A run of unpaired training one way; the split `train` is drawn from as two domains."""

    def _load_patches(self) -> None:
        self.patches = UnpairedPatches(self.cache, "train", self.config, device=self.fabric.device)
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

    def _build_networks(self) -> None:
        config, settings = self.config, self.settings
        source, target = self.patches.source, self.patches.target
        n_extra = len(config.task.coordinates) + len(config.task.noise)
        self.channels_in = len(source.bands) + n_extra
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
        fit_unpaired(net, config.generator, reads=source, writes=target)
        heads = self._build_projections(net)
        # The critic sees the coordinate channels of the task, too.
        critic_channels = len(target.bands) + len(config.task.coordinates)
        critic = models.PatchGAN(critic_channels, **config.critic.model_dump())
        self.generator = self._add_network(
            "generator", net, lr=settings.lr_generator, averaged=True
        )
        self.heads = self._add_network("heads", heads, lr=settings.lr_generator)
        self.critic = self._add_network("critic", critic, lr=settings.lr_critic)
        self.pools["target"] = PatchPool(settings.pool)

    def _build_projections(self, net: nn.Module) -> Projections:
        """Build one projection head per compared encoder level.

        Raises:
            ConfigError: If the generator has no encoder, or no such level.
        """
        body: Any = get_body(net)
        if not hasattr(body, "encode"):
            raise ConfigError(
                f"generator.arch {self.config.generator.arch} has no encoder that cut could look "
                "through; use unet, resnet or liteunet"
            )
        edge = 4 * self.align
        with torch.no_grad():
            blank = torch.zeros(1, self.channels_in, edge, edge)
            levels = [blank, *body.encode(select_body_inputs(net, blank))]
        n_levels = len(levels)
        self.levels = self.config.contrast.levels or tuple(range(n_levels))
        if max(self.levels) >= n_levels:
            raise ConfigError(
                f"contrast.levels asks for level {max(self.levels)}; the encoder has levels 0 to "
                f"{n_levels - 1}"
            )
        channels = [levels[i].shape[1] for i in self.levels]
        return Projections(channels, width=self.config.contrast.width)

    def step(self, step: int, share: float) -> dict[str, Tensor]:
        """One update of critic, generator and projections."""
        rank = self.fabric.global_rank
        source, target = self.patches.draw(step, rank=rank)
        self._set_train_mode(step, share)
        fake = self._generate(source)
        losses: dict[str, Tensor] = {}
        if "gan" in self.weights:
            losses |= self._update_critics(fake, source, target, step)
        rng = step_rng(self.settings.seed + 3, step, rank)
        if "nce" in self.weights:
            losses["nce"] = self._compute_contrast(fake, source, rng)
        if "nce_identity" in self.weights:
            losses["nce_identity"] = self._compute_contrast(self._generate(target), target, rng)
        if "known" in self.weights:
            losses["known"] = known_loss(fake, source.values, source.valid, self.known)
        return self._update_generators(losses, "heads")

    def _generator_input(self, generator: str, draw: int) -> Tensor:
        source, _ = self.patches.draw(draw)
        return torch.cat([source.values, source.extra], dim=1)

    def _generate(self, batch: DomainBatch) -> Tensor:
        output: Tensor = self.generator(torch.cat([batch.values, batch.extra], dim=1))
        return output

    def _compute_contrast(
        self, fake: Tensor, batch: DomainBatch, rng: np.random.Generator
    ) -> Tensor:
        """Patch-contrastive loss between an output and its input."""
        settings = self.config.contrast
        with self.fabric.autocast():
            encoded = [
                self._encode(torch.cat([values, batch.extra], dim=1))
                for values in (fake, batch.values)
            ]
        positions = draw_positions(encoded[1], settings.patches, rng)
        queries, keys = (self.heads(gather_positions(levels, positions)) for levels in encoded)
        return contrast_loss(queries, keys, temperature=settings.temperature)

    def _encode(self, x: Tensor) -> list[Tensor]:
        net: Any = self.generator.module
        body: Any = get_body(net)
        levels = [x, *body.encode(select_body_inputs(net, x))]
        return [levels[i] for i in self.levels]

    def _update_critics(
        self, fake: Tensor, source: DomainBatch, target: DomainBatch, step: int
    ) -> dict[str, Tensor]:
        """Update the critic and return its loss and the adversarial loss of the generator."""
        kind, rank = self.config.loss.gan_kind, self.fabric.global_rank
        augment = DiffAugment(
            self.config.augment.critic,
            step_rng(self.settings.seed + 1, step, rank),
            batch=len(fake),
            device=self.fabric.device,
        )
        # A critic must not recognise a domain by the edges of its scenes.
        valid = source.valid * target.valid
        pool_rng, n_bands = step_rng(self.settings.seed + 2, step, rank), fake.shape[1]
        generated = torch.cat([fake.detach(), source.coordinates], dim=1)
        older = self.pools["target"].swap(generated, pool_rng)
        on_real = self.critic(augment.join_for_critic(target.values, target.coordinates, valid))
        on_fake = self.critic(
            augment.join_for_critic(older[:, :n_bands], older[:, n_bands:], valid)
        )
        loss = critic_loss([v.scores for v in on_real], [v.scores for v in on_fake], kind=kind)
        self._update(loss, "critic")
        self.critic.requires_grad_(False)
        verdicts = self.critic(augment.join_for_critic(fake, source.coordinates, valid))
        self.critic.requires_grad_(True)
        gan = adversarial_loss([v.scores for v in verdicts], kind=kind)
        return {"critic": loss, "gan": gan}
