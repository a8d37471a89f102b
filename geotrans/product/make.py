"""Tiles made, encoded while they come, and published: the same for every kind of product."""

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
    """How the tiles of a product came about.

    Attributes:
        n_resumed: Tiles a run before had finished.
        network_s: Time a network worked, s; added up over processes.
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
    """Make the tiles that are not there yet, and the product.

    Args:
        work: What makes the tiles; the folder of their parts is ready.
        destination: Where the product goes.
        options: Its creation options, as `cog_options` gives them.
        tags: Tags of the product's default domain.
        xmp: Its XMP packet.
        label: What is going on, for `progress`.
        get_cluster: Gives the cluster whose workers make tiles; None leaves them to our threads.
        progress: How to tell how far it is.
        preview: Picture to be made of it; begins to read the source when all tiles are there.
    """
    canvas, parts = work.canvas, work.parts
    with parts.scratch() as scratch:
        whole = scratch / "product.tif"
        following = can_stream(options)
        with CogStream(canvas, parts, options, scratch) if following else nullcontext() as stream:
            done = _make_tiles(
                work, stream, label=label, get_cluster=get_cluster, progress=progress
            )
            if preview is not None:
                preview.look()
            if stream is not None:
                stream.finish(whole, tags=tags, xmp=xmp)
            else:
                is_masked = canvas.layout.nodata is None and has_gaps(canvas, parts)
                virtual = write_vrt(canvas, parts, tags=tags, xmp=xmp, is_masked=is_masked)
                write_cog(virtual, whole, options)
        parts.check_claim()
        destination.deliver(whole, preview)
    return done


@contextmanager
def open_parts(path: Path, canvas: RasterJob, *, overwrite: bool) -> Iterator[Parts]:
    """The folder of a product's finished tiles: gone with success, kept if the run ends early.

    Args:
        path: File of the product.
        canvas: What is made.
        overwrite: Whether parts of another run may be discarded.
    """
    parts = Parts.beside(path)
    parts.begin(canvas, overwrite=overwrite)
    with keep_parts_on_error(parts, canvas):
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
    canvas, parts = work.canvas, work.parts
    finished = parts.finished(canvas)
    if finished:
        _log.info("%d of %d tiles were finished before", len(finished), len(canvas.plan))
    if stream:
        for cell in finished:
            stream.feed(*cell)
    missing = [tile for tile in canvas.plan if (tile.row, tile.col) not in finished]
    n_px = sum(canvas.place(tile).width * canvas.place(tile).height for tile in missing)

    network_s: dict[str, float] = {}

    def done(receipt: Receipt) -> None:
        advance(receipt.n_px)
        network_s[receipt.process] = max(receipt.network_s, network_s.get(receipt.process, 0.0))
        if stream:
            stream.feed(receipt.row, receipt.col)

    cluster = get_cluster() if missing else None
    with progress(label, n_px) as advance:
        run_cells(work, [(tile.row, tile.col) for tile in missing], cluster=cluster, done=done)
    if all(parts.is_empty(tile) for tile in canvas.plan):
        raise SceneError(f"{canvas.scene.name} holds no valid pixel there; nothing to write")
    return MadeTiles(len(finished), sum(network_s.values()))


@contextmanager
def keep_parts_on_error(parts: Parts, canvas: RasterJob) -> Iterator[None]:
    """Say what is kept when a run ends early, and keep nothing where there is nothing."""
    try:
        yield
    except (GeotransError, KeyboardInterrupt) as error:
        n_kept = len(parts.finished(canvas)) if any(parts.folder.glob("r*.tif")) else 0
        if n_kept == 0:
            if parts.is_claimed:  # Else a later run may just have begun there.
                parts.discard()
            raise
        said = message_of(error) or "interrupted"
        raise type(error)(
            f"{said}; {n_kept} of {len(canvas.plan)} tiles are kept in {parts.folder}, and the "
            "same command goes on from there"
        ) from error
