"""Normalisation of stored values to network input, and denormalisation of its output.

Each step is one plain operation after another and never a fused one, so that a pixel comes out the
same wherever in a window it lies.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from geotrans.tasks import BandSpec, PaletteClass

_BLOCK_PX = 32 * 1024

Linear = tuple[float, float]  # factor, then summand


def to_network(band: BandSpec, radiometry: Linear = (1.0, 0.0)) -> Linear:
    """Factor and summand from a stored value to [-1, 1].

    Args:
        band: What the task reads.
        radiometry: Scale and offset that lead from the stored value to `band.units`.
    """
    low, high = band.value_range
    scale, offset = radiometry
    return 2 * scale / (high - low), (2 * offset - low - high) / (high - low)


def from_network(band: BandSpec, radiometry: Linear = (1.0, 0.0)) -> Linear:
    """Factor and summand from [-1, 1] to a stored value; the way back of `to_network`."""
    low, high = band.value_range
    scale, offset = radiometry
    return (high - low) / 2 / scale, ((high + low) / 2 - offset) / scale


def normalize(
    data: npt.NDArray[Any], linear: Sequence[Linear], out: npt.NDArray[np.float32]
) -> None:
    """Bring stored values `(C, H, W)` to [-1, 1], in float32, into `out`."""
    for channel, (factor, summand), plane in zip(data, linear, out, strict=True):
        np.multiply(channel, np.float32(factor), out=plane, casting="same_kind")
        if summand:
            plane += np.float32(summand)


def denormalize(
    scores: npt.NDArray[np.float32], linear: Sequence[Linear], dtype: np.dtype[Any]
) -> npt.NDArray[Any]:
    """Bring [-1, 1] to stored values: integers to the nearest, halves to even, clipped.

    Args:
        scores: What the network says, shape `(C, H, W)`, in any order in memory.
        linear: Factor and summand of each channel.
        dtype: Type of the stored values.
    """
    values = np.empty(scores.shape, dtype)
    # 32-bit integers hold more digits than float32, and their limits are no values of it.
    float_type = np.float64 if dtype.itemsize >= 4 and dtype.kind in "ui" else np.float32
    for rows in _iter_blocks(scores.shape):
        for channel, (factor, summand), out in zip(scores, linear, values, strict=True):
            block = np.multiply(channel[rows], float_type(factor), dtype=float_type)
            block += float_type(summand)
            if dtype.kind in "ui":
                np.rint(block, out=block)
                np.clip(block, np.iinfo(dtype).min, np.iinfo(dtype).max, out=block)
            out[rows] = block
    return values


def classify(scores: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    """Index of the largest score of each pixel, the first among equals.

    Args:
        scores: One a class, shape `(K, H, W)`, in any order in memory.

    Returns:
        Class indices, shape `(H, W)`.
    """
    classes = np.zeros(scores.shape[1:], np.uint8)
    for rows in _iter_blocks(scores.shape):
        best, *rivals = np.array(scores[:, rows], order="C")
        index = classes[rows]
        for k, rival in enumerate(rivals, start=1):
            # Later winners have larger indices, so the largest index that ever won is the last.
            np.maximum(index, (rival > best).view(np.uint8) * np.uint8(k), out=index)
            np.maximum(best, rival, out=best)
    return classes


def apply_palette(
    classes: npt.NDArray[np.uint8], palette: Sequence[PaletteClass]
) -> npt.NDArray[np.uint8]:
    """Colours `(3, H, W)` of class indices `(H, W)`."""
    colors = np.zeros((3, 256), np.uint8)
    for i, item in enumerate(palette):
        colors[:, i] = item.color
    # Bytes are looked up by `bytes.translate` several times faster than by an index array.
    raw = classes.tobytes()
    bands = [np.frombuffer(raw.translate(table.tobytes()), np.uint8) for table in colors]
    return np.stack(bands).reshape(3, *classes.shape)


def _iter_blocks(shape: tuple[int, ...]) -> Iterator[slice]:
    """Rows of an array `(C, H, W)`, a few at a time: work on them stays in the cache."""
    n_rows = max(1, _BLOCK_PX // shape[2])
    return (slice(row, row + n_rows) for row in range(0, shape[1], n_rows))
