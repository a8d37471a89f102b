"""Unpaired translation: CycleGAN, read from top to bottom.

References:
    Zhu et al., "Unpaired Image-to-Image Translation using Cycle-Consistent Adversarial Networks",
    ICCV 2017: least squares, cycle and identity losses, pools of 50 generated patches. Ours may
    have domains of different bands, holds bands that both domains measure to what was measured,
    augments what critics see (Zhao et al., NeurIPS 2020) and averages weights (Yaz et al., ICLR
    2019).
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from geotrans import models
from geotrans.errors import ConfigError
from geotrans.sampling.cache import PatchCache
from geotrans.training.augment import DiffAugment
from geotrans.training.averaging import AveragedWeights, freeze_norms, recompute_norms
from geotrans.training.config import GeneratorConfig, TrainConfig
from geotrans.training.data import step_rng
from geotrans.training.domains import DomainPatches, Drawn, UnpairedPatches
from geotrans.training.generator import fit_domain, generator_args
from geotrans.training.loop import Loop
from geotrans.training.losses import (
    adversarial_loss,
    critic_loss,
    known_loss,
    masked_l1,
    shared_bands,
)
from geotrans.training.pool import PatchPool

NORM_BATCHES = 16


class CycleGAN:
    """A run of unpaired training in both directions.

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
        self.weights, self.detached = config.loss.weights, config.loss.cycle_detached
        self.patches = UnpairedPatches(cache, "train", config, device=self.fabric.device)
        self.domains = {"target": self.patches.target, "source": self.patches.source}
        n_source, n_target = len(self.patches.source.bands), len(self.patches.target.bands)
        if "identity" in self.weights and n_source != n_target:
            raise ConfigError(
                f"loss.identity shows a network what it writes; the source has {n_source} bands, "
                f"the target {n_target}; set loss.identity to 0"
            )
        if "known" in self.weights and not self._known("target"):
            raise ConfigError(
                f"loss.known compares bands that both sides have; the source has "
                f"{', '.join(self.patches.source.names)}, the target "
                f"{', '.join(self.patches.target.names)}; set it to 0"
            )
        self.norms_frozen = False
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.settings.seed)
            self._set_up()

    def _set_up(self) -> None:
        """For each domain the network that writes it, its critic, and a pool; and optimisers."""
        config = self.config
        source, target = self.patches.source, self.patches.target
        n_extra = len(config.task.coordinates) + len(config.task.noise)
        self.channels_in = len(source.bands) + n_extra
        self.generator_args = generator_args(
            config.generator, source=source.bands, target=target.bands
        )
        back = config.inverse or config.generator
        self.inverse_args = generator_args(back, source=target.bands, target=source.bands)
        self.generators: dict[str, Any] = {}
        self.optimizers: dict[str, Any] = {}
        self.averages: dict[str, AveragedWeights] = {}
        self.critics: dict[str, Any] = {}
        self.critic_optimizers: dict[str, Any] = {}
        self.pools: dict[str, PatchPool] = {}
        forth = self._add("target", config.generator, self.generator_args, source, n_extra)
        self._add("source", back, self.inverse_args, target, 0)
        self.align = models.alignment(forth)
        self.halo = models.receptive_halo(forth, self.channels_in)

    def _add(
        self,
        domain: str,
        arch: GeneratorConfig,
        args: Mapping[str, Any],
        reads: DomainPatches,
        n_extra: int,
    ) -> nn.Module:
        """The network that writes a domain, and the critic that knows it."""
        settings, writes = self.settings, self.domains[domain]
        n_bands = len(writes.bands)
        net = models.build(arch.arch, len(reads.bands) + n_extra, n_bands, **args)
        if arch.pretrained:
            models.load_pretrained(net, arch.arch)
        if settings.crop % models.alignment(net):
            raise ConfigError(
                f"training.crop is {settings.crop} px; the networks need a multiple of "
                f"{models.alignment(net)}"
            )
        fit_domain(net, arch, reads=reads, writes=writes)
        net = net.to(memory_format=torch.channels_last)
        critic = models.PatchGAN(n_bands, **self.config.critic.model_dump())
        critic = critic.to(memory_format=torch.channels_last)
        self.averages[domain] = AveragedWeights(net, decay=settings.ema)
        self.averages[domain].net.to(self.fabric.device)
        adam = functools.partial(
            torch.optim.Adam, betas=settings.betas, fused=self.fabric.device.type == "cuda"
        )
        self.generators[domain], self.optimizers[domain] = self.fabric.setup(
            net, adam(net.parameters(), lr=settings.lr_generator)
        )
        self.critics[domain], self.critic_optimizers[domain] = self.fabric.setup(
            critic, adam(critic.parameters(), lr=settings.lr_critic)
        )
        self.pools[domain] = PatchPool(settings.pool)
        return net

    def run(self, *, resume: bool = True) -> dict[str, Any]:
        """Train until the steps or minutes are over.

        Args:
            resume: Whether to go on from the checkpoint in the folder, if there is one.

        Returns:
            The best held-out scores, the step they belong to, and the weights of both networks.

        Raises:
            TrainingError: If a loss or a weight is no number any more.
            KeyboardInterrupt: With a word about where the same run would go on.
        """
        return self.loop.run(self, resume=resume)

    def step(self, step: int, share: float) -> dict[str, Tensor]:
        """One update of both critics and both networks.

        Args:
            step: Number of the step; every random draw follows from it.
            share: Share of the run that is done.

        Returns:
            Unweighted losses by name; of both directions together, but for the critics'.
        """
        rank = self.fabric.global_rank
        source, target = self.patches.draw(step, rank=rank)
        self._prepare(step, share)
        fakes = {
            "target": self._write("target", source.values, source.extra),
            "source": self._write("source", target.values),
        }
        first = {d: x.detach() for d, x in fakes.items()} if self.detached else fakes
        back = {
            "source": self._write("source", first["target"]),
            "target": self._write("target", first["source"], target.extra),
        }
        reals = {"source": source, "target": target}
        losses: dict[str, Tensor] = {}
        if "gan" in self.weights:
            losses |= self._judge(fakes, reals, step)
        if "cycle" in self.weights:
            losses["cycle"] = _sum(
                masked_l1(back[d], real.values, real.valid) for d, real in reals.items()
            )
        if "identity" in self.weights:
            losses["identity"] = _sum(
                masked_l1(self._write(d, real.values, real.extra), real.values, real.valid)
                for d, real in reals.items()
            )
        if "known" in self.weights:
            losses["known"] = _sum(
                known_loss(fakes[d], reals[other].values, reals[other].valid, self._known(d))
                for d, other in (("target", "source"), ("source", "target"))
            )
        self._update_generators(losses)
        return {name: loss.detach() for name, loss in losses.items()}

    def _write(self, domain: str, values: Tensor, extra: Tensor | None = None) -> Tensor:
        """Patches of a domain made of patches of the other one."""
        if domain == "target" and extra is not None:
            values = torch.cat([values, extra], dim=1)
        made: Tensor = self.generators[domain](values)
        return made

    def _known(self, domain: str) -> Sequence[tuple[int, int]]:
        """Positions of bands that the network writing a domain also reads, there and here."""
        reads = self.domains["source" if domain == "target" else "target"]
        return shared_bands(reads.bands, self.domains[domain].bands)

    def _judge(
        self, fakes: Mapping[str, Tensor], reals: Mapping[str, Drawn], step: int
    ) -> dict[str, Tensor]:
        """Update the critics, then ask them about the networks."""
        kind, rank = self.config.loss.gan_kind, self.fabric.global_rank
        rng = step_rng(self.settings.seed + 1, step, rank)
        pool_rng = step_rng(self.settings.seed + 2, step, rank)
        # A critic must not tell the domains by where their scenes end.
        valid = reals["source"].valid * reals["target"].valid
        losses, verdicts = {}, []
        for domain, fake in fakes.items():
            critic, real = self.critics[domain], reals[domain].values
            change = DiffAugment(
                self.config.augment.critic, rng, batch=len(real), device=self.fabric.device
            )
            shown = self.pools[domain].swap(fake.detach(), pool_rng)
            on_real, on_fake = (critic(change(x * valid, x * valid)[1]) for x in (real, shown))
            loss = critic_loss([v.scores for v in on_real], [v.scores for v in on_fake], kind=kind)
            self.critic_optimizers[domain].zero_grad(set_to_none=True)
            self.fabric.backward(loss)
            self.critic_optimizers[domain].step()
            losses[f"critic_{domain}"] = loss
            critic.requires_grad_(False)
            seen = change(fake * valid, fake * valid)[1]
            verdicts.append(adversarial_loss([v.scores for v in critic(seen)], kind=kind))
            critic.requires_grad_(True)
        return losses | {"gan": _sum(verdicts)}

    def _update_generators(self, losses: Mapping[str, Tensor]) -> None:
        total = _sum(weight * losses[name] for name, weight in self.weights.items())
        for optimizer in self.optimizers.values():
            optimizer.zero_grad(set_to_none=True)
        self.fabric.backward(total)
        for domain, optimizer in self.optimizers.items():
            optimizer.step()
            self.averages[domain].update(self.generators[domain])

    def _prepare(self, step: int, share: float) -> None:
        """Training mode; norms are frozen for the last part of a run."""
        is_late = share >= self.settings.freeze_norm_from
        for domain, net in self.generators.items():
            net.train()
            if is_late and not self.norms_frozen:
                self._recompute_norms(domain, net, step)
            if is_late:
                freeze_norms(net)
        self.norms_frozen = self.norms_frozen or is_late

    def _recompute_norms(self, domain: str, net: nn.Module, step: int) -> None:
        first = (1 << 39) + step * NORM_BATCHES  # draws that no training step uses
        drawn = (self.patches.draw(first + i) for i in range(NORM_BATCHES))
        if domain == "target":
            recompute_norms(net, (torch.cat([s.values, s.extra], dim=1) for s, _ in drawn))
        else:
            recompute_norms(net, (target.values for _, target in drawn))

    @property
    def networks(self) -> Mapping[str, nn.Module]:
        """Networks that are trained, by name."""
        critics = {f"critic_{domain}": net for domain, net in self.critics.items()}
        return {f"generator_{domain}": net for domain, net in self.generators.items()} | critics

    @property
    def rates(self) -> list[tuple[torch.optim.Optimizer, float]]:
        """Each optimiser with the learning rate it starts from."""
        return [
            *((o, self.settings.lr_generator) for o in self.optimizers.values()),
            *((o, self.settings.lr_critic) for o in self.critic_optimizers.values()),
        ]

    def settled(self, step: int) -> Mapping[str, nn.Module]:
        """The averaged networks, as they would be exported."""
        if not self.norms_frozen:
            for domain, average in self.averages.items():
                self._recompute_norms(domain, average.net, step)
        return {"weights": self.averages["target"].net, "inverse": self.averages["source"].net}

    def state(self) -> dict[str, Any]:
        """What a run needs to go on as if it had never stopped."""
        return {
            "generators": {d: net.state_dict() for d, net in self.generators.items()},
            "optimizers": {d: o.state_dict() for d, o in self.optimizers.items()},
            "averages": {d: a.net.state_dict() for d, a in self.averages.items()},
            "n_averaged": self.averages["target"].n_updates,
            "norms_frozen": self.norms_frozen,
            "critics": {d: net.state_dict() for d, net in self.critics.items()},
            "critic_optimizers": {d: o.state_dict() for d, o in self.critic_optimizers.items()},
            "pools": {d: pool.held for d, pool in self.pools.items()},
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take in what `state` gave."""
        self.norms_frozen = state["norms_frozen"]
        for domain in self.generators:
            self.generators[domain].load_state_dict(state["generators"][domain])
            self.optimizers[domain].load_state_dict(state["optimizers"][domain])
            self.averages[domain].net.load_state_dict(state["averages"][domain])
            self.averages[domain].n_updates = state["n_averaged"]
            self.critics[domain].load_state_dict(state["critics"][domain])
            self.critic_optimizers[domain].load_state_dict(state["critic_optimizers"][domain])
            held = state["pools"][domain]
            self.pools[domain].held = None if held is None else held.to(self.fabric.device)


def _sum(losses: Any) -> Tensor:
    return torch.stack(list(losses)).sum()
