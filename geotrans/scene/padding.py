"""Reading with padding: mirrored beyond the scene, filled where pixels are invalid.

Both are functions of a pixel's absolute surroundings, so that two windows agree to the bit on
every pixel they share.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from geotrans.grid import Window, reflect_indices
from geotrans.scene.base import Patch, Scene

# How far measured pixels reach into a gap, px. Beyond it a constant costs nothing and, at the
# depth a network looks into a gap, changes little.
FILL_RADIUS = 16


def read_padded(
    scene: Scene,
    window: Window,
    bands: Sequence[int] | None = None,
    *,
    fill_radius: int = FILL_RADIUS,
    fill_value: float | Sequence[float] = 0.0,
    mix: bool = True,
) -> Patch:
    """Pixels of a window that may reach beyond the scene, without holes.

    Beyond its edges the scene is mirrored. Invalid pixels take, ring by ring, the mean of their
    neighbours that have a value; those farther than `fill_radius` from any valid one take
    `fill_value`. NaN and infinite values never come out of here.

    Args:
        scene: What to read.
        window: Pixels to read, counted from the scene's first pixel.
        bands: Positions counted from 1, in the order wanted; all unless given.
        fill_radius: Rings to fill from neighbours, px.
        fill_value: Stored value for pixels far inside a gap, one for all bands or one a band.
        mix: Whether values may be averaged; classes may not, and take one neighbour's.

    Returns:
        Values without holes, and `valid` as it was before filling.
    """
    patch = read_mirrored(scene, window, bands)
    if patch.valid.all():
        return patch
    wide = read_mirrored(scene, window.grown(fill_radius), bands) if fill_radius else patch
    filled = fill_gaps(wide.data, wide.valid, n_rings=fill_radius, fill_value=fill_value, mix=mix)
    inner = Window(fill_radius, fill_radius, window.width, window.height).slices
    return Patch(np.ascontiguousarray(filled[:, *inner]), patch.valid)


def padded_extent(scene: Scene, window: Window, *, fill_radius: int = FILL_RADIUS) -> Window:
    """The window of the scene that `read_padded` may read for a window."""
    wide = window.grown(fill_radius) if scene.maskable else window
    height, width = scene.shape
    rows = reflect_indices(wide.row_off, wide.height, height)
    cols = reflect_indices(wide.col_off, wide.width, width)
    return _enclose(rows, cols)


def fill_gaps(
    data: npt.NDArray[Any],
    valid: npt.NDArray[np.bool_],
    *,
    n_rings: int,
    fill_value: float | Sequence[float] = 0.0,
    mix: bool = True,
) -> npt.NDArray[Any]:
    """Values with invalid pixels filled from their surroundings.

    A pixel of ring `k` takes the mean of its 8-neighbours that are valid or lie in a ring before
    it, added in a fixed order; it therefore depends on nothing farther than `k` px away.

    Args:
        data: Stored values, shape `(C, H, W)`.
        valid: Which of them count, shape `(H, W)`.
        n_rings: Rings to fill.
        fill_value: Value of the pixels left after that, one for all bands or one a band.
        mix: Whether to take the mean of the neighbours, or the first of them.

    Returns:
        An array like `data`; means are rounded to whole numbers where it holds them.
    """
    n_bands, height, width = data.shape
    constants = np.broadcast_to(np.asarray(fill_value, np.float64), (n_bands,))
    is_integer = np.issubdtype(data.dtype, np.integer)
    work_dtype = np.float32 if data.dtype.itemsize <= (2 if is_integer else 4) else np.float64
    # A frame of one empty pixel, so that every neighbour has an index.
    known = np.zeros((height + 2, width + 2), bool)
    known[1:-1, 1:-1] = valid
    values = np.zeros((n_bands, height + 2, width + 2), work_dtype)
    np.copyto(values[:, 1:-1, 1:-1], data, where=valid, casting="unsafe")
    inside = np.zeros_like(known)
    inside[1:-1, 1:-1] = True
    _grow_rings(values.reshape(n_bands, -1), known.ravel(), inside.ravel(), width + 2, n_rings, mix)
    unfilled = ~known[1:-1, 1:-1]
    filled = values[:, 1:-1, 1:-1]
    filled[:, unfilled] = constants[:, None]
    if is_integer:
        limits = np.iinfo(data.dtype)
        np.clip(np.rint(filled, out=filled), limits.min, limits.max, out=filled)
    result = data.copy()
    np.copyto(result, filled, where=~valid, casting="unsafe")
    return result


def _grow_rings(
    values: npt.NDArray[Any],
    known: npt.NDArray[np.bool_],
    inside: npt.NDArray[np.bool_],
    stride: int,
    n_rings: int,
    mix: bool,
) -> None:
    """Fill `values` `(C, N)` and `known` `(N,)` in place, one ring at a time."""
    steps = (-stride - 1, -stride, -stride + 1, -1, 1, stride - 1, stride, stride + 1)
    pending = inside & ~known  # invalid and in no ring yet
    ring = np.flatnonzero(_dilate(known.reshape(-1, stride)).ravel() & pending)
    pending[ring] = False
    for _ in range(n_rings):
        if ring.size == 0:
            return
        total = np.zeros((values.shape[0], ring.size), values.dtype)
        count = np.zeros(ring.size, values.dtype)
        next_rings = []
        for step in steps:
            neighbours = ring + step
            # Unknown pixels hold zero, so they add nothing.
            weights = known[neighbours] if mix else known[neighbours] & (count == 0)
            total += values[:, neighbours] * weights
            count += weights
            outer = neighbours[pending[neighbours]]
            pending[outer] = False
            next_rings.append(outer)
        values[:, ring] = total / count
        known[ring] = True
        ring = np.concatenate(next_rings)


def _dilate(known: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Pixels with a known one among their 3 x 3; the frame is excluded."""
    rows = known.copy()
    rows[1:] |= known[:-1]
    rows[:-1] |= known[1:]
    dilated = rows.copy()
    dilated[:, 1:] |= rows[:, :-1]
    dilated[:, :-1] |= rows[:, 1:]
    return dilated


def read_mirrored(scene: Scene, window: Window, bands: Sequence[int] | None = None) -> Patch:
    """Pixels of a window; beyond the edges of the scene they are mirrored, gaps included."""
    height, width = scene.shape
    if Window.whole(scene.shape).contains(window):
        return scene.read(window, bands)
    rows = reflect_indices(window.row_off, window.height, height)
    cols = reflect_indices(window.col_off, window.width, width)
    part = _enclose(rows, cols)
    patch = scene.read(part, bands)
    rows, cols = rows - part.row_off, cols - part.col_off
    return Patch(
        patch.data.take(rows, axis=1).take(cols, axis=2),
        patch.valid.take(rows, axis=0).take(cols, axis=1),
    )


def _enclose(rows: npt.NDArray[np.intp], cols: npt.NDArray[np.intp]) -> Window:
    """The smallest window that holds these rows and columns."""
    row_off, col_off = int(rows.min()), int(cols.min())
    return Window(col_off, row_off, int(cols.max()) - col_off + 1, int(rows.max()) - row_off + 1)
