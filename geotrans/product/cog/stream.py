"""A cloud-optimised GeoTIFF that is encoded while its tiles are still being made.

GDAL's COG driver can begin when the last tile is finished; it then reads every pixel twice and
encodes overviews twice. Here a thread encodes segments: as soon as the tiles of one are finished,
GDAL encodes its blocks and those of the first overview. The second overview is a raster of its own,
a sixteenth of the pixels, that is encoded in the same way, and so on. At the end only the last
segment of each remains, and copying bytes.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from functools import cached_property
from itertools import product
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import numpy as np
import rasterio
from rasterio.windows import Window as RasterioWindow

from geotrans.errors import GeotransError
from geotrans.grid import Window
from geotrans.parts import Parts, RasterJob
from geotrans.parts.assemble import find_tiles, read_parts
from geotrans.product.cog.driver import describe_write_error, write_class_names
from geotrans.product.cog.encode import BLOCK_PX, Encoded, encode, encoding_profile, make_head_tags
from geotrans.product.cog.tiff import Block, Image, Level, Tag, write_levels
from geotrans.scene import Patch

# Groups of blocks whose second overview depends on their own pixels only.
_GROUP_PX = 2 * BLOCK_PX
_FACTORS = (2, 4)

# Size of the pixels of a segment, bytes, and segments encoded at a time.
_SEGMENT_BYTES, _AT_ONCE = 8 * 2**20, 2

# Flags of a directory: of lower resolution, a mask.
_REDUCED, _MASK = 1, 4


class CogStream:
    """Encodes a product while its tiles are being computed.

    Args:
        job: The product.
        parts: Its tiles.
        options: Creation options, as `cog_options` returns them.
        scratch: Folder for encoded blocks, used by this stream only.
    """

    def __init__(
        self, job: RasterJob, parts: Parts, options: Mapping[str, str], scratch: Path
    ) -> None:
        self._job, self._parts, self._options = job, parts, options
        self._scratch = scratch
        self._profile = encoding_profile(job.layout, options)
        self._resampling = options["OVERVIEW_RESAMPLING"].upper()
        self._shapes = _pyramid_shapes((job.geobox.shape[0], job.geobox.shape[1]))
        # Every second overview: its pixels so far, and the segments that wait for them.
        step = len(_FACTORS)
        self._files: dict[int, Any] = {}
        self._waiting = {
            n: deque(self._iter_segments(n)) for n in range(step, len(self._shapes), step)
        }
        # Encoded blocks by level, whether of the mask, row and column.
        self._blocks: dict[tuple[int, bool, int, int], Block] = {}
        self._has_gaps = False
        self._missing = {(tile.row, tile.col) for tile in job.plan}
        self._failure: Exception | None = None
        self._is_stopped = False
        self._change = threading.Condition()
        self._thread = threading.Thread(target=self._encode_tiles, name="cog", daemon=True)

    def __enter__(self) -> Self:
        self._store: BinaryIO = (self._scratch / "blocks.bin").open("w+b")
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._change:
            self._is_stopped = True
            self._change.notify()
        self._thread.join()
        self._store.close()

    def add_tile(self, row: int, col: int) -> None:
        """Report that the tile of a cell of the plan is finished.

        Raises:
            OutputError: If encoding has failed, on a full disk, say.
        """
        with self._change:
            self._missing.discard((row, col))
            self._change.notify()
        self._raise_failure()

    def finish(self, path: Path, *, tags: Mapping[str, str], xmp: str) -> None:
        """Wait for the last block and write the file.

        Args:
            path: File to write.
            tags: Tags of its default domain.
            xmp: Its XMP packet.

        Raises:
            OutputError: If it cannot be written to the end.
        """
        while self._thread.is_alive():  # With a timeout, so that Ctrl-C works.
            self._thread.join(timeout=0.2)
        self._raise_failure()
        head = make_head_tags(
            self._job,
            self._profile,
            tags=tags,
            xmp=xmp,
            resampling=self._resampling if len(self._shapes) > 1 else None,
        )
        try:
            levels = [self._make_level(number, head) for number in range(len(self._shapes))]
            is_big = {"YES": True, "NO": False}.get(self._options["BIGTIFF"].upper())
            write_levels(path, levels, is_big=is_big)
            write_class_names(path, self._job.layout)
        except OSError as error:
            path.unlink(missing_ok=True)
            raise describe_write_error(error, path) from error

    def _raise_failure(self) -> None:
        if isinstance(self._failure, GeotransError):
            raise self._failure
        if self._failure is not None:
            raise describe_write_error(self._failure, self._parts.folder) from self._failure

    def _encode_tiles(self) -> None:
        """Encode all segments, in the thread."""
        try:
            with ExitStack() as stack:
                stack.enter_context(rasterio.Env(GDAL_TIFF_INTERNAL_MASK="YES"))
                self._files = {
                    n: stack.enter_context(self._open_overview(n)) for n in self._waiting
                }
                pool = stack.enter_context(ThreadPoolExecutor(_AT_ONCE, "encode"))
                pending: deque[tuple[Window, Future[Encoded]]] = deque()
                for window in self._iter_segments(0):
                    if not self._wait_for(window):
                        return
                    pending.append((window, pool.submit(self._encode_segment, window)))
                    if len(pending) == _AT_ONCE:
                        self._store_segment(0, *_pop_oldest(pending))
                while pending:
                    self._store_segment(0, *_pop_oldest(pending))
            self._store.flush()
        except Exception as error:  # Raised again in the thread that computes tiles.
            self._failure = error

    def _wait_for(self, window: Window) -> bool:
        """Wait until all tiles of a window are finished; False if the run ended before."""
        cells = {(tile.row, tile.col) for tile in find_tiles(self._job, window)}
        with self._change:
            self._change.wait_for(lambda: self._is_stopped or cells.isdisjoint(self._missing))
            return not self._is_stopped

    def _iter_segments(self, level: int) -> Iterator[Window]:
        """Windows of whole groups, as wide as memory allows, from the first to the last."""
        height, width = self._shapes[level]
        group_bytes = _GROUP_PX**2 * self._job.layout.bytes_per_px
        step = max(1, _SEGMENT_BYTES // group_bytes) * _GROUP_PX
        for top, left in product(range(0, height, _GROUP_PX), range(0, width, step)):
            yield Window(left, top, min(step, width - left), min(_GROUP_PX, height - top))

    def _encode_segment(self, window: Window) -> Encoded:
        """Encode a segment of full resolution from its tiles."""
        patch = read_parts(self._job, self._parts, window)
        if not patch.valid.all():
            self._has_gaps = True
        return self._encode(patch, factors=self._factors(0))

    def _store_segment(self, level: int, window: Window, encoded: Encoded) -> None:
        """Store a segment, and encode segments of smaller levels that are complete now."""
        row, col = window.row_off // BLOCK_PX, window.col_off // BLOCK_PX
        self._store_blocks(encoded, level=level, row=row, col=col)
        smaller = level + len(_FACTORS)
        if smaller not in self._files:
            return
        reduced = Window(
            window.col_off // _FACTORS[-1],
            window.row_off // _FACTORS[-1],
            encoded.reduced.valid.shape[1],
            encoded.reduced.valid.shape[0],
        )
        self._write_overview(smaller, reduced, encoded.reduced)
        # Segments come row by row: this may have been the last one of its row.
        is_last = reduced.col_end == self._shapes[smaller][1]
        n_rows = reduced.row_end if is_last else reduced.row_off
        segments = self._waiting[smaller]
        while segments and segments[0].row_end <= n_rows:
            segment = segments.popleft()
            patch = self._read_overview(smaller, segment)
            self._store_segment(
                smaller, segment, self._encode(patch, factors=self._factors(smaller))
            )

    def _write_overview(self, level: int, window: Window, patch: Patch) -> None:
        raster_window = RasterioWindow(window.col_off, window.row_off, window.width, window.height)
        self._files[level].write(patch.data, window=raster_window)
        if self._is_maskable:
            self._files[level].write_mask(patch.valid, window=raster_window)

    def _read_overview(self, level: int, window: Window) -> Patch:
        raster_window = RasterioWindow(window.col_off, window.row_off, window.width, window.height)
        valid = np.ones(window.shape, bool)
        if self._is_maskable:
            valid = self._files[level].read_masks(1, window=raster_window) != 0
        return Patch(self._files[level].read(window=raster_window), valid)

    def _factors(self, level: int) -> tuple[int, ...]:
        return _FACTORS[: len(self._shapes) - 1 - level]

    def _encode(self, patch: Patch, *, factors: tuple[int, ...]) -> Encoded:
        return encode(patch, self._profile, factors=factors, resampling=self._resampling)

    def _store_blocks(self, encoded: Encoded, *, level: int, row: int, col: int) -> None:
        """Store the blocks of a segment whose first block is `(row, col)`."""
        for is_mask, images in ((False, encoded.images), (True, encoded.masks)):
            for number, factor in enumerate((1, 2), start=level):
                if (image := images.get(factor)) is None:
                    continue
                n_cols = -(-image.shape[1] // BLOCK_PX)
                for i, block in enumerate(image.blocks):
                    down, right = divmod(i, n_cols)
                    cell = row // factor + down, col // factor + right
                    self._blocks[number, is_mask, *cell] = self._store_block(block)

    def _store_block(self, block: Block) -> Block:
        offset = self._store.tell()
        self._store.write(block.read())
        return Block(self._store, offset, block.size)

    @property
    def _is_maskable(self) -> bool:
        return self._job.layout.nodata is None and self._job.scene.maskable

    def _open_overview(self, level: int) -> Any:
        """Open a raster for the pixels of an overview."""
        height, width = self._shapes[level]
        return rasterio.open(
            self._scratch / f"overview{level}.tif",
            "w+",
            driver="GTiff",
            height=height,
            width=width,
            count=len(self._job.layout.bands),
            dtype=self._job.layout.dtype,
            nodata=self._job.layout.nodata,
            photometric=self._profile["photometric"],
            alpha="NO",
            tiled=True,
            interleave="pixel",
            bigtiff="IF_SAFER",
        )

    def _make_level(self, number: int, head: Mapping[int, Tag]) -> Level:
        """Assemble full resolution or an overview from the stored blocks."""
        shape = self._shapes[number]
        n_rows, n_cols = (-(-n // BLOCK_PX) for n in shape)
        cells = [(row, col) for row in range(n_rows) for col in range(n_cols)]
        image = Image(head, [self._blocks[number, False, *cell] for cell in cells])
        if number:
            image = replace(image, tags=image.derive_tags(shape, subfile=_REDUCED))
        if not self._has_gaps:
            return Level(image)
        # Blocks without gaps were stored without a mask: they all share one that is fully valid.
        full = self._full_mask
        blocks = [self._blocks.get((number, True, *cell), full.blocks[0]) for cell in cells]
        tags = full.derive_tags(shape, subfile=_MASK | (_REDUCED if number else 0))
        return Level(image, Image(tags, blocks))

    @cached_property
    def _full_mask(self) -> Image:
        """A mask in whose first block every pixel is valid."""
        shape = (BLOCK_PX, 2 * BLOCK_PX)
        valid = np.ones(shape, bool)
        valid[:, BLOCK_PX:] = False
        data = np.zeros((len(self._job.layout.bands), *shape), self._job.layout.dtype)
        mask = self._encode(Patch(data, valid), factors=()).masks[1]
        return replace(mask, blocks=[self._store_block(block) for block in mask.blocks])


def _pop_oldest(pending: deque[tuple[Window, Future[Encoded]]]) -> tuple[Window, Encoded]:
    window, encoded = pending.popleft()
    return window, encoded.result()


def _pyramid_shapes(shape: tuple[int, int]) -> list[tuple[int, int]]:
    """Shapes of all resolutions as GDAL's COG driver chooses them, down to one block."""
    shapes = [shape]
    edge = max(shape)
    while edge > BLOCK_PX:
        edge //= 2
        height, width = shapes[-1]
        shapes.append((-(-height // 2), -(-width // 2)))
    return shapes
