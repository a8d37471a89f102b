"""Seams along which overlaps are cut so that they are least visible.

Tiles are laid down in their order. Where a new tile meets what lies there already, each side floods
the overlap from where it is alone, through the largest differences first, so that both meet where
the differences are small: of all cuts this one has the smallest largest difference along it, then
the smallest second largest, and so on. It works for overlaps of any shape, with holes or in pieces.

References:
    F. Meyer, "Topographic distance and watershed lines", Signal Processing 38 (1994): flooding by
    levels. J. Cousty et al., "Watershed cuts: minimum spanning forests and the drop of water
    principle", IEEE TPAMI 31 (2009): in which sense the cut is the least one. Here differences are
    sorted into 256 levels of equal numbers of pixels.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from geotrans.grid import Window
from geotrans.scene import Patch

_LEVELS = 256


_BELOW, _ABOVE, _NOWHERE = 1, 2, 3


@dataclass(frozen=True)
class Seam:
    """Where a tile covers those laid down before it.

    Attributes:
        window: Pixels of the mosaic that the overlap lies in.
        above: Whether the tile covers them, by cell, bool `(rows, cols)`.
    """

    window: Window
    above: npt.NDArray[np.bool_]

    def covers(self, window: Window, out_shape: tuple[int, int]) -> npt.NDArray[np.bool_]:
        """Whether the tile covers the pixels of a window, decimated to `out_shape`."""
        rows = self._find_cells(window.row_off, window.height, out_shape[0], axis=0)
        cols = self._find_cells(window.col_off, window.width, out_shape[1], axis=1)
        inside = (rows >= 0)[:, None] & (cols >= 0)[None, :]
        return inside & self.above[np.ix_(rows, cols)]

    def _find_cells(self, start: int, size: int, n: int, *, axis: int) -> npt.NDArray[np.intp]:
        """Cell of each position along an axis; -1 outside."""
        first = self.window.row_off if axis == 0 else self.window.col_off
        positions = start + ((np.arange(n) + 0.5) * size / n).astype(np.intp) - first
        length = self.window.shape[axis]
        cells = positions * self.above.shape[axis] // length
        return np.where((positions >= 0) & (positions < length), cells, -1)


def seam_path(folder: Path, number: int) -> Path:
    """File of the seam of a tile."""
    return folder / f"{number:06d}.npz"


def load_seam(path: Path) -> Seam | None:
    """A seam; None for a tile that meets none before it."""
    with np.load(path) as file:
        if not file["shape"].all():
            return None
        rows, cols = (int(n) for n in file["shape"])
        bits = np.unpackbits(file["above"], count=rows * cols)
        return Seam(Window(*(int(n) for n in file["window"])), bits.reshape(rows, cols) != 0)


def save_seam(seam: Seam | None, path: Path) -> None:
    """Write a seam, or that there is none, completely or not at all."""
    window, above = Window(0, 0, 0, 0), np.zeros((0, 0), bool)
    if seam is not None:
        window, above = seam.window, seam.above
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    with temporary.open("wb") as file:
        np.savez_compressed(
            file,
            window=(window.col_off, window.row_off, window.width, window.height),
            shape=above.shape,
            above=np.packbits(above),
        )
    temporary.replace(path)


def find_seam(below: Patch, above: Patch, *, of_classes: bool = False) -> npt.NDArray[np.bool_]:
    """The seam between two layers: where the upper one is shown.

    Args:
        below: Lower layer.
        above: Upper layer.
        of_classes: Whether values are classes, so that all differences are alike.

    Returns:
        True where `above` is shown; where only one layer is valid it is that one, bool `(H, W)`.
    """
    both = below.valid & above.valid
    labels = np.full(both.shape, _NOWHERE, np.uint8)
    labels[both] = 0
    labels[below.valid & ~above.valid] = _BELOW
    labels[above.valid & ~below.valid] = _ABOVE
    _flood(
        labels, _rank_differences(_compute_difference(below, above, of_classes=of_classes), both)
    )
    is_above: npt.NDArray[np.bool_] = labels == _ABOVE
    return is_above


def _compute_difference(below: Patch, above: Patch, *, of_classes: bool) -> npt.NDArray[np.float32]:
    if of_classes:
        return np.asarray((below.data != above.data).any(axis=0), np.float32)
    total = np.zeros(below.valid.shape, np.float32)
    for lower_band, upper_band in zip(below.data, above.data, strict=True):
        with np.errstate(invalid="ignore"):  # Invalid values may be infinite.
            total += np.abs(lower_band.astype(np.float32) - upper_band.astype(np.float32))
    return total


def _rank_differences(
    difference: npt.NDArray[np.float32], both: npt.NDArray[np.bool_]
) -> npt.NDArray[np.uint8]:
    """Rank of each difference among those of the overlap, in 256 steps."""
    values = difference[both]
    if not values.size:
        return np.zeros(difference.shape, np.uint8)
    steps = np.quantile(values, np.linspace(0, 1, _LEVELS + 1)[1:-1])
    levels: npt.NDArray[np.uint8] = np.searchsorted(steps, difference, side="left").astype(np.uint8)
    return levels


def _flood(labels: npt.NDArray[np.uint8], levels: npt.NDArray[np.uint8]) -> None:
    """Give pixels labelled 0 the label that reaches them first, highest levels first; in place.

    Those that none can reach keep it.
    """
    height, width = labels.shape
    framed = np.full((height + 2, width + 2), _NOWHERE, np.uint8)  # Every pixel has neighbours.
    framed[1:-1, 1:-1] = labels
    flat, stride = framed.ravel(), width + 2
    level = np.zeros(framed.shape, np.uint8)
    level[1:-1, 1:-1] = levels
    level = level.ravel()
    steps = np.array([-stride, -1, 1, stride])
    sides = (_BELOW, _ABOVE)
    queues: dict[int, list[list[npt.NDArray[np.intp]]]] = {
        side: [[] for _ in range(_LEVELS)] for side in sides
    }

    def flood_from(pixels: npt.NDArray[np.intp], side: int, current: int) -> None:
        """Label pixels and all connected ones above the current level; lower ones are queued.

        Higher pixels must all go to the side that reaches them first, or the cut would cross them.
        """
        while pixels.size:
            flat[pixels] = side
            reached = np.unique(pixels[:, None] + steps)
            reached = reached[flat[reached] == 0]
            at = level[reached]
            lower = at <= current
            for one in np.unique(at[lower]):
                queues[side][one].append(reached[at == one])
            pixels = reached[~lower]

    for side in sides:
        flood_from(np.flatnonzero(flat == side), side, _LEVELS - 1)
    for current in range(_LEVELS - 1, -1, -1):
        while any(queues[side][current] for side in sides):
            for side in sides:  # In turns, so that they meet halfway where nothing differs.
                if queued := queues[side][current]:
                    queues[side][current] = []
                    pixels = np.unique(np.concatenate(queued))
                    flood_from(pixels[flat[pixels] == 0], side, current)
    labels[:] = framed[1:-1, 1:-1]
