"""Patches of two domains: resident on the device, drawn independently, by a counter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from geotrans.errors import SamplingError
from geotrans.grid import Window
from geotrans.sampling.cache import PatchCache, PatchRecord
from geotrans.tasks.spec import BandSpec
from geotrans.training.augment import draw_transforms, jitter_colors, rotate_patches, warp_patches
from geotrans.training.channels import (
    band_indices,
    coordinate_channels,
    noise_fields,
    normalize,
    to_channels_last,
    to_device,
)
from geotrans.training.config import JitterConfig, TrainConfig
from geotrans.training.data import step_rng
from geotrans.training.export import band_specs


@dataclass(frozen=True)
class DomainBatch:
    """Patches of one domain.

    Attributes:
        values: `(N, C, H, W)` in [-1, 1].
        valid: 1 where they hold a value, else 0, `(N, 1, H, W)`.
        coordinates: Coordinate channels, `(N, K, H, W)`; K may be 0.
        noise: `(N, K, H, W)`; K may be 0.
    """

    values: Tensor
    valid: Tensor
    coordinates: Tensor
    noise: Tensor

    @property
    def extra(self) -> Tensor:
        """Channels a generator reads in addition to the source bands."""
        return torch.cat([self.coordinates, self.noise], dim=1)


class UnpairedPatches:
    """All patches of both domains of a split on one device, as stored.

    Pairs are taken as two domains as well: each side is drawn on its own.

    Attributes:
        source: Patches of the source.
        target: Patches of the target.
    """

    def __init__(
        self, cache: PatchCache, split: str, config: TrainConfig, *, device: torch.device
    ) -> None:
        self.config = config
        patches, task, manifest = cache.load(split), config.task, cache.manifest
        target_valid = patches.valid if patches.target_valid is None else patches.target_valid
        chosen = band_indices(manifest.source, task.source, where="task.source")
        self.source = DomainPatches(
            patches.source[:, chosen],
            patches.valid,
            patches.records,
            bands=band_specs(manifest.source, task.source),
            config=config,
            device=device,
        )
        chosen = band_indices(manifest.target, task.target, where="task.target")
        self.target = DomainPatches(
            patches.target[:, chosen],
            target_valid,
            patches.target_records or patches.records,
            bands=band_specs(manifest.target, task.target),
            config=config,
            device=device,
        )

    def draw(self, step: int, *, rank: int = 0) -> tuple[DomainBatch, DomainBatch]:
        """Source and target of a training step, drawn independently."""
        rng = step_rng(self.config.training.seed, step, rank)
        jitter = self.config.augment.jitter
        # The look of the target is to be learned, so its band balance is kept.
        target_jitter = jitter.model_copy(update={"band": 0.0}) if jitter.both else JitterConfig()
        return self.source.draw(rng, jitter=jitter), self.target.draw(rng, jitter=target_jitter)


class DomainPatches:
    """Patches of one domain on one device, as stored.

    Attributes:
        values: `(N, C, H, W)`.
        valid: `(N, H, W)`.
        bands: What the channels are.
    """

    def __init__(
        self,
        values: npt.NDArray[Any],
        valid: npt.NDArray[np.bool_],
        records: Sequence[PatchRecord],
        *,
        bands: Sequence[BandSpec],
        config: TrainConfig,
        device: torch.device,
    ) -> None:
        self.values, self.valid = to_device(values, device), to_device(valid, device)
        self.bands, self._config, self._device = tuple(bands), config, device
        window = Window(0, 0, values.shape[-1], values.shape[-2])
        names = config.task.coordinates
        coordinates = [coordinate_channels(record, window, names) for record in records]
        self._coordinates = torch.from_numpy(np.stack(coordinates)).to(device)

    def __len__(self) -> int:
        return len(self.values)

    @property
    def names(self) -> list[str]:
        """Names of the bands."""
        return [band.name for band in self.bands]

    def draw(self, rng: np.random.Generator, *, jitter: JitterConfig) -> DomainBatch:
        """Random crops, their colours changed as `jitter` says."""
        n, crop = self._config.training.batch, self._config.training.crop
        augment, (height, width) = self._config.augment, self.values.shape[-2:]
        if crop > min(height, width):
            raise SamplingError(
                f"training.crop is {crop} px, but patches are {width} x {height} px"
            )
        indices = rng.integers(0, len(self), n)
        rows, cols = rng.integers(0, height - crop + 1, n), rng.integers(0, width - crop + 1, n)
        turns = rng.integers(0, 8, n) if augment.dihedral else np.zeros(n, int)
        crops = []
        for i, row, col, turn in zip(indices, rows, cols, turns, strict=True):
            window = (..., slice(int(row), int(row) + crop), slice(int(col), int(col) + crop))
            sides = self.values[int(i)], self.valid[int(i)][None], self._coordinates[int(i)]
            crops.append([rotate_patches(side[window], int(turn)) for side in sides])
        values, valid, coordinates = (torch.stack(side) for side in zip(*crops, strict=True))
        values, valid = normalize(values, self.bands[0].value_range), valid.float()
        if augment.rotate or augment.zoom:
            transforms = draw_transforms(n, augment, rng)
            values, coordinates = (
                warp_patches(values, transforms),
                warp_patches(coordinates, transforms),
            )
            valid = (warp_patches(valid, transforms, padding="zeros") > 0.999).float()
        values = jitter_colors(values, jitter, rng)
        noise = noise_fields(rng, values.shape, self._config.task.noise).to(self._device)
        return DomainBatch(to_channels_last(values), valid, coordinates, noise)
