"""Training patches: resident on the device, drawn by a counter.

Every draw of a step comes from a random source keyed by (seed, step, rank), so that a resumed run
sees exactly what the unbroken one would have seen, and nothing about the sampler has to be saved.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from geotrans.errors import ConfigError, SamplingError, suggest
from geotrans.grid import Window, ground_noise, reflect_indices
from geotrans.sampling.cache import PatchCache, PatchSet, SideRecord
from geotrans.scene.radiometry import as_dtype
from geotrans.training.augment import draw_transforms, jitter_colors, rotate_patches, warp_patches
from geotrans.training.channels import (
    band_indices,
    coordinate_channels,
    dtype_range,
    noise_fields,
    normalize,
    to_channels_last,
    to_device,
    value_range,
)
from geotrans.training.config import JitterConfig, TaskConfig, TrainConfig

Palette = tuple[tuple[str, tuple[int, int, int]], ...]


@dataclass(frozen=True)
class Batch:
    """Patches of one step.

    Attributes:
        source: What the generator reads, noise included, `(N, C, H + 2m, W + 2m)` in [-1, 1],
            where m is the margin.
        target: What it is to write, `(N, C, H, W)` in [-1, 1].
        classes: Class of each pixel, `(N, H, W)`, int64; None without a palette.
        valid: 1 where both sides hold a value, else 0, `(N, 1, H, W)`.
        margin: Source px beyond each side of the target.
    """

    source: Tensor
    target: Tensor
    classes: Tensor | None
    valid: Tensor
    margin: int

    @property
    def critic_source(self) -> Tensor:
        """Source without noise and margin, as the critics see it with the target."""
        return crop_margin(self.source, self.margin)


def crop_margin(x: Tensor, margin: int) -> Tensor:
    """`(N, C, H, W)` without `margin` px on each side."""
    return x if margin == 0 else x[..., margin:-margin, margin:-margin]


def step_rng(seed: int, step: int, rank: int = 0) -> np.random.Generator:
    """The random source of one step."""
    return np.random.default_rng(np.random.Philox(key=(seed, (rank << 40) + step)))


def class_values(side: SideRecord, config: TrainConfig) -> tuple[int, ...] | None:
    """Values of the classes of a source, in the order of its channels; None if it has none.

    Raises:
        ConfigError: If colours are to be changed that are classes.
    """
    if side.classes is None:
        return None
    if config.augment.jitter != JitterConfig():
        raise ConfigError("augment.jitter changes colours, and the source is one band of classes")
    return tuple(item.value for item in side.classes)


class ResidentPatches:
    """All patches of a split on one device, as stored."""

    def __init__(
        self, cache: PatchCache, split: str, config: TrainConfig, *, device: torch.device
    ) -> None:
        self.config = config
        self.device = device
        manifest = cache.manifest
        self.margin = config.training.margin
        self.source_border = manifest.margin if manifest.drawn == "source" else 0
        if self.margin > self.source_border:
            raise ConfigError(
                f"training.margin is {self.margin} px, but the data shows {self.source_border} px "
                "beyond a patch; lower it, or raise data.source.margin of a source drawn from "
                "vectors"
            )
        patches = cache.load(split, margin=self.source_border)
        bands = band_indices(manifest.source, config.task.source, where="task.source")
        self.source = to_device(patches.source[:, bands], device)
        self.class_values = class_values(manifest.source, config)
        bands = band_indices(manifest.target, config.task.target, where="task.target")
        target = patches.target[:, bands]
        if config.augment.like_group is not None:
            target = _match_group_statistics(target, patches, config.augment.like_group)
        self.target = to_device(target, device)
        valid = patches.valid
        self.classes: Tensor | None = None
        if config.task.palette:
            if manifest.drawn != "target" or manifest.palette is None or patches.classes is None:
                raise ConfigError(
                    "task.palette needs a target drawn from vectors; the data has "
                    f"{'a source' if manifest.drawn else 'none'}"
                )
            # Ground the style leaves blank has no class and is not valid.
            valid = valid & (patches.classes < len(manifest.palette))
            self.classes = to_device(np.where(valid, patches.classes, 0), device)
        self.valid = to_device(valid, device)
        self.groups = patches.groups
        self.places = patches.places
        self.records = patches.records
        self.is_paired = patches.target_valid is None
        # Unpaired targets have their own patches, which source indices do not refer to.
        target_valid = valid if patches.target_valid is None else patches.target_valid
        self.target_valid = to_device(target_valid, device)
        self.target_places = [r.place for r in patches.target_records] or self.places
        self.coordinates = self._load_coordinates()
        self.ranges = value_range(manifest.source), value_range(manifest.target)
        self.probabilities = _draw_probabilities(self.groups, config.augment.groups)

    def __len__(self) -> int:
        return len(self.source)

    def draw(self, step: int, *, rank: int = 0) -> Batch:
        """The patches of a training step."""
        loop = self.config.training
        rng = step_rng(loop.seed, step, rank)
        height, width = self.target.shape[-2:]
        if loop.crop > min(height, width):
            raise SamplingError(
                f"training.crop is {loop.crop} px, but patches are {width} x {height} px"
            )
        indices = rng.choice(len(self), size=loop.batch, p=self.probabilities)
        rows = rng.integers(0, height - loop.crop + 1, loop.batch)
        cols = rng.integers(0, width - loop.crop + 1, loop.batch)
        turns = rng.integers(0, 8, loop.batch) if self.config.augment.dihedral else [0] * loop.batch
        crops = [
            self._crop(int(i), int(row), int(col), loop.crop, int(turn))
            for i, row, col, turn in zip(indices, rows, cols, turns, strict=True)
        ]
        source, target, valid, classes, coordinates = (
            torch.stack(x) for x in zip(*crops, strict=True)
        )
        target = self._normalize(target, 1)
        if self.config.augment.rotate or self.config.augment.zoom:
            transforms = draw_transforms(loop.batch, self.config.augment, rng)
            target = warp_patches(target, transforms)
            source, coordinates = (
                self._warp_source(source, transforms),
                warp_patches(coordinates, transforms),
            )
            valid = warp_patches(valid[:, None].float(), transforms, padding="zeros")[:, 0] > 0.999
            classes = warp_patches(classes[:, None].float(), transforms, mode="nearest")[:, 0]
        source, target = self._jitter(self._to_input(source), target, rng)
        noise = noise_fields(rng, source.shape, self.config.task.noise).to(self.device)
        return Batch(
            source=to_channels_last(torch.cat([source, coordinates, noise], dim=1)),
            target=to_channels_last(target),
            classes=classes.long() if self.classes is not None else None,
            valid=valid[:, None].float(),
            margin=self.margin,
        )

    def read_patch(self, index: int, *, border: int, align: int) -> Batch:
        """One whole patch as the translator would see it, with its own noise.

        The source is taken with at least `border` px around it and up to a multiple of `align`;
        it is mirrored where the cache has no more. The target of a patch without a partner is
        some other place.
        """
        height, width = self.target.shape[-2:]
        margin = -(-border // align) * align
        window = Window(
            -margin, -margin, *(-(-(n + 2 * margin) // align) * align for n in (width, height))
        )
        source = self.source[index : index + 1]
        first, size = self.source_border - margin, source.shape[-2:]
        rows, cols = (
            torch.from_numpy(reflect_indices(first, length, n)).to(self.device)
            for length, n in zip(window.shape, size, strict=True)
        )
        source = self._to_input(source[..., rows, :][..., cols])
        coordinates = torch.from_numpy(self._coordinate_channels(index, window)).to(self.device)
        noise = torch.from_numpy(
            ground_noise(window, anchor=(0, 0), scales=self.config.task.noise, seed=index)
        ).to(self.device)
        return Batch(
            source=to_channels_last(torch.cat([source, coordinates[None], noise[None]], dim=1)),
            target=self._normalize(self.target[index if self.is_paired else 0][None], 1),
            classes=None if self.classes is None else self.classes[index : index + 1].long(),
            valid=self.valid[index : index + 1, None].float(),
            margin=margin,
        )

    def _crop(self, index: int, row: int, col: int, crop: int, turn: int) -> tuple[Tensor, ...]:
        start = self.source_border - self.margin
        edge = crop + 2 * self.margin
        source, coordinates = (
            plane[index, :, start + row :, start + col :][:, :edge, :edge]
            for plane in (self.source, self.coordinates)
        )
        window = (..., slice(row, row + crop), slice(col, col + crop))
        classes = self.valid if self.classes is None else self.classes
        planes = (
            source,
            self.target[index][window],
            self.valid[index][window],
            classes[index][window],
        )
        return tuple(rotate_patches(side, turn) for side in (*planes, coordinates))

    def _load_coordinates(self) -> Tensor:
        """Coordinate channels of every source, `(N, K, H, W)`."""
        border, (height, width) = self.source_border, self.source.shape[-2:]
        window = Window(-border, -border, width, height)
        planes = [self._coordinate_channels(index, window) for index in range(len(self.records))]
        return torch.from_numpy(np.stack(planes)).to(self.device)

    def _coordinate_channels(self, index: int, window: Window) -> npt.NDArray[np.float32]:
        """Coordinate channels around a patch, the window counted from its first pixel."""
        return coordinate_channels(self.records[index], window, self.config.task.coordinates)

    def denormalize(self, output: Tensor) -> Tensor:
        """Generator output in the units of the target."""
        low, high = self.ranges[1]
        return (output.float() + 1) * ((high - low) / 2) + low

    def to_stored(self, output: Tensor, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
        """Generator output as a product of this type stores it."""
        return as_dtype(self.denormalize(output).cpu().numpy(), dtype)

    @property
    def n_source(self) -> int:
        """Channels of the source, without noise."""
        return self.source.shape[1] if self.class_values is None else len(self.class_values)

    def _to_input(self, source: Tensor) -> Tensor:
        """Stored values as the generator sees them: on [-1, 1], or one channel a class."""
        if self.class_values is None:
            return self._normalize(source, 0)
        values = torch.tensor(self.class_values, device=self.device)
        return (source == values[:, None, None]).float()  # (N, 1, H, W) -> (N, K, H, W)

    def _warp_source(self, source: Tensor, transforms: Tensor) -> Tensor:
        """Sources rotated and zoomed; classes by nearest neighbour."""
        mode = "bilinear" if self.class_values is None else "nearest"
        return warp_patches(source.float(), transforms, mode=mode)

    def _normalize(self, x: Tensor, side: int) -> Tensor:
        return normalize(x, self.ranges[side])

    def _jitter(
        self, source: Tensor, target: Tensor, rng: np.random.Generator
    ) -> tuple[Tensor, Tensor]:
        """Jitter the colours of the source, and of the target too if `jitter.both`."""
        jitter = self.config.augment.jitter
        if not jitter.both:
            return jitter_colors(source, jitter, rng), target
        n_source = source.shape[1]
        shared = jitter.model_copy(update={"band": 0.0})
        if self.margin:
            target = F.pad(target, (self.margin,) * 4, mode="reflect")
        jittered = jitter_colors(torch.cat([source, target], dim=1), shared, rng)
        source, target = jittered[:, :n_source], crop_margin(jittered[:, n_source:], self.margin)
        band_only = JitterConfig(band=jitter.band)
        return (jitter_colors(source, band_only, rng) if jitter.band else source), target


def class_groups(task: TaskConfig, palette: Palette | None) -> dict[str, list[int]]:
    """Classes that count as one together, as indices in the palette.

    Raises:
        ConfigError: If a group names a class the style does not have.
    """
    if not task.palette:
        return {}
    names = [name for name, _ in palette or ()]
    for group, members in task.iou_groups.items():
        for name in members:
            if name not in names:
                raise ConfigError(
                    f"task.iou_groups.{group} names the class '{name}'{suggest(name, names)}; "
                    f"the style has {', '.join(names)}"
                )
    return {group: [names.index(n) for n in members] for group, members in task.iou_groups.items()}


def _draw_probabilities(groups: list[str], shares: dict[str, float]) -> npt.NDArray[np.float64]:
    """Probability of each patch."""
    for name in shares:
        if name not in groups:
            available = ", ".join(sorted(set(groups)))
            raise ConfigError(f"augment.groups names '{name}'; the data has {available}")
    if not shares:
        return np.full(len(groups), 1 / len(groups))
    counts = Counter(groups)
    weights = np.array([shares.get(group, 0.0) / counts[group] for group in groups])
    probabilities: npt.NDArray[np.float64] = weights / weights.sum()
    return probabilities


def _match_group_statistics(
    target: npt.NDArray[np.generic], patches: PatchSet, group: str
) -> npt.NDArray[np.generic]:
    """Targets whose band means and deviations are those of one group."""
    if group not in patches.groups:
        available = ", ".join(sorted(set(patches.groups)))
        raise ConfigError(f"augment.like_group is '{group}'; the data has {available}")
    groups = np.array(patches.groups)
    reference = target[groups == group].astype(np.float32)
    mean, std = reference.mean((0, 2, 3)), reference.std((0, 2, 3))
    result = target.copy()
    for other in sorted(set(patches.groups) - {group}):
        is_member = groups == other
        values = target[is_member].astype(np.float32)
        own_mean, own_std = values.mean((0, 2, 3)), values.std((0, 2, 3))
        gain = (std / np.maximum(own_std, 1e-6))[:, None, None]
        matched = (values - own_mean[:, None, None]) * gain + mean[:, None, None]
        if np.issubdtype(target.dtype, np.integer):
            low, high = dtype_range(target.dtype)
            matched = np.clip(np.rint(matched), low, high)
        result[is_member] = matched.astype(target.dtype)
    return result
