"""Normalisation and denormalisation on a GPU: only stored values are transferred.

To the bit the same as `geotrans.inference.radiometry` does it for a network on the CPU.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from geotrans.inference.radiometry import Linear

# Integers that torch converts to and NumPy understands; others travel as float32.
_INTEGERS = {"uint8": torch.uint8, "int8": torch.int8, "int16": torch.int16}


def normalize_on_device(
    data: npt.NDArray[Any], linear: Sequence[Linear], device: torch.device
) -> Tensor:
    """Stored values `(C, H, W)` in [-1, 1], float32, on a device."""
    native = np.require(data, data.dtype.newbyteorder("="), ["C", "W", "A"])
    pixels = torch.from_numpy(native).to(device).to(torch.float32)
    factors, summands = _columns(linear, device, torch.float32)
    return pixels.mul_(factors).add_(summands)


def denormalize_on_device(
    scores: Tensor, linear: Sequence[Linear], dtype: np.dtype[Any]
) -> npt.NDArray[Any]:
    """Stored values `(C, H, W)` of a network's output, rounded on its device."""
    exact = torch.float32
    if dtype.kind in "ui" and dtype.itemsize >= 4:
        scores, exact = scores.cpu(), torch.float64  # Not every GPU knows float64.
    factors, summands = _columns(linear, scores.device, exact)
    values = scores.to(exact).mul(factors).add_(summands)
    if dtype.kind in "ui":
        limits = np.iinfo(dtype)
        values = values.round_().clamp_(limits.min, limits.max)
        values = values.to(_INTEGERS.get(dtype.name, exact))
    return values.contiguous().cpu().numpy().astype(dtype, copy=False)


def classify_on_device(scores: Tensor) -> npt.NDArray[np.uint8]:
    """Index of the largest score `(K, H, W)` of each pixel, found on its device."""
    return scores.argmax(dim=0).to(torch.uint8).cpu().numpy()


def _columns(
    linear: Sequence[Linear], device: torch.device, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """Factors and summands, each `(C, 1, 1)`."""
    pairs = torch.tensor(linear, dtype=dtype, device=device)
    factors, summands = pairs[:, :, None, None].unbind(dim=1)
    return factors, summands
