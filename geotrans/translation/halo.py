"""Accuracy lost by reading less context than a network sees."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from typing import Any

import numpy as np

from geotrans.grid import Tile, plan_tiles
from geotrans.scene import Patch
from geotrans.translation.job import HaloError, Job, translate_tile

# Tiles tried until one of them holds something valid.
_MAX_TRIED = 25


def measure_halo(job: Job, *, exact_tile: int | None = None) -> HaloError | None:
    """Translate a tile in the middle of a plan as planned, and with all the context there is.

    Args:
        job: What is going to be translated.
        exact_tile: Largest core edge to be translated at a time with all the context, px; the
            whole tile unless given.

    Returns:
        The difference; None if no tile tried holds anything valid.
    """
    exact_halo = job.spec.halo
    for tile in islice(_iter_from_middle(job), _MAX_TRIED):
        patch = translate_tile(job, tile)
        if patch is not None:
            difference = _core_difference(job, tile, patch, exact_tile)
            core = tile.core.col_off, tile.core.row_off, tile.core.width, tile.core.height
            share = float((difference > 0).mean())
            return HaloError(job.plan.halo, exact_halo, core, share, float(difference.max()))
    return None


def _core_difference(
    job: Job, tile: Tile, patch: Patch, exact_tile: int | None
) -> np.ndarray[Any, np.dtype[np.float64]]:
    """How far valid values of a tile are from the exact ones."""
    spec, core = job.spec, tile.core
    plan = plan_tiles(
        job.scene.shape, tile=exact_tile or max(core.shape) + spec.align, halo=spec.halo,
        align=spec.align, area=core, anchor=job.plan.anchor,
    )  # fmt: skip
    exact_job = replace(job, plan=plan)
    differences = []
    for subtile in plan:
        expected = translate_tile(exact_job, subtile)
        if expected is not None:
            rows, cols = exact_job.product_window(subtile).slices
            values = patch.data[:, rows, cols].astype(np.float64)
            deviation = np.abs(values - expected.data)[:, patch.valid[rows, cols] & expected.valid]
            differences.append(deviation.ravel())
    return np.concatenate(differences)


def _iter_from_middle(job: Job) -> Iterator[Tile]:
    plan = job.plan
    middle = plan.n_rows // 2, plan.n_cols // 2
    cells = sorted(
        ((row, col) for row in range(plan.n_rows) for col in range(plan.n_cols)),
        key=lambda cell: (cell[0] - middle[0]) ** 2 + (cell[1] - middle[1]) ** 2,
    )
    return (plan.tile(row, col) for row, col in cells)
