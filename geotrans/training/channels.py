"""Input channels of patches: bands, normalisation, noise and coordinates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from affine import Affine
from torch import Tensor

from geotrans.errors import ConfigError
from geotrans.grid import Window, ground_coordinates, ground_noise, make_geobox
from geotrans.sampling.cache import PatchRecord, SideRecord


def band_indices(side: SideRecord, names: tuple[str, ...] | None, *, where: str) -> list[int]:
    """Position of each wanted band in a side of the cache.

    Raises:
        ConfigError: If a band is missing.
    """
    if names is None:
        return list(range(len(side.bands)))
    for name in names:
        if name not in side.bands:
            available = ", ".join(side.bands)
            raise ConfigError(f"{where} asks for band '{name}'; the data has {available}")
    return [side.bands.index(name) for name in names]


def normalize(x: Tensor, value_range: tuple[float, float]) -> Tensor:
    """Stored values on [-1, 1], where the range becomes -1 and 1."""
    low, high = value_range
    return x.float() * (2 / (high - low)) - (1 + 2 * low / (high - low))


def noise_fields(rng: np.random.Generator, shape: torch.Size, scales: Sequence[int]) -> Tensor:
    """Noise channels for patches `(N, C, H, W)`, each anchored at a random ground position."""
    window = Window(0, 0, shape[-1], shape[-2])
    fields = [
        ground_noise(
            window,
            anchor=(int(rng.integers(2**20)), int(rng.integers(2**20))),
            scales=tuple(scales),
            seed=int(rng.integers(2**31)),
        )
        for _ in range(shape[0])
    ]
    return torch.from_numpy(np.stack(fields))


def coordinate_channels(
    record: PatchRecord, window: Window, names: tuple[str, ...]
) -> npt.NDArray[np.float32]:
    """Coordinate channels around a patch `(K, H, W)`, the window counted from its first pixel."""
    if not names:
        return np.empty((0, *window.shape), np.float32)
    geobox = make_geobox(record.shape, Affine(*record.transform), record.crs)
    return ground_coordinates(geobox, window, names)


def to_channels_last(x: Tensor) -> Tensor:
    """The same tensor, channels last in memory."""
    return x.contiguous(memory_format=torch.channels_last)


def to_device(array: npt.NDArray[np.generic], device: torch.device) -> Tensor:
    """Stored values on a device, in a type that torch can rotate."""
    if array.dtype.kind == "u" and array.itemsize > 1:  # torch cannot rotate these
        array = array.astype(np.int32 if array.itemsize == 2 else np.int64)
    return torch.from_numpy(np.ascontiguousarray(array)).to(device)


def value_range(side: SideRecord) -> tuple[float, float]:
    """Values that become -1 and 1: the given range, else that of an integer type, else these."""
    return side.value_range or dtype_range(np.dtype(side.dtype))


def dtype_range(dtype: np.dtype[Any]) -> tuple[float, float]:
    """All values of an integer type, -1 and 1 of any other."""
    if not np.issubdtype(dtype, np.integer):
        return -1.0, 1.0
    info = np.iinfo(dtype)
    return float(info.min), float(info.max)
