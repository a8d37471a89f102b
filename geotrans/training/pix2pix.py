"""Paired translation: pix2pix, read from top to bottom.

References:
    Isola et al., "Image-to-Image Translation with Conditional Adversarial Networks", CVPR 2017,
    with the two-scale critic and feature matching of Wang et al., CVPR 2018, augmentation of what
    the critic sees (Zhao et al., NeurIPS 2020) and averaged weights (Yaz et al., ICLR 2019).
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
from geotrans.training.config import TrainConfig
from geotrans.training.data import Batch, ResidentPatches, class_groups, inner, step_rng
from geotrans.training.export import bands
from geotrans.training.generator import fit_pairs, generator_args, in_agreement
from geotrans.training.loop import Loop
from geotrans.training.losses import (
    adversarial_loss,
    critic_loss,
    feature_loss,
    jaccard_loss,
    masked_cross_entropy,
    masked_l1,
)

NORM_BATCHES = 16


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
        self.config, self.settings, self.cache, self.out = config, config.training, cache, out
        self.loop = Loop(config, cache, out, quiet=quiet)
        self.fabric = self.loop.fabric
        self.weights = config.loss.weights
        self.patches = ResidentPatches(cache, "train", config, device=self.fabric.device)
        palette = cache.manifest.palette if config.task.palette else None
        n_source, n_target = self.patches.n_source, self.patches.target.shape[1]
        self.channels_in = n_source + len(config.task.coordinates) + len(config.task.noise)
        self.channels_out = len(palette) if palette else n_target
        self.generator_args = generator_args(
            config.generator,
            source=bands(cache.manifest.source, config.task.source),
            target=bands(cache.manifest.target, config.task.target),
            palette=palette is not None,
        )
        self.groups = list(class_groups(config.task, palette).values())
        self.norms_frozen = False
        colors = [c for _, c in palette] if palette else []
        # Colours of the classes on [-1, 1], so that critics see a map as a picture.
        self.colors = torch.tensor(colors, device=self.fabric.device) / 127.5 - 1
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.settings.seed)
            self._set_up(n_source, n_target)

    def _set_up(self, n_source: int, n_target: int) -> None:
        """Networks with fresh weights, and their optimisers."""
        fabric, settings, config = self.fabric, self.settings, self.config
        generator = models.build(
            config.generator.arch, self.channels_in, self.channels_out, **self.generator_args
        )
        if config.generator.pretrained:
            models.load_pretrained(generator, config.generator.arch)
        self.align = models.alignment(generator)
        self.halo = models.receptive_halo(generator, self.channels_in)
        edge = settings.crop + 2 * settings.margin
        if edge % self.align:
            raise ConfigError(
                f"training.crop + 2 * training.margin is {edge} px; "
                f"the generator needs a multiple of {self.align}"
            )
        fit_pairs(generator, self.patches)
        generator = generator.to(memory_format=torch.channels_last)
        self.average = AveragedWeights(generator, decay=settings.ema)
        self.average.net.to(fabric.device)
        adam = functools.partial(
            torch.optim.Adam, betas=settings.betas, fused=fabric.device.type == "cuda"
        )
        optimizer = adam(generator.parameters(), lr=settings.lr_generator)
        self.generator, self.optimizer = fabric.setup(generator, optimizer)
        critics = nn.ModuleDict()
        if "gan" in self.weights:
            critics["patch"] = models.PatchGAN(n_source + n_target, **config.critic.model_dump())
        if "perceptual" in self.weights:
            from geotrans.training.vgg import FeatureCritic, VGGFeatures

            self.rgb = rgb_channels(config.task.target or self.cache.manifest.target.bands)
            critics["feature"] = FeatureCritic(n_source)
            vgg = VGGFeatures().to(memory_format=torch.channels_last)
            self.vgg = fabric.to_device(vgg)
        self.critics, self.critic_optimizers = {}, {}
        for name, critic in critics.items():
            critic = critic.to(memory_format=torch.channels_last)
            critic_optimizer = adam(critic.parameters(), lr=settings.lr_critic)
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
        return self.loop.run(self, resume=resume)

    def step(self, step: int, share: float) -> dict[str, Tensor]:
        """One update of critics and generator.

        Args:
            step: Number of the step; every random draw follows from it.
            share: Share of the run that is done.

        Returns:
            Unweighted losses by name.
        """
        rank = self.fabric.global_rank
        batch = in_agreement(self.patches.draw(step, rank=rank), self.generator_args)
        self.generator.train()
        if share >= self.settings.freeze_norm_from:
            if not self.norms_frozen:
                self._recompute_norms(self.generator, step)
                self.norms_frozen = True
            freeze_norms(self.generator)
        scores = inner(self.generator(batch.source), batch.margin)
        fake, real = self._pictures(scores, batch)
        source = batch.seen[:, : self.patches.n_source]

        # What critics see of both sides, once: the same draw serves critics and generator.
        rng = step_rng(self.settings.seed + 1, step, rank)
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
        view = random_view(rng, self.settings.crop)
        source = viewed(real[0], view)
        with torch.no_grad():
            of_real = self.vgg(viewed(real[1][:, self.rgb], view))
        of_fake = self.vgg(viewed(fake[1][:, self.rgb], view))
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
    def networks(self) -> Mapping[str, nn.Module]:
        """Networks that are trained, by name."""
        return {"generator": self.generator, **self.critics}

    @property
    def rates(self) -> list[tuple[torch.optim.Optimizer, float]]:
        """Each optimiser with the learning rate it starts from."""
        critics = [(o, self.settings.lr_critic) for o in self.critic_optimizers.values()]
        return [(self.optimizer, self.settings.lr_generator), *critics]

    def settled(self, step: int) -> Mapping[str, nn.Module]:
        """The averaged generator, as it would be exported."""
        if not self.norms_frozen:
            self._recompute_norms(self.average.net, step)
        return {"weights": self.average.net}

    def _recompute_norms(self, net: nn.Module, step: int) -> None:
        first = (1 << 39) + step * NORM_BATCHES  # draws that no training step uses
        recompute_norms(net, (self.patches.draw(first + i).source for i in range(NORM_BATCHES)))

    def state(self) -> dict[str, Any]:
        """What a run needs to go on as if it had never stopped."""
        return {
            "generator": self.generator.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "average": self.average.net.state_dict(),
            "n_averaged": self.average.n_updates,
            "norms_frozen": self.norms_frozen,
            "critics": {name: c.state_dict() for name, c in self.critics.items()},
            "critic_optimizers": {n: o.state_dict() for n, o in self.critic_optimizers.items()},
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take in what `state` gave."""
        self.generator.load_state_dict(state["generator"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.average.net.load_state_dict(state["average"])
        self.average.n_updates = state["n_averaged"]
        self.norms_frozen = state["norms_frozen"]
        for name in self.critics:
            self.critics[name].load_state_dict(state["critics"][name])
            self.critic_optimizers[name].load_state_dict(state["critic_optimizers"][name])


def rgb_channels(bands: Sequence[str]) -> list[int]:
    """Channels of red, green and blue among the bands of a target.

    Raises:
        ConfigError: If one of them is missing.
    """
    wanted = ("red", "green", "blue")
    if missing := [name for name in wanted if name not in bands]:
        raise ConfigError(
            f"loss.perceptual looks at red, green and blue; the target has {', '.join(bands)}; "
            f"add {', '.join(missing)} to task.target, or set loss.perceptual to 0"
        )
    return [list(bands).index(name) for name in wanted]
