"""A scene and a task as a lazy Dask graph: one task per tile, each reading its own window.

`map_overlap` would need fifteen tasks a chunk and hold neighbours in memory; here a task has no
inputs but the job, and what it leaves behind is a receipt.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import dask
import numpy as np
import numpy.typing as npt
from dask.base import tokenize
from dask.delayed import Delayed

from geotrans.mosaicking.job import Job, translate_tile, translator_of
from geotrans.mosaicking.parts import Parts, fingerprint

if TYPE_CHECKING:
    import dask.array as da


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
    import dask.array as da

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


def lazy_parts(job: Job, parts: Parts) -> dict[tuple[int, int], Delayed]:
    """The same tiles as parts on disk: a lazy receipt for each cell of the plan.

    One task a tile, like the chunks of `lazy_product`, but without `dask.array`, which takes as
    long to import as a small scene takes to translate.
    """
    shared, name = _shared(job), _name("parts", job)
    write = dask.delayed(_write_part, pure=False, traverse=False)
    return {
        (tile.row, tile.col): write(
            shared, parts, tile.row, tile.col, dask_key_name=(name, tile.row, tile.col)
        )
        for tile in job.plan
    }


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


def _write_part(job: Job, parts: Parts, row: int, col: int) -> Receipt:
    tile = job.plan.tile(row, col)
    parts.write(job, tile, translate_tile(job, tile))
    height, width = job.place(tile).shape
    return Receipt(row, col, height * width, os.getpid(), translator_of(job).network_s)
