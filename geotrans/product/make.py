"""Tiles computed, encoded meanwhile, and published: the same for every kind of product."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from geotrans.errors import GeotransError, SceneError, message_of
from geotrans.execution.cluster import Cluster
from geotrans.execution.run import run_cells
from geotrans.parts import Parts, RasterJob
from geotrans.parts.assemble import has_gaps, write_vrt
from geotrans.parts.writer import Receipt, Writer
from geotrans.product.cog.driver import write_cog
from geotrans.product.cog.encode import can_stream
from geotrans.product.cog.stream import CogStream
from geotrans.product.destination import Destination
from geotrans.product.preview import Preview
from geotrans.runtime.progress import Progress

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class MadeTiles:
    """How the tiles of a product were made.

    Attributes:
        n_resumed: Tiles that an earlier run had finished.
        network_s: Time networks ran, s; summed over processes.
    """

    n_resumed: int
    network_s: float


def make_product(
    work: Writer,
    destination: Destination,
    options: Mapping[str, str],
    *,
    tags: Mapping[str, str],
    xmp: str,
    label: str,
    get_cluster: Callable[[], Cluster | None],
    progress: Progress,
    preview: Preview | None = None,
) -> MadeTiles:
    """Compute the missing tiles, and write the product.

    Args:
        work: Computes the tiles; the folder of their parts is prepared.
        destination: Where the product goes.
        options: Its creation options, as `cog_options` gives them.
        tags: Tags of the product's default domain.
        xmp: Its XMP packet.
        label: Name of the step, for `progress`.
        get_cluster: Returns the cluster that computes the tiles; None for threads of this process.
        progress: Shows progress.
        preview: Preview to write; it begins to read the source when all tiles are finished.
    """
    job, parts = work.job, work.parts
    with parts.scratch_folder() as scratch:
        product = scratch / "product.tif"
        is_streamed = can_stream(options)
        with CogStream(job, parts, options, scratch) if is_streamed else nullcontext() as stream:
            tiles = _make_tiles(
                work, stream, label=label, get_cluster=get_cluster, progress=progress
            )
            if preview is not None:
                preview.start_reading()
            if stream is not None:
                stream.finish(product, tags=tags, xmp=xmp)
            else:
                is_masked = job.layout.nodata is None and has_gaps(job, parts)
                vrt = write_vrt(job, parts, tags=tags, xmp=xmp, is_masked=is_masked)
                write_cog(vrt, product, options)
        parts.check_claim()
        destination.deliver(product, preview)
    return tiles


@contextmanager
def open_parts(path: Path, job: RasterJob, *, overwrite: bool) -> Iterator[Parts]:
    """Open the folder of finished tiles: removed on success, kept if the run ends early.

    Args:
        path: File of the product.
        job: The product.
        overwrite: Whether parts of another run may be discarded.
    """
    parts = Parts.beside(path)
    parts.begin(job, overwrite=overwrite)
    with keep_parts_on_error(parts, job):
        yield parts
    parts.discard()


def _make_tiles(
    work: Writer,
    stream: CogStream | None,
    *,
    label: str,
    get_cluster: Callable[[], Cluster | None],
    progress: Progress,
) -> MadeTiles:
    job, parts = work.job, work.parts
    finished = parts.find_finished(job)
    if finished:
        _log.info("%d of %d tiles were finished before", len(finished), len(job.plan))
    if stream:
        for cell in finished:
            stream.add_tile(*cell)
    missing = [tile for tile in job.plan if (tile.row, tile.col) not in finished]
    n_px = sum(job.product_window(tile).width * job.product_window(tile).height for tile in missing)

    network_s: dict[str, float] = {}

    def record(receipt: Receipt) -> None:
        advance(receipt.n_px)
        network_s[receipt.process] = max(receipt.network_s, network_s.get(receipt.process, 0.0))
        if stream:
            stream.add_tile(receipt.row, receipt.col)

    cluster = get_cluster() if missing else None
    with progress(label, n_px) as advance:
        run_cells(work, [(tile.row, tile.col) for tile in missing], cluster=cluster, on_done=record)
    if all(parts.is_empty(tile) for tile in job.plan):
        raise SceneError(f"{job.scene.name} holds no valid pixel there; nothing to write")
    return MadeTiles(len(finished), sum(network_s.values()))


@contextmanager
def keep_parts_on_error(parts: Parts, job: RasterJob) -> Iterator[None]:
    """Add to an error how many tiles are kept; without any, remove the folder."""
    try:
        yield
    except (GeotransError, KeyboardInterrupt) as error:
        n_kept = len(parts.find_finished(job)) if any(parts.folder.glob("r*.tif")) else 0
        if n_kept == 0:
            if parts.is_claimed:  # Else a later run may have begun there.
                parts.discard()
            raise
        message = message_of(error) or "interrupted"
        raise type(error)(
            f"{message}; {n_kept} of {len(job.plan)} tiles are kept in {parts.folder}, and the "
            "same command goes on from there"
        ) from error
