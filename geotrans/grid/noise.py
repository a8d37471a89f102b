"""Noise anchored to the ground.

A value depends on nothing but the ground position of its pixel, the scale and the seed, so tiles,
workers and neighbouring scenes on one lattice see the same field.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from geotrans.grid.window import Window

_BLOCK_PX = 64 * 1024


def ground_noise(
    window: Window,
    *,
    anchor: tuple[int, int],
    scales: Sequence[int],
    seed: int,
    out: npt.NDArray[np.float32] | None = None,
) -> npt.NDArray[np.float32]:
    """Noise fields over a window, one per scale.

    Scale 1 is white; scale `s` is drawn at nodes `s` px apart and interpolated between them.

    Args:
        window: Pixels to compute, counted from the scene's first pixel.
        anchor: `(row, col)` of the scene's first pixel on the ground lattice.
        scales: Distance between independent values, px, each at least 1.
        seed: Which of the equally plausible fields.
        out: Array to write to; a new one unless given.

    Returns:
        Values in [-1, 1), shape `(len(scales), H, W)`.
    """
    rows = np.arange(window.row_off, window.row_end, dtype=np.int64) + anchor[0]
    cols = np.arange(window.col_off, window.col_end, dtype=np.int64) + anchor[1]
    fields = np.empty((len(scales), *window.shape), np.float32) if out is None else out
    for field, scale in zip(fields, scales, strict=True):
        key = (seed * 0x9E3779B1 + scale * 0x85EBCA77) & 0xFFFFFFFF
        if scale == 1:
            _hash(rows, cols, key, out=field)
        else:
            _interpolate(rows, cols, scale, key, out=field)
    return fields


def _interpolate(
    rows: npt.NDArray[np.int64],
    cols: npt.NDArray[np.int64],
    scale: int,
    key: int,
    *,
    out: npt.NDArray[np.float32],
) -> None:
    """Bilinear interpolation between nodes `scale` px apart.

    Element by element on purpose: a matrix product may round differently for other shapes.
    """
    node_rows, down = _find_nodes(rows, scale)
    node_cols, right = _find_nodes(cols, scale)
    first, last = node_rows[0], node_rows[-1] + 1
    nodes = np.empty((last - first + 1, node_cols[-1] - node_cols[0] + 2), np.float32)
    node_range = np.arange(first, last + 1), np.arange(node_cols[0], node_cols[-1] + 2)
    _hash(*node_range, key, out=nodes)
    j = node_cols - node_cols[0]
    lines = nodes[:, j] * (1 - right) + nodes[:, j + 1] * right
    # The rows between two lines of nodes at a time: they stay in the cache.
    edges = [0, *(np.flatnonzero(np.diff(node_rows)) + 1), len(rows)]
    for above, below, (start, stop) in zip(lines[:-1], lines[1:], pairwise(edges), strict=True):
        weights = down[start:stop, None]
        np.multiply(above, 1 - weights, out=out[start:stop])
        out[start:stop] += below * weights


def _find_nodes(
    positions: npt.NDArray[np.int64], scale: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    """Node left of each position, and how far it lies towards the next."""
    node = positions // scale
    return node, ((positions - node * scale) / scale).astype(np.float32)


def _hash(
    rows: npt.NDArray[np.int64],
    cols: npt.NDArray[np.int64],
    key: int,
    *,
    out: npt.NDArray[np.float32],
) -> None:
    """A value in [-1, 1) for each pair of coordinates.

    References:
        Finalizer of the 32-bit integer hash `lowbias32` (C. Wellons, "Prospecting for hash
        functions", 2018); rows and columns are hashed in turn, as counter-based generators do
        (Salmon et al., SC11).
    """
    row_part = _mix(rows.astype(np.uint32) ^ np.uint32(key))[:, None]
    col_part = _mix(cols.astype(np.uint32) + np.uint32(0x68E31DA4))
    # A few rows at a time: they stay in the cache.
    n_rows = max(1, _BLOCK_PX // max(1, len(cols)))
    for start in range(0, len(rows), n_rows):
        block = out[start : start + n_rows]
        bits = _mix(row_part[start : start + n_rows] ^ col_part)
        bits >>= np.uint32(8)
        np.copyto(block, bits.view(np.int32), casting="same_kind")  # 24 bits: exact in float32
        block *= np.float32(2.0**-23)
        block -= np.float32(1)


def _mix(bits: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint32]:
    """The hash of each number; `bits` is used up."""
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
        bits ^= bits >> np.uint32(shift)
        bits *= np.uint32(factor)
    bits ^= bits >> np.uint32(16)
    return bits
