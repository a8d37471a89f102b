"""A scene that is a Dask array, and a task, as another Dask array: one task for each tile.

A task is given the blocks of the source that its window touches, so that a block is made once
however many tiles read it, and only what is needed is made. `map_overlap` would need
fifteen tasks a chunk and hold neighbours in memory.
"""

from __future__ import annotations

import logging
import os
from dataclasses import replace
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from geotrans.grid import Tile, Window
from geotrans.models import trim_heap_periodically
from geotrans.scene import padded_extent
from geotrans.scene.array import attach_pixels, detach_pixels, find_array_bands, get_array
from geotrans.tasks.domain import check_block
from geotrans.translation.job import Job, translate_tile
from geotrans.translation.norm_statistics import needs_samples, resolve_norms
from geotrans.translation.options import PixelOptions

if TYPE_CHECKING:
    import dask.array as da

_log = logging.getLogger(__name__)

# Blocks of the source larger than this are cut, or a few of them would fill the memory.
_MAX_BLOCK_BYTES = 256 * 2**20
_BLOCK_PX = 1024


def lazy_product(
    job: Job, pixels: PixelOptions, *, with_valid: bool
) -> tuple[da.Array, da.Array | None]:
    """The product and its `valid`, nothing computed yet; one task per tile makes both.

    Args:
        job: A translation of a scene over a Dask array, planned without reading.
        pixels: Options it was planned with; values are checked when a block is computed.
        with_valid: Whether to return which pixels are valid.

    Returns:
        Stored values `(C, H, W)` in chunks of one tile, and bool `(H, W)`.
    """
    import dask.array as da
    from dask.base import tokenize
    from dask.delayed import delayed
    from dask.highlevelgraph import HighLevelGraph

    source = _prepare_source(job)
    token = tokenize(job.fingerprint(), pixels, with_valid)
    empty_job = replace(job, scene=detach_pixels(job.scene, job.bands))
    common = delayed(empty_job, name=f"job-{token}", traverse=False)
    if needs_samples(job.spec, pixels.norm_stats):
        # The one task that reads samples all over the scene, when the first tile is computed.
        full_job = delayed(job, name=f"scene-{token}", traverse=False)
        common = delayed(_with_statistics, traverse=False)(
            full_job, common, pixels.norm_stats, dask_key_name=f"statistics-{token}"
        )
    name = f"translate_{job.spec.name.replace('-', '_')}-{token}"
    edges = [(0, *accumulate(sizes)) for sizes in source.chunks[1:]]
    tasks = {
        (name, 0, tile.row, tile.col): (
            _translate_chunk, common.key, pixels, (tile.row, tile.col), with_valid,
            *_find_blocks(source.name, edges, padded_extent(job.scene, tile.read)),
        )
        for tile in job.plan
    }  # fmt: skip
    graph = HighLevelGraph.from_collections(name, tasks, dependencies=[source, common])
    n_bands, scale = len(job.layout.bands) + with_valid, job.layout.scale
    chunks = ((n_bands,), *(tuple(n * scale for n in sizes) for sizes in job.plan.chunks))
    stack = da.Array(graph, name, chunks, meta=np.empty((0, 0, 0), job.layout.dtype))
    return (stack[:-1], stack[-1] != 0) if with_valid else (stack, None)


def eager_product(job: Job) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]:
    """The same at once, of a scene that is in memory."""
    shape = job.geobox.shape
    fill = job.layout.nodata or 0
    data = np.full((len(job.layout.bands), *shape), fill, job.layout.dtype)
    valid = np.zeros(shape, bool)
    for tile in job.plan:
        if (patch := translate_tile(job, tile)) is not None:
            rows, cols = job.product_window(tile).slices
            data[:, rows, cols], valid[rows, cols] = patch.data, patch.valid
    return data, valid


