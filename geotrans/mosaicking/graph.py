"""A scene and a task as a lazy Dask array: one task per tile, each reading its own window.

`map_overlap` would need fifteen tasks a chunk and hold neighbours in memory; here a task has no
inputs but the job, and what it leaves behind is a receipt.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import dask
import dask.array as da
import numpy as np
import numpy.typing as npt
from dask.base import tokenize
from dask.delayed import Delayed

from geotrans.mosaicking.job import Job, translate_tile, translator_of
from geotrans.mosaicking.parts import Parts, fingerprint


@dataclass(frozen=True)
class Receipt:
    """What is left of a tile once its part is written.

    Attributes:
        row: Row of its cell in the plan.
        col: Column of its cell in the plan.
        n_px: Pixels of the product it covers.
        process: Number of the process that made it.
        network_s: Time the network of that process had worked by then, s.
    """

    row: int
    col: int
    n_px: int
    process: int
    network_s: float


def lazy_product(job: Job) -> tuple[da.Array, da.Array]:
    """The product and its `valid`, nothing computed yet; one task per tile makes both.

    Returns:
        Stored values `(C, H, W)` in chunks of one tile, and bool `(H, W)`.
    """
    n_bands, scale = len(job.layout.bands), job.layout.scale
    heights, widths = (tuple(n * scale for n in sizes) for sizes in job.plan.chunks)
    stack = da.map_blocks(
        _block,
        job=_shared(job),
        chunks=((n_bands + 1,), heights, widths),
        dtype=job.layout.dtype,
        meta=np.empty((0, 0, 0), job.layout.dtype),
        name=_name("product", job),
    )
    return stack[:-1], stack[-1] != 0


def lazy_parts(job: Job, parts: Parts) -> da.Array:
    """The same tiles as parts on disk: a lazy array with one receipt a cell of the plan."""
    return da.map_blocks(
        _write_part,
        job=_shared(job),
        parts=parts,
        chunks=((1,) * job.plan.n_rows, (1,) * job.plan.n_cols),
        dtype=object,
        meta=np.empty((0, 0), object),
        name=_name("parts", job),
    )


def _name(what: str, job: Job) -> str:
    """A key that is the same for the same pixels."""
    return f"{what}-{tokenize(fingerprint(job))}"


def _shared(job: Job) -> Delayed:
    """The job as a task of its own, so that a cluster sends it to each worker once."""
    return dask.delayed(job, name=_name("job", job), traverse=False)


def _block(job: Job, block_id: tuple[int, int, int]) -> npt.NDArray[Any]:
    tile = job.plan.tile(*block_id[1:])
    patch = translate_tile(job, tile)
    shape = job.place(tile).shape
    stack = np.zeros((len(job.layout.bands) + 1, *shape), job.layout.dtype)
    if patch is not None:
        stack[:-1], stack[-1] = patch.data, patch.valid
    elif job.layout.nodata is not None:
        stack[:-1] = job.layout.nodata
    return stack


def _write_part(job: Job, parts: Parts, block_id: tuple[int, int]) -> npt.NDArray[Any]:
    tile = job.plan.tile(*block_id)
    parts.write(job, tile, translate_tile(job, tile))
    height, width = job.place(tile).shape
    network_s = translator_of(job).network_s
    receipt = Receipt(tile.row, tile.col, height * width, os.getpid(), network_s)
    return np.array([[receipt]], dtype=object)
