"""Painting areas along scan lines: exact in x, sampled in y, independent of the window.

Each row of pixels is cut into `LINES` scan lines. Along a line an area begins and ends where its
outline crosses, to `STEPS` of a pixel, and covers what lies between (nonzero winding, so that
shapes of one layer may overlap and need not be valid). A later layer covers earlier ones. All sums
are over integers counted from the origin of the lattice: a pixel does not depend on the window it
is painted in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from geotrans.maps.outlines import Edges, Ints, concatenate_ranges
from geotrans.maps.style import BLANK

# Scan lines per row of pixels, and positions per pixel along a line.
LINES = 4
STEPS = 64
_FULL_COVER = LINES * STEPS
_SHIFT = _FULL_COVER.bit_length() - 1


@dataclass(frozen=True)
class LayerEdges:
    """What one layer of a style paints on a window.

    Attributes:
        edges: Outline of its areas.
        value: Class it paints.
        over: Classes it may cover; None for all.
    """

    edges: Edges
    value: int
    over: tuple[int, ...] | None


@dataclass(frozen=True)
class Spans:
    """The scan lines of a window, cut where the class changes.

    Attributes:
        shape: `(height, width)` of the window, px.
        line: Scan line of each span, counted from the top.
        start: Where it begins, steps from the left.
        value: Its class.
        previous: Class to the left of it; `BLANK` at the beginning of a line.
        is_painted: Whether any layer covers anything.
    """

    shape: tuple[int, int]
    line: Ints
    start: Ints
    value: npt.NDArray[np.uint8]
    previous: npt.NDArray[np.uint8]
    is_painted: bool

    def sum_by_pixel(self, gain: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
        """Sum over each pixel of a value that changes by `gain` where a span begins.

        Differences wrap around; sums are counted in `STEPS` of each line.
        """
        height, width = self.shape
        changes = np.flatnonzero(gain)
        cell = self.line[changes] // LINES * (width + 1) + self.start[changes] // STEPS
        offset = (self.start[changes] % STEPS).astype(np.uint64)
        sums = np.zeros(height * (width + 1), np.uint64)
        np.add.at(sums, cell, gain[changes] * (np.uint64(STEPS) - offset))
        np.add.at(sums, cell + 1, gain[changes] * offset)
        rows = sums.reshape(height, width + 1)[:, :width]
        return np.cumsum(rows, axis=1, out=rows)


def scan_lines(
    layers: Sequence[LayerEdges], background: int, *, top: int, left: int, shape: tuple[int, int]
) -> Spans:
    """Paint a window.

    Args:
        layers: From the first to the last.
        background: Class of what no layer covers.
        top: First row of the window on the lattice.
        left: First column of the window on the lattice.
        shape: `(height, width)` of the window, px.
    """
    height, width = shape
    n_lines, end = height * LINES, width * STEPS
    borders = [
        _find_borders(layer.edges, top * LINES, n_lines, left * STEPS, end) for layer in layers
    ]
    # Every line begins with an event of no layer.
    key = np.concatenate([np.arange(n_lines, dtype=np.int32) * end, *(keys for keys, _ in borders)])
    order = np.argsort(key)
    key = key[order]
    rank = np.empty(len(order), np.intp)
    rank[order] = np.arange(len(order))
    value = np.full(len(key), background, np.uint8)
    is_painted = False
    first = n_lines
    for layer, (keys, signs) in zip(layers, borders, strict=True):
        changes = np.zeros(len(key), np.int8)
        changes[rank[first : first + len(keys)]] = signs
        first += len(keys)
        inside = np.cumsum(changes, dtype=np.int8) > 0
        if layer.over is not None:
            inside &= np.isin(np.arange(256), layer.over)[value]
        value[inside] = layer.value
        is_painted |= bool(inside.any())
    last = np.flatnonzero(np.append(key[1:] != key[:-1], True))
    key, value = key[last], value[last]
    line, start = key // end, key % end
    previous = np.append(np.uint8(BLANK), value[:-1])
    previous[start == 0] = BLANK
    keep = (value != previous) | (start == 0)
    return Spans(shape, line[keep], start[keep], value[keep], previous[keep], is_painted)


def mean_color(
    spans: Spans, colors: npt.NDArray[np.uint8]
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_]]:
    """Mean colour of what is shown in each pixel, and where that is at least half of it.

    Args:
        spans: A painted window.
        colors: Colour of each class, shape `(256, 3)`.

    Returns:
        RGB `(3, H, W)`, 0 where less than half a pixel is shown, and bool `(H, W)`.
    """
    # Red, green, blue and cover packed into one number: each sum is at most 255 * _FULL_COVER, so
    # that none overflows into the next, and differences may wrap in between.
    fields = np.concatenate([colors, np.ones((256, 1))], axis=1).astype(np.uint64)
    fields[BLANK] = 0
    packed = (fields << np.arange(0, 64, 16, dtype=np.uint64)).sum(axis=1, dtype=np.uint64)
    sums = spans.sum_by_pixel(packed[spans.value] - packed[spans.previous])
    red, green, blue, cover = (
        (sums >> np.uint64(shift)).astype(np.uint16) for shift in range(0, 64, 16)
    )
    image = np.stack(
        [((c + _FULL_COVER // 2) >> _SHIFT).astype(np.uint8) for c in (red, green, blue)]
    )
    valid = 2 * cover >= _FULL_COVER
    is_partial = np.nonzero(valid & (cover < _FULL_COVER))
    partial_cover = cover[is_partial].astype(np.uint32)
    for channel, sum_ in zip(image, (red, green, blue), strict=True):
        channel[~valid] = 0
        channel[is_partial] = (sum_[is_partial] + partial_cover // 2) // partial_cover
    return image, valid


def majority_class(spans: Spans) -> npt.NDArray[np.uint8]:
    """Class that covers most of each pixel, `BLANK` where less than half of it is shown."""
    best = np.full(spans.shape, BLANK, np.uint8)
    best_cover = np.zeros(spans.shape, np.uint64)
    total_cover = np.zeros(spans.shape, np.uint64)
    for value in np.unique(spans.value[spans.value != BLANK]):
        gain = (spans.value == value).astype(np.uint64) - (spans.previous == value)
        cover = spans.sum_by_pixel(gain)
        total_cover += cover
        is_better = cover > best_cover
        best[is_better] = value
        best_cover[is_better] = cover[is_better]
    best[2 * total_cover < _FULL_COVER] = BLANK
    return best


def _find_crossings(
    edges: Edges, top: int, n_lines: int, left: int, end: int
) -> tuple[Ints, npt.NDArray[np.int8]]:
    """Where sides cross the lines of a window, `line * end + step`, and their change of winding.

    Sides left of the window count at its left edge; those right of it are left out.
    """
    # A side crosses the lines whose middle it spans, its lower end included.
    begin = np.ceil(edges.y * LINES - 0.5).astype(np.int64)
    stop = np.ceil(edges.y_end * LINES - 0.5).astype(np.int64)
    begin, stop = np.maximum(begin, top), np.minimum(stop, top + n_lines)
    sides = np.flatnonzero(begin < stop)
    count = (stop - begin)[sides]
    line = concatenate_ranges(begin[sides], stop[sides])
    side = np.repeat(sides, count)
    x = edges.x[side] + ((line + 0.5) / LINES - edges.y[side]) * edges.slope[side]
    step = np.maximum(np.floor(x * STEPS + 0.5).astype(np.int64) - left, 0)
    keep = np.flatnonzero(step < end)
    return (line[keep] - top) * end + step[keep], edges.sign[side[keep]]


def _find_borders(
    edges: Edges, top: int, n_lines: int, left: int, end: int
) -> tuple[Ints, npt.NDArray[np.int8]]:
    """Where the union of areas begins (1) and ends (-1) along the lines of a window."""
    key, sign = _find_crossings(edges, top, n_lines, left, end)
    key = key.astype(np.int32)
    order = np.argsort(key)
    key = key[order]
    winding = np.cumsum(sign[order], dtype=np.int32)
    last = np.flatnonzero(np.append(key[1:] != key[:-1], True)[: len(key)])
    key, winding = key[last], winding[last]
    # Sides beyond the window are left out, so a line may end with a winding that is not its own
    # successor's to begin with.
    n_before = np.searchsorted(key, np.arange(n_lines + 1) * end)
    totals = np.append(0, winding)[n_before]
    line = key // end
    inside = winding != totals[line]
    was_inside = np.append(False, inside[:-1])
    was_inside[n_before[line] == np.arange(len(line))] = False
    changes = np.flatnonzero(inside != was_inside)
    # What reaches the right edge ends where the next line begins.
    open_lines = np.flatnonzero(totals[1:-1] != totals[:-2])
    return (
        np.concatenate([key[changes], (open_lines + 1) * end]),
        np.concatenate([np.where(inside[changes], 1, -1), np.full(len(open_lines), -1)]).astype(
            np.int8
        ),
    )