def _prepare_source(job: Job) -> da.Array:
    """The bands that the task reads, one chunk over all of them, in blocks of a decent size."""
    array = get_array(job.scene).data
    channels = [band - 1 for band in find_array_bands(job.scene, job.bands)]
    if channels != list(range(array.shape[0])):
        array = array[channels]
    if array.numblocks[0] > 1:
        array = array.rechunk({0: -1})
    block_bytes = max(array.chunks[1]) * max(array.chunks[2]) * len(channels) * array.dtype.itemsize
    if block_bytes > _MAX_BLOCK_BYTES:
        _log.warning(
            "%s has chunks of up to %d x %d px, %.1f GB each: cut into %d px for translating, but "
            "each is still read as a whole; open it with chunks=%d if you can",
            job.scene.name, max(array.chunks[2]), max(array.chunks[1]), block_bytes / 1e9,
            _BLOCK_PX, _BLOCK_PX,
        )  # fmt: skip
        array = array.rechunk({1: _BLOCK_PX, 2: _BLOCK_PX})
    return array


def _find_blocks(
    name: str, edges: list[tuple[int, ...]], window: Window
) -> tuple[list[list[tuple[object, ...]]], tuple[int, int], Window]:
    """Keys of the blocks that hold a window, row by row; where the first begins; the window."""
    ranges = []
    for axis, span in zip(edges, window.slices, strict=True):
        first = int(np.searchsorted(axis, span.start, side="right")) - 1
        last = int(np.searchsorted(axis, span.stop, side="left"))
        ranges.append(range(first, last))
    rows, cols = ranges
    keys: list[list[tuple[object, ...]]] = [[(name, 0, i, j) for j in cols] for i in rows]
    return keys, (edges[0][rows.start], edges[1][cols.start]), window


def _translate_chunk(
    job: Job,
    pixels: PixelOptions,
    cell: tuple[int, int],
    with_valid: bool,
    blocks: list[list[npt.NDArray[Any]]],
    corner: tuple[int, int],
    window: Window,
) -> npt.NDArray[Any]:
    """One chunk of the product; the last channel is `valid`, if `with_valid`."""
    tile = job.plan.tile(*cell)
    data = _join_blocks(blocks, window.shifted(rows=-corner[0], cols=-corner[1]))
    job = replace(job, scene=attach_pixels(job.scene, data, (window.row_off, window.col_off)))
    _check_core(job, pixels, tile)
    patch = translate_tile(job, tile)
    shape = job.product_window(tile).shape
    n_bands = len(job.layout.bands)
    stack = np.full((n_bands + with_valid, *shape), job.layout.nodata or 0, job.layout.dtype)
    if patch is not None:
        stack[:n_bands] = patch.data
    if with_valid:
        stack[-1] = 0 if patch is None else patch.valid
    trim_heap_periodically()  # Also after empty tiles: other arrays of the session use the heap.
    return stack


def _check_core(job: Job, pixels: PixelOptions, tile: Tile) -> None:
    core = job.scene.read(tile.core, job.bands)
    check_block(
        job.spec, job.scene, job.bands, core,
        any_values=pixels.any_values, any_style=pixels.any_style,
    )  # fmt: skip


def _join_blocks(blocks: list[list[npt.NDArray[Any]]], window: Window) -> npt.NDArray[Any]:
    """The part of adjoining blocks `(C, h, w)` that lies in a window counted from the first."""
    first = np.asarray(blocks[0][0])
    product = np.empty((first.shape[0], *window.shape), first.dtype)
    top = 0
    for block_row in blocks:
        left = 0
        for block in block_row:
            height, width = block.shape[1:]
            block_window = Window(left, top, width, height)
            overlap = block_window.intersection(window)
            to_rows, to_cols = overlap.relative_to(window).slices
            rows, cols = overlap.relative_to(block_window).slices
            product[:, to_rows, to_cols] = block[:, rows, cols]
            left += width
        top += block_row[0].shape[1]
    return product


def _with_statistics(job: Job, empty_job: Job, norm_stats: str | os.PathLike[str] | None) -> Job:
    """The job with the statistics that its norms want of the scene."""
    return replace(
        empty_job, norm=resolve_norms(job, norm_stats=norm_stats, memory=None, recorded={})
    )
