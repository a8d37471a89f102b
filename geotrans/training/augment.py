"""Differentiable augmentation of what the critics see.

References:
    Zhao et al., "Differentiable Augmentation for Data-Efficient GAN Training", NeurIPS 2020. Here
    source and target go through it together, so that the pair stays a pair, and colour changes
    touch the target alone: a map's colours mean something.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from geotrans.training.config import AugmentConfig, JitterConfig


class DiffAugment:
    """One draw of the policies, applied alike to real and generated pairs."""

    def __init__(
        self, policies: Sequence[str], rng: np.random.Generator, *, batch: int, device: torch.device
    ) -> None:
        self._rng, self._batch, self._device = rng, batch, device
        self._steps: list[Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]] = []
        if "color" in policies:
            self._steps.append(self._draw_color())
        if "translation" in policies:
            self._steps.append(self._draw_translation())
        if "cutout" in policies:
            self._steps.append(self._draw_cutout())

    def __call__(self, source: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """The pair `(N, C, H, W)`, changed."""
        for step in self._steps:
            source, target = step(source, target)
        return source, target

    def join_for_critic(self, target: Tensor, coordinates: Tensor, valid: Tensor) -> Tensor:
        """Augmented target and coordinate channels, valid pixels only, as the critic's input."""
        coordinates, target = self(coordinates * valid, target * valid)
        return torch.cat([target, coordinates], dim=1)

    def _uniform(self, low: float, high: float) -> Tensor:
        values = self._rng.uniform(low, high, (self._batch, 1, 1, 1)).astype(np.float32)
        return torch.from_numpy(values).to(self._device)

    def _draw_color(self) -> Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]:
        brightness = self._uniform(-0.3, 0.3)
        saturation = self._uniform(0.5, 1.5)
        contrast = self._uniform(0.7, 1.3)

        def step(source: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
            target = target + brightness
            grey = target.mean(dim=1, keepdim=True)
            target = grey + (target - grey) * saturation
            mean = target.mean(dim=(1, 2, 3), keepdim=True)
            return source, mean + (target - mean) * contrast

        return step

    def _draw_translation(self) -> Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]:
        shifts = self._rng.uniform(-0.125, 0.125, (self._batch, 2))

        def step(source: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
            return self._shift(source, shifts), self._shift(target, shifts)

        return step

    @staticmethod
    def _shift(x: Tensor, shifts: np.ndarray[tuple[int, int], np.dtype[np.float64]]) -> Tensor:
        height, width = x.shape[-2:]
        shifted = []
        for patch, (down, right) in zip(x, shifts, strict=True):
            dy, dx = round(down * height), round(right * width)
            pad = (max(dx, 0), max(-dx, 0), max(dy, 0), max(-dy, 0))
            padded = F.pad(patch, pad)
            shifted.append(padded[:, max(-dy, 0) :, max(-dx, 0) :][:, :height, :width])
        return torch.stack(shifted)

    def _draw_cutout(self) -> Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]:
        centres = self._rng.uniform(0, 1, (self._batch, 2))

        def step(source: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
            height, width = target.shape[-2:]
            keep = torch.ones(self._batch, 1, height, width, device=target.device)
            for i, (y, x) in enumerate(centres):
                top, left = round(y * height) - height // 4, round(x * width) - width // 4
                rows = slice(max(top, 0), top + height // 2)
                keep[i, :, rows, max(left, 0) : left + width // 2] = 0
            return source * keep, target * keep

        return step


def jitter_colors(source: Tensor, jitter: JitterConfig, rng: np.random.Generator) -> Tensor:
    """Sources on [-1, 1] with random colour changes, each patch its own."""
    n, channels = source.shape[:2]

    def draw(limit: float, size: tuple[int, ...]) -> Tensor:
        values = rng.uniform(-limit, limit, size).astype(np.float32)
        return torch.from_numpy(values).to(source.device)

    if jitter.gamma:
        exponent = torch.exp(draw(jitter.gamma, (n, 1, 1, 1)))
        source = 2 * ((source + 1) / 2).clamp(0, 1) ** exponent - 1
    if jitter.contrast:
        mean = source.mean(dim=(1, 2, 3), keepdim=True)
        source = mean + (source - mean) * (1 + draw(jitter.contrast, (n, 1, 1, 1)))
    if jitter.band:
        source = source + 2 * draw(jitter.band, (n, channels, 1, 1))
    if jitter.brightness:
        source = source + 2 * draw(jitter.brightness, (n, 1, 1, 1))
    return source.clamp(-1, 1)


def draw_transforms(n: int, augment: AugmentConfig, rng: np.random.Generator) -> Tensor:
    """Random turns and changes of scale about the middle, `(N, 2, 3)`, as `affine_grid` reads."""
    angles = np.radians(rng.uniform(-augment.rotate, augment.rotate, n))
    scales = np.exp(rng.uniform(-1, 1, n) * np.log1p(augment.zoom))
    cos, sin, zero = np.cos(angles) * scales, np.sin(angles) * scales, np.zeros(n)
    rows = np.stack([np.stack([cos, -sin, zero], 1), np.stack([sin, cos, zero], 1)], 1)
    return torch.from_numpy(rows.astype(np.float32))


def warp_patches(
    x: Tensor, transforms: Tensor, *, mode: str = "bilinear", padding: str = "reflection"
) -> Tensor:
    """Squares `(N, C, H, W)` resampled about their middle; `padding` fills from outside."""
    if not x.numel():  # no channel: nothing to place
        return x
    grid = F.affine_grid(transforms.to(x.device), list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, mode=mode, padding_mode=padding, align_corners=False)


def rotate_patches(x: Tensor, n_turns: int) -> Tensor:
    """Rotate by quarter turns, and mirror from 4 on: the eight symmetries of a square."""
    x = torch.rot90(x, n_turns % 4, dims=(-2, -1))
    return x.flip(-1) if n_turns >= 4 else x
