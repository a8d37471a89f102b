"""Paired translation: pix2pix, read from top to bottom.

References:
    Isola et al., "Image-to-Image Translation with Conditional Adversarial Networks", CVPR 2017,
    with the two-scale critic and feature matching of Wang et al., CVPR 2018, augmentation of what
    the critic sees (Zhao et al., NeurIPS 2020) and averaged weights (Yaz et al., ICLR 2019).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from geotrans import models
from geotrans.errors import ConfigError
from geotrans.training.augment import DiffAugment
from geotrans.training.data import Batch, ResidentPatches, class_groups, crop_margin, step_rng
from geotrans.training.export import band_specs
from geotrans.training.generator import adapt_target, fit_paired, generator_args
from geotrans.training.losses import (
    adversarial_loss,
    critic_loss,
    feature_loss,
    jaccard_loss,
    masked_cross_entropy,
    masked_l1,
    masked_l2,
)
from geotrans.training.method import Method


class Pix2Pix(Method):
    """A run of paired training."""

    def _load_patches(self) -> None:
        config, manifest = self.config, self.cache.manifest
        self.patches = ResidentPatches(self.cache, "train", config, device=self.fabric.device)
        palette = manifest.palette if config.task.palette else None
        n_source, n_target = self.patches.n_source, self.patches.target.shape[1]
        self.channels_in = n_source + len(config.task.coordinates) + len(config.task.noise)
        self.channels_out = len(palette) if palette else n_target
        self.critic_channels = n_source + n_target
        self.generator_args = generator_args(
            config.generator,
            source=band_specs(manifest.source, config.task.source),
            target=band_specs(manifest.target, config.task.target),
            palette=palette is not None,
        )
        self.groups = list(class_groups(config.task, palette).values())
        colors = [c for _, c in palette] if palette else []
        # Colours of the classes on [-1, 1], so that critics see a map as a picture.
        self.colors = torch.tensor(colors, device=self.fabric.device) / 127.5 - 1

    def _build_networks(self) -> None:
        settings, config = self.settings, self.config
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
        fit_paired(generator, self.patches)
        self.generator = self._add_network(
            "generator", generator, lr=settings.lr_generator, averaged=True
        )
        if "gan" in self.weights:
            critic = models.PatchGAN(self.critic_channels, **config.critic.model_dump())
            self._add_network("critic", critic, lr=settings.lr_critic)
        if "perceptual" in self.weights:
            from geotrans.models.vgg import FeatureCritic, VGGFeatures

            self.rgb = rgb_channels(config.task.target or self.cache.manifest.target.bands)
            feature_critic = FeatureCritic(self.patches.n_source)
            vgg = VGGFeatures().to(memory_format=torch.channels_last)
            self.vgg = self.fabric.to_device(vgg)
            self._add_network("feature_critic", feature_critic, lr=settings.lr_critic)

    def step(self, step: int, share: float) -> dict[str, Tensor]:
        """One update of critics and generator."""
        rank = self.fabric.global_rank
        batch = adapt_target(self.patches.draw(step, rank=rank), self.generator_args)
        self._set_train_mode(step, share)
        scores = crop_margin(self.generator(batch.source), batch.margin)
        fake, real = self._to_pictures(scores, batch)
        source = batch.critic_source[:, : self.patches.n_source]

        # One augmentation draw for both sides, shared by critics and generator.
        rng = step_rng(self.settings.seed + 1, step, rank)
        augment = DiffAugment(
            self.config.augment.critic, rng, batch=len(real), device=self.fabric.device
        )
        critic_real, critic_fake = (
            augment(source, real * batch.valid),
            augment(source, fake * batch.valid),
        )
        losses: dict[str, Tensor] = {}
        if "gan" in self.weights:
            losses |= self._update_patch_critic(critic_real, critic_fake)
        if "perceptual" in self.weights:
            losses |= self._update_feature_critic(critic_real, critic_fake, rng)
        if "l1" in self.weights:
            losses["l1"] = masked_l1(fake, real, batch.valid, pool=self.config.loss.l1_pool)
        if "l2" in self.weights:
            losses["l2"] = masked_l2(fake, real, batch.valid)
        if "cross_entropy" in self.weights:
            assert batch.classes is not None
            losses["cross_entropy"] = masked_cross_entropy(scores, batch.classes, batch.valid)
        if "jaccard" in self.weights:
            assert batch.classes is not None
            losses["jaccard"] = jaccard_loss(scores, batch.classes, batch.valid, groups=self.groups)
        return self._update_generators(losses)

    def _generator_input(self, generator: str, draw: int) -> Tensor:
        return self.patches.draw(draw).source

    def _update_patch_critic(
        self, real: tuple[Tensor, Tensor], fake: tuple[Tensor, Tensor]
    ) -> dict[str, Tensor]:
        """Update the patch critic and return its loss and the generator's."""
        critic, kind = self.networks["critic"], self.config.loss.gan_kind
        on_real = critic(torch.cat(real, dim=1))
        on_fake = critic(torch.cat([fake[0], fake[1].detach()], dim=1))
        loss = critic_loss([v.scores for v in on_real], [v.scores for v in on_fake], kind=kind)
        self._update(loss, "critic")
        critic.requires_grad_(False)
        verdicts = critic(torch.cat(fake, dim=1))
        critic.requires_grad_(True)
        gan = adversarial_loss([v.scores for v in verdicts], kind=kind)
        return {"critic": loss, "gan": gan, "feature": feature_loss(on_real, verdicts)}

    def _update_feature_critic(
        self, real: tuple[Tensor, Tensor], fake: tuple[Tensor, Tensor], rng: Any
    ) -> dict[str, Tensor]:
        """The same for the critic on pretrained VGG16 features."""
        from geotrans.models.vgg import apply_view, draw_view

        critic, kind = self.networks["feature_critic"], "hinge"
        view = draw_view(rng, self.settings.crop)
        source = apply_view(real[0], view)
        with torch.no_grad():
            real_features = self.vgg(apply_view(real[1][:, self.rgb], view))
        fake_features = self.vgg(apply_view(fake[1][:, self.rgb], view))
        loss = critic_loss(
            critic(real_features, source),
            critic([f.detach() for f in fake_features], source),
            kind=kind,
        )
        self._update(loss, "feature_critic")
        critic.requires_grad_(False)
        scores = critic(fake_features, source)
        critic.requires_grad_(True)
        return {"feature_critic": loss, "perceptual": adversarial_loss(scores, kind=kind)}

    def _to_pictures(self, scores: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """Output and target as the critics see them; a map is mixed from its class colours."""
        if not len(self.colors):
            return scores, batch.target
        return torch.einsum("nkhw,kc->nchw", scores.softmax(dim=1), self.colors), batch.target


def rgb_channels(bands: Sequence[str]) -> list[int]:
    """Channels of red, green and blue among the bands of a target.

    Raises:
        ConfigError: If one of them is missing.
    """
    names = ("red", "green", "blue")
    if missing := [name for name in names if name not in bands]:
        raise ConfigError(
            f"loss.perceptual looks at red, green and blue; the target has {', '.join(bands)}; "
            f"add {', '.join(missing)} to task.target, or set loss.perceptual to 0"
        )
    return [list(bands).index(name) for name in names]
