"""Unpaired translation: CycleGAN, read from top to bottom.

References:
    Zhu et al., "Unpaired Image-to-Image Translation using Cycle-Consistent Adversarial Networks",
    ICCV 2017: least squares, cycle and identity losses, pools of 50 generated patches. Ours may
    have domains of different bands, holds bands that both domains measure to what was measured,
    augments what critics see (Zhao et al., NeurIPS 2020) and averages weights (Yaz et al., ICLR
    2019).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from geotrans import models
from geotrans.errors import ConfigError
from geotrans.training.augment import DiffAugment
from geotrans.training.config import GeneratorConfig
from geotrans.training.data import step_rng
from geotrans.training.domains import DomainBatch, DomainPatches, UnpairedPatches
from geotrans.training.generator import fit_unpaired, generator_args
from geotrans.training.losses import (
    adversarial_loss,
    critic_loss,
    known_loss,
    masked_l1,
    shared_bands,
)
from geotrans.training.method import Method
from geotrans.training.pool import PatchPool

# The network that writes each domain.
_WRITES = {"target": "generator", "source": "inverse"}


class CycleGAN(Method):
    """A run of unpaired training both ways; the split `train` is drawn from as two domains."""

    def _load_patches(self) -> None:
        self.detached = self.config.loss.cycle_detached
        self.patches = UnpairedPatches(self.cache, "train", self.config, device=self.fabric.device)
        self.domains = {"target": self.patches.target, "source": self.patches.source}
        n_source, n_target = len(self.patches.source.bands), len(self.patches.target.bands)
        if "identity" in self.weights and n_source != n_target:
            raise ConfigError(
                f"loss.identity shows a network what it writes; the source has {n_source} bands, "
                f"the target {n_target}; set loss.identity to 0"
            )
        if "known" in self.weights and not self._shared_bands("target"):
            raise ConfigError(
                f"loss.known compares bands that both sides have; the source has "
                f"{', '.join(self.patches.source.names)}, the target "
                f"{', '.join(self.patches.target.names)}; set it to 0"
            )

    def _build_networks(self) -> None:
        """Build generator, critic and pool of each domain."""
        config = self.config
        source, target = self.patches.source, self.patches.target
        n_extra = len(config.task.coordinates) + len(config.task.noise)
        self.channels_in = len(source.bands) + n_extra
        self.generator_args = generator_args(
            config.generator, source=source.bands, target=target.bands
        )
        inverse = config.inverse or config.generator
        self.inverse_args = generator_args(inverse, source=target.bands, target=source.bands)
        generator = self._add_direction(
            "target", config.generator, self.generator_args, source, n_extra
        )
        self._add_direction("source", inverse, self.inverse_args, target, 0)
        self.align = models.alignment(generator)
        self.halo = models.receptive_halo(generator, self.channels_in)

    def _add_direction(
        self,
        domain: str,
        config: GeneratorConfig,
        args: Mapping[str, Any],
        reads: DomainPatches,
        n_extra: int,
    ) -> nn.Module:
        """Build and register the generator of a domain, its critic and its pool."""
        settings, writes = self.settings, self.domains[domain]
        n_bands = len(writes.bands)
        net = models.build(config.arch, len(reads.bands) + n_extra, n_bands, **args)
        if config.pretrained:
            models.load_pretrained(net, config.arch)
        if settings.crop % models.alignment(net):
            raise ConfigError(
                f"training.crop is {settings.crop} px; the networks need a multiple of "
                f"{models.alignment(net)}"
            )
        fit_unpaired(net, config, reads=reads, writes=writes)
        # The critic sees the coordinate channels of the task, too.
        critic_channels = n_bands + len(self.config.task.coordinates)
        critic = models.PatchGAN(critic_channels, **self.config.critic.model_dump())
        self._add_network(_WRITES[domain], net, lr=settings.lr_generator, averaged=True)
        self._add_network(f"critic_{domain}", critic, lr=settings.lr_critic)
        self.pools[domain] = PatchPool(settings.pool)
        return net

    def step(self, step: int, share: float) -> dict[str, Tensor]:
        """One update of both critics and both networks; losses of both directions together."""
        rank = self.fabric.global_rank
        source, target = self.patches.draw(step, rank=rank)
        self._set_train_mode(step, share)
        fakes = {
            "target": self._generate("target", source.values, source.extra),
            "source": self._generate("source", target.values),
        }
        first = {d: x.detach() for d, x in fakes.items()} if self.detached else fakes
        cycled = {
            "source": self._generate("source", first["target"]),
            "target": self._generate("target", first["source"], target.extra),
        }
        reals = {"source": source, "target": target}
        losses: dict[str, Tensor] = {}
        if "gan" in self.weights:
            losses |= self._update_critics(fakes, reals, step)
        if "cycle" in self.weights:
            losses["cycle"] = _sum(
                masked_l1(cycled[d], real.values, real.valid) for d, real in reals.items()
            )
        if "identity" in self.weights:
            losses["identity"] = _sum(
                masked_l1(self._generate(d, real.values, real.extra), real.values, real.valid)
                for d, real in reals.items()
            )
        if "known" in self.weights:
            losses["known"] = _sum(
                known_loss(fakes[d], reals[other].values, reals[other].valid, self._shared_bands(d))
                for d, other in (("target", "source"), ("source", "target"))
            )
        return self._update_generators(losses)

    def _generator_input(self, generator: str, draw: int) -> Tensor:
        source, target = self.patches.draw(draw)
        if generator == "inverse":
            return target.values
        return torch.cat([source.values, source.extra], dim=1)

    def _generate(self, domain: str, values: Tensor, extra: Tensor | None = None) -> Tensor:
        """Generate patches of a domain from patches of the other one."""
        if domain == "target" and extra is not None:
            values = torch.cat([values, extra], dim=1)
        output: Tensor = self.networks[_WRITES[domain]](values)
        return output

    def _shared_bands(self, domain: str) -> Sequence[tuple[int, int]]:
        """Positions `(written, read)` of bands that the generator of a domain also reads."""
        reads = self.domains["source" if domain == "target" else "target"]
        return shared_bands(reads.bands, self.domains[domain].bands)

    def _update_critics(
        self, fakes: Mapping[str, Tensor], reals: Mapping[str, DomainBatch], step: int
    ) -> dict[str, Tensor]:
        """Update the critics and return their losses and the adversarial loss of the generators."""
        kind, rank = self.config.loss.gan_kind, self.fabric.global_rank
        rng = step_rng(self.settings.seed + 1, step, rank)
        pool_rng = step_rng(self.settings.seed + 2, step, rank)
        # A critic must not recognise a domain by the edges of its scenes.
        valid = reals["source"].valid * reals["target"].valid
        losses, adversarial = {}, []
        for domain, fake in fakes.items():
            critic, real = self.networks[f"critic_{domain}"], reals[domain]
            fake_coordinates = reals["source" if domain == "target" else "target"].coordinates
            augment = DiffAugment(
                self.config.augment.critic, rng, batch=len(fake), device=self.fabric.device
            )
            older = self.pools[domain].swap(
                torch.cat([fake.detach(), fake_coordinates], 1), pool_rng
            )
            n_bands = fake.shape[1]
            on_real = critic(augment.join_for_critic(real.values, real.coordinates, valid))
            on_fake = critic(augment.join_for_critic(older[:, :n_bands], older[:, n_bands:], valid))
            loss = critic_loss([v.scores for v in on_real], [v.scores for v in on_fake], kind=kind)
            self._update(loss, f"critic_{domain}")
            losses[f"critic_{domain}"] = loss
            critic.requires_grad_(False)
            verdicts = critic(augment.join_for_critic(fake, fake_coordinates, valid))
            adversarial.append(adversarial_loss([v.scores for v in verdicts], kind=kind))
            critic.requires_grad_(True)
        return losses | {"gan": _sum(adversarial)}


def _sum(losses: Any) -> Tensor:
    return torch.stack(list(losses)).sum()
