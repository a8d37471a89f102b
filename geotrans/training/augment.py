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


class DiffAugment:
    """One draw of the policies, applied alike to real and generated pairs."""

    def __init__(
        self, policies: Sequence[str], rng: np.random.Generator, *, batch: int, device: torch.device
    ) -> None:
        self._rng, self._batch, self._device = rng, batch, device
        self._steps: list[Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]] = []
        if "color" in policies:
            self._steps.append(self._color())
        if "translation" in policies:
            self._steps.append(self._translation())
        if "cutout" in policies:
            self._steps.append(self._cutout())

    def __call__(self, source: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """The pair `(N, C, H, W)`, changed."""
        for step in self._steps:
            source, target = step(source, target)
        return source, target

    def shown(self, target: Tensor, where: Tensor, valid: Tensor) -> Tensor:
        """What a critic of one domain sees: patches, changed, and where they lie, where valid."""
        where, target = self(where * valid, target * valid)
        return torch.cat([target, where], dim=1)

    def _uniform(self, low: float, high: float) -> Tensor:
        values = self._rng.uniform(low, high, (self._batch, 1, 1, 1)).astype(np.float32)
        return torch.from_numpy(values).to(self._device)

    def _color(self) -> Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]:
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

    def _translation(self) -> Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]:
        shifts = self._rng.uniform(-0.125, 0.125, (self._batch, 2))

        def step(source: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
            return self._moved(source, shifts), self._moved(target, shifts)

        return step

    @staticmethod
    def _moved(x: Tensor, shifts: np.ndarray[tuple[int, int], np.dtype[np.float64]]) -> Tensor:
        height, width = x.shape[-2:]
        moved = []
        for patch, (down, right) in zip(x, shifts, strict=True):
            dy, dx = round(down * height), round(right * width)
            pad = (max(dx, 0), max(-dx, 0), max(dy, 0), max(-dy, 0))
            padded = F.pad(patch, pad)
            moved.append(padded[:, max(-dy, 0) :, max(-dx, 0) :][:, :height, :width])
        return torch.stack(moved)

    def _cutout(self) -> Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]:
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
