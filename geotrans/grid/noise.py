"""Noise that belongs to a place.

A value depends on nothing but the ground position of its pixel, the scale and the seed, so tiles,
workers and neighbouring scenes on one lattice see the same field.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from geotrans.grid.window import Window


def ground_noise(
    window: Window, *, anchor: tuple[int, int], scales: Sequence[int], seed: int
) -> npt.NDArray[np.float32]:
    """Noise fields over a window, one per scale.

    Scale 1 is white; scale `s` is drawn at nodes `s` px apart and interpolated between them.

    Args:
        window: Pixels asked for, counted from the scene's first pixel.
        anchor: `(row, col)` of the scene's first pixel on the ground lattice.
        scales: Distance between independent values, px, each at least 1.
        seed: Which of the equally plausible fields.

    Returns:
        Values in [-1, 1), shape `(len(scales), H, W)`.
    """
    rows = np.arange(window.row_off, window.row_end, dtype=np.int64) + anchor[0]
    cols = np.arange(window.col_off, window.col_end, dtype=np.int64) + anchor[1]
    fields = [_field(rows, cols, scale=scale, seed=seed) for scale in scales]
    return np.stack(fields) if fields else np.empty((0, *window.shape), np.float32)


def _field(
    rows: npt.NDArray[np.int64], cols: npt.NDArray[np.int64], *, scale: int, seed: int
) -> npt.NDArray[np.float32]:
    key = (seed * 0x9E3779B1 + scale * 0x85EBCA77) & 0xFFFFFFFF
    if scale == 1:
        return _hashed(rows, cols, key)
    node_rows, row_weights = _nodes(rows, scale)
    node_cols, col_weights = _nodes(cols, scale)
    nodes = _hashed(
        np.arange(node_rows[0], node_rows[-1] + 2), np.arange(node_cols[0], node_cols[-1] + 2), key
    )
    # Element by element on purpose: a matrix product may round differently for other shapes.
    i, j = node_rows - node_rows[0], node_cols - node_cols[0]
    down = row_weights[:, None]
    lines: npt.NDArray[np.float32] = nodes[i] * (1 - down) + nodes[i + 1] * down
    right = col_weights[None, :]
    field: npt.NDArray[np.float32] = lines[:, j] * (1 - right) + lines[:, j + 1] * right
    return field


def _nodes(
    positions: npt.NDArray[np.int64], scale: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    """Node left of each position, and how far it lies towards the next."""
    node = positions // scale
    return node, ((positions - node * scale) / scale).astype(np.float32)


def _hashed(
    rows: npt.NDArray[np.int64], cols: npt.NDArray[np.int64], key: int
) -> npt.NDArray[np.float32]:
    """A value in [-1, 1) for each pair of coordinates.

    References:
        Finalizer of the 32-bit integer hash `lowbias32` (C. Wellons, "Prospecting for hash
        functions", 2018); rows and columns are hashed in turn, as counter-based generators do
        (Salmon et al., SC11).
    """
    row_part = _mix(rows.astype(np.uint32) ^ np.uint32(key))
    col_part = _mix(cols.astype(np.uint32) + np.uint32(0x68E31DA4))
    bits = _mix(row_part[:, None] ^ col_part[None, :])
    bits >>= np.uint32(8)
    return bits.astype(np.float32) * np.float32(2.0**-23) - np.float32(1)


def _mix(bits: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint32]:
    bits = bits ^ (bits >> np.uint32(16))
    bits *= np.uint32(0x7FEB352D)
    bits ^= bits >> np.uint32(15)
    bits *= np.uint32(0x846CA68B)
    bits ^= bits >> np.uint32(16)
    return bits
