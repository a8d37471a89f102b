"""Positions of windows in a scene, and random draws of them.

A draw is a function of (seed, epoch, index) and of nothing else: there is no state, so draw 1234 is
the same window in any worker, rank or resumed run.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from geotrans.errors import SamplingError
from geotrans.grid import Window

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Placements:
    """Every position of a window of one size in one scene, numbered row by row.

    Attributes:
        size: `(height, width)` of the window, px.
        rows: Row of each run of neighbouring positions.
        cols: First column of each run.
        ends: Positions in a run and all before it.
        n_px: Pixels of the scene a window may hold.
    """

    size: tuple[int, int]
    rows: Ints
    cols: Ints
    ends: Ints
    n_px: int

    def __len__(self) -> int:
        return int(self.ends[-1]) if len(self.ends) else 0

    def __getitem__(self, number: int) -> Window:
        if not 0 <= number < len(self):
            raise IndexError(f"position {number} of {len(self)}")
        run = int(np.searchsorted(self.ends, number, side="right"))
        before = int(self.ends[run - 1]) if run else 0
        height, width = self.size
        return Window(int(self.cols[run]) + number - before, int(self.rows[run]), width, height)


def find_whole_placements(shape: tuple[int, int], size: tuple[int, int]) -> Placements:
    """Every position of a window inside a scene."""
    n_rows, n_cols = (max(0, whole - part + 1) for whole, part in zip(shape, size, strict=True))
    rows = np.arange(n_rows if n_cols else 0, dtype=np.int64)
    return Placements(size, rows, np.zeros_like(rows), (rows + 1) * n_cols, shape[0] * shape[1])


def find_masked_placements(
    strips: Iterable[npt.NDArray[np.bool_]], size: tuple[int, int]
) -> Placements:
    """Every position of a window that holds only allowed pixels.

    Args:
        strips: The scene from top to bottom as bool `(h, W)`, True where a window may lie.
        size: `(height, width)` of the window, px.
    """
    height, width = size
    rows: list[int] = []
    cols: list[Ints] = []
    counts: list[Ints] = []
    # Rows up to this one in which `width` px from a column are allowed.
    n_above: Ints | None = None
    row = n_px = 0
    for strip in strips:
        n_px += int(strip.sum())
        for fits in _find_starts(strip, width):
            n_above = np.where(fits, (0 if n_above is None else n_above) + 1, 0)
            first, count = _find_runs(n_above >= height)
            rows.extend([row - height + 1] * len(first))
            cols.append(first)
            counts.append(count)
            row += 1
    return _make_placements(size, rows, cols, counts, n_px)


def find_valid_placements(
    strips: Iterable[npt.NDArray[np.bool_]], size: tuple[int, int], *, min_valid: float
) -> Placements:
    """Every position of a window of whose pixels a share is valid, at least one.

    Args:
        strips: `valid` of the scene from top to bottom, `(h, W)`.
        size: `(height, width)` of the window, px.
        min_valid: Share of the window's pixels, 0 to 1.
    """
    height, width = size
    needed = max(1, math.ceil(min_valid * height * width - 1e-6))
    rows: list[int] = []
    cols: list[Ints] = []
    counts: list[Ints] = []
    lines: deque[npt.NDArray[np.bool_]] = deque()
    column_sums: Ints | None = None  # Valid pixels of each column in the rows held.
    row = n_px = 0
    for strip in strips:
        n_px += int(strip.sum())
        for line in strip:
            lines.append(line)
            column_sums = line.astype(np.int64) if column_sums is None else column_sums + line
            if len(lines) > height:
                column_sums = column_sums - lines.popleft()
            row += 1
            if len(lines) < height or len(line) < width:
                continue
            sums = np.concatenate([[0], np.cumsum(column_sums)])
            first, count = _find_runs(sums[width:] - sums[:-width] >= needed)
            rows.extend([row - height] * len(first))
            cols.append(first)
            counts.append(count)
    return _make_placements(size, rows, cols, counts, n_px)


def _make_placements(
    size: tuple[int, int], rows: list[int], cols: list[Ints], counts: list[Ints], n_px: int
) -> Placements:
    lengths = np.concatenate(counts) if counts else np.empty(0, np.int64)
    first = np.concatenate(cols) if cols else np.empty(0, np.int64)
    return Placements(size, np.asarray(rows, np.int64), first, np.cumsum(lengths), n_px)


def _find_starts(strip: npt.NDArray[np.bool_], width: int) -> Iterator[npt.NDArray[np.bool_]]:
    """For each row, the columns from which `width` px are allowed, shape `(W - width + 1,)`."""
    if strip.shape[1] < width:
        return iter(np.empty((len(strip), 0), bool))
    sums = np.zeros((strip.shape[0], strip.shape[1] + 1), np.int64)
    np.cumsum(strip, axis=1, out=sums[:, 1:])
    return iter(sums[:, width:] - sums[:, :-width] == width)


def _find_runs(flags: npt.NDArray[np.bool_]) -> tuple[Ints, Ints]:
    """First position and length of each run of True."""
    steps = np.flatnonzero(np.diff(flags, prepend=False, append=False)).astype(np.int64)
    return steps[::2], steps[1::2] - steps[::2]


class WindowDraw:
    """Random windows over scenes.

    Attributes:
        placements: Positions in each scene.
        seed: Which of the equally good sequences.
    """

    def __init__(
        self, placements: Sequence[Placements], *, seed: int, by_area: bool = True
    ) -> None:
        """Compute the weights of the scenes.

        Args:
            placements: Positions in each scene; scenes without one are never drawn.
            seed: Which of the equally good sequences.
            by_area: Whether a scene is drawn in proportion to its pixels, or as often as any other.

        Raises:
            SamplingError: If no scene has a position.
        """
        if not any(len(p) for p in placements):
            height, width = placements[0].size if placements else (0, 0)
            raise SamplingError(
                f"asked for windows of {height} x {width} px; none of {len(placements)} scenes has "
                "room for one; ask for smaller windows or a larger region"
            )
        self.placements = placements
        self.seed = seed
        weights = [(p.n_px if by_area else 1) if len(p) else 0 for p in placements]
        self._ends = np.cumsum(weights, dtype=np.int64)

    def __call__(self, epoch: int, index: int) -> tuple[int, Window]:
        """Scene and window of one draw; every position of a scene is equally likely."""
        first, second = philox(self.seed, epoch, index)
        weight = first * int(self._ends[-1]) >> 64
        scene = int(np.searchsorted(self._ends, weight, side="right"))
        places = self.placements[scene]
        return scene, places[second * len(places) >> 64]


def philox(seed: int, epoch: int, index: int) -> tuple[int, int]:
    """Two 64-bit numbers that belong to a draw.

    References:
        Philox4x64-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC11): key
        `(seed, epoch)`, the index in the highest word of the counter. Raw words, since numpy keeps
        those the same between releases, and not what it derives from them.
    """
    word = (1 << 64) - 1
    bits = np.random.Philox(
        key=np.array([seed & word, epoch & word], np.uint64),
        counter=np.array([0, 0, 0, index & word], np.uint64),
    )
    first, second = bits.random_raw(2)
    return int(first), int(second)


@dataclass(frozen=True, slots=True)
class GridCell:
    """One window of a grid over a scene, and its core."""

    window: Window
    core: Window


def grid_windows(
    shape: tuple[int, int], size: tuple[int, int], *, halo: int = 0, stride: int | None = None
) -> tuple[GridCell, ...]:
    """Windows of one size whose cores cover every pixel of a scene exactly once.

    The last row and column are moved inward; only a scene smaller than a window is left, to the
    right and below.

    Args:
        shape: `(height, width)` of the scene, px.
        size: `(height, width)` of a window, px.
        halo: Pixels of a window that are not core on each side that is not the scene's edge.
        stride: Distance between windows, px; None takes the largest that the halo allows.

    Raises:
        SamplingError: If a window has no room for a core, or windows would leave gaps.
    """
    if halo < 0 or min(size) <= 2 * halo:
        raise SamplingError(
            f"windows of {size[0]} x {size[1]} px leave no core inside a halo of {halo} px; "
            "ask for larger windows or a smaller halo"
        )
    if stride is not None and not 1 <= stride <= min(size) - 2 * halo:
        raise SamplingError(
            f"a stride of {stride} px between windows of {size[0]} x {size[1]} px with a halo of "
            f"{halo} px leaves gaps; give 1 to {min(size) - 2 * halo}"
        )
    down, across = (
        _grid_axis(whole, part, halo, stride) for whole, part in zip(shape, size, strict=True)
    )
    return tuple(
        GridCell(
            Window(col, row, size[1], size[0]),
            Window(left, top, right - left, bottom - top),
        )
        for row, top, bottom in down
        for col, left, right in across
    )


def _grid_axis(length: int, size: int, halo: int, stride: int | None) -> list[tuple[int, int, int]]:
    """Start of each window along an axis, and start and end of its core."""
    if length <= size:
        return [(0, 0, length)]
    last = length - size
    starts = [*range(0, last, stride or size - 2 * halo), last]
    edges = [0, *(start + halo for start in starts[1:]), length]
    return [(start, *edge) for start, edge in zip(starts, pairwise(edges), strict=True)]
