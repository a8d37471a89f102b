"""Visibility of tile edges."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from geotrans.metrics.checks import BoolArray, FloatArray, as_valid


def seam_ratio(
    image: npt.NDArray[Any],
    *,
    row_edges: Sequence[int] = (),
    col_edges: Sequence[int] = (),
    valid: BoolArray | None = None,
) -> float:
    """Mean step across tile edges over the mean step between all other neighbours.

    Each direction is compared with itself, since a scene may be rougher across than along.

    Args:
        image: `(C, H, W)`.
        row_edges: First row of each tile, as in `TilePlan.row_edges`; the image's own edges and
            what lies beyond do not count.
        col_edges: First column of each tile.
        valid: Pixels to compare, `(H, W)`; all unless given.

    Returns:
        About 1 where no seam shows, greater where one does, infinite where only edges have a step;
        NaN if there is no inner edge.
    """
    pixels = np.asarray(image, np.float64)
    valid = as_valid(valid, pixels.shape[1:])
    at_edges = [
        _measure_steps(np.moveaxis(pixels, axis + 1, 1), np.moveaxis(valid, axis, 0), edges)
        for axis, edges in ((0, row_edges), (1, col_edges))
    ]
    # Expected sum of steps at the edges if they were like the rest, by direction.
    measured = sum(total for total, _, _ in at_edges)
    expected = sum(count * mean_elsewhere for _, count, mean_elsewhere in at_edges if count)
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(np.float64(measured) / np.float64(expected))


def _measure_steps(
    pixels: FloatArray, valid: BoolArray, edges: Sequence[int]
) -> tuple[float, int, float]:
    """Sum and number of steps down the rows at `edges`, and the mean step elsewhere."""
    step = np.abs(np.diff(pixels, axis=1)).mean(0)
    counts = valid[1:] & valid[:-1]
    is_edge = np.zeros(counts.shape, np.bool_)
    is_edge[[edge - 1 for edge in edges if 0 < edge < len(valid)]] = True
    edge_steps, other_steps = step[counts & is_edge], step[counts & ~is_edge]
    return (
        float(edge_steps.sum()),
        edge_steps.size,
        float(other_steps.mean()) if other_steps.size else float("nan"),
    )
