"""A cloud-optimised GeoTIFF that is encoded while its tiles are still being made.

GDAL's COG driver can begin when the last tile is there; it then reads every pixel twice and encodes
overviews twice. Here a thread follows the tiles: as soon as the rows of a group are whole, GDAL
encodes their blocks and those of the first overview. What is left at the end is an image of a
sixteenth of the pixels, which goes through the COG driver, and the moving of bytes.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import numpy as np
import rasterio
from rasterio.windows import Window as RasterioWindow

from geotrans.errors import GeotransError
from geotrans.grid import Window
from geotrans.mosaicking import Canvas, Parts
from geotrans.mosaicking.assemble import read_parts
from geotrans.product.cog import told, write_class_names, write_cog
from geotrans.product.encode import BLOCK_PX, Encoded, encode, encoding, head_tags
from geotrans.product.tiff import Block, Image, Level, Tag, read_images, write_levels
from geotrans.scene import Patch

# Blocks are made in groups whose second overview is made of their own pixels alone.
_GROUP_PX = 2 * BLOCK_PX
_FACTORS = (2, 4)

# Pixels held at a time, bytes.
_SEGMENT_BYTES = 16 * 2**20

# What a directory says it is: of lower resolution, a mask.
_REDUCED, _MASK = 1, 4


class CogStream:
    """Encodes a product behind the tiles that are being made.

    Args:
        canvas: What is being made.
        parts: Where its tiles appear.
        options: Creation options, as `cog_options` gives them.
        scratch: Folder for what is encoded, of this one alone.
    """

    def __init__(
        self, canvas: Canvas, parts: Parts, options: Mapping[str, str], scratch: Path
    ) -> None:
        self._canvas, self._parts, self._options = canvas, parts, options
        self._scratch = scratch
        self._profile = encoding(canvas.layout, options)
        self._resampling = options["OVERVIEW_RESAMPLING"].upper()
        self._shapes = _pyramid((canvas.geobox.shape[0], canvas.geobox.shape[1]))
        # Encoded blocks by level, whether of the mask, row and column.
        self._blocks: dict[tuple[int, bool, int, int], Block] = {}
        self._has_gaps = False
        self._missing = Counter(tile.row for tile in canvas.plan)
        self._failure: Exception | None = None
        self._is_stopped = False
        self._change = threading.Condition()
        self._thread = threading.Thread(target=self._follow, name="cog", daemon=True)

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

    def feed(self, row: int) -> None:
        """Say that a tile in this row of the plan is finished.

        Raises:
            OutputError: If encoding has failed, the disk being full, say.
        """
        with self._change:
            self._missing[row] -= 1
            self._change.notify()
        self._raise_failure()

    def finish(self, path: Path, *, tags: Mapping[str, str], xmp: str) -> None:
        """Wait for the last block and put the file together.

        Args:
            path: File to write.
            tags: Tags of its default domain.
            xmp: Its XMP packet.

        Raises:
            OutputError: If it cannot be written to the end.
        """
        while self._thread.is_alive():  # With a timeout, so that Ctrl-C is heard.
            self._thread.join(timeout=0.2)
        self._raise_failure()
        tail = self._scratch / "overviews.tif"
        if len(self._shapes) > 2:
            smaller = len(self._shapes) - 3
            count = {"OVERVIEW_COUNT": str(smaller)} if smaller else {"OVERVIEWS": "NONE"}
            write_cog(self._reduced, tail, {**self._options, **count})
        head = head_tags(
            self._canvas,
            self._profile,
            tags=tags,
            xmp=xmp,
            resampling=self._resampling if len(self._shapes) > 1 else None,
        )
        try:
            with ExitStack() as stack:
                levels = [self._level(i, head) for i in range(min(2, len(self._shapes)))]
                if len(self._shapes) > 2:
                    levels += self._tail(stack.enter_context(tail.open("rb")), levels[0].image)
                is_big = {"YES": True, "NO": False}.get(self._options["BIGTIFF"].upper())
                write_levels(path, levels, is_big=is_big)
            write_class_names(path, self._canvas.layout)
        except OSError as error:
            path.unlink(missing_ok=True)
            raise told(error, path) from error

    @property
    def _reduced(self) -> Path:
        """The second overview, until it has overviews of its own."""
        return self._scratch / "reduced.tif"

    def _raise_failure(self) -> None:
        if isinstance(self._failure, GeotransError):
            raise self._failure
        if self._failure is not None:
            raise told(self._failure, self._parts.folder) from self._failure

    def _follow(self) -> None:
        """What the thread does."""
        height, _ = self._shapes[0]
        try:
            with ExitStack() as stack:
                stack.enter_context(rasterio.Env(GDAL_TIFF_INTERNAL_MASK="YES"))
                reduced = None
                if len(self._shapes) > 2:
                    reduced = stack.enter_context(self._open_reduced())
                for top in range(0, height, _GROUP_PX):
                    if not self._wait_for(min(top + _GROUP_PX, height)):
                        return
                    for window in self._segments(top):
                        self._take(window, reduced)
            self._store.flush()
        except Exception as error:  # Raised again where the tiles are made.
            self._failure = error

    def _wait_for(self, row: int) -> bool:
        """Wait until the product is whole down to `row`; False if the run ended before."""
        with self._change:
            self._change.wait_for(lambda: self._is_stopped or self._whole_to() >= row)
            return not self._is_stopped

    def _whole_to(self) -> int:
        """First row of the product that is not finished, px."""
        plan = self._canvas.plan
        row = next((r for r in range(plan.n_rows) if self._missing[r] > 0), None)
        return self._shapes[0][0] if row is None else self._canvas.place(plan.tile(row, 0)).row_off

    def _segments(self, top: int) -> Iterator[Window]:
        """Windows of whole groups, as wide as memory allows."""
        height, width = self._shapes[0]
        group_bytes = _GROUP_PX**2 * self._canvas.layout.bytes_per_px
        step = max(1, _SEGMENT_BYTES // group_bytes) * _GROUP_PX
        for left in range(0, width, step):
            yield Window(left, top, min(step, width - left), min(_GROUP_PX, height - top))

    def _take(self, window: Window, reduced: Any) -> None:
        """Encode a segment: keep its blocks, and its pixels at a quarter of the resolution."""
        patch = read_parts(self._canvas, self._parts, window)
        encoded = self._encode(patch, factors=_FACTORS[: len(self._shapes) - 1])
        self._keep(encoded, row=window.row_off // BLOCK_PX, col=window.col_off // BLOCK_PX)
        self._has_gaps |= not patch.valid.all()
        if reduced is not None:
            data, valid = encoded.reduced.data, encoded.reduced.valid
            corner = window.col_off // _FACTORS[-1], window.row_off // _FACTORS[-1]
            at = RasterioWindow(*corner, data.shape[2], data.shape[1])
            reduced.write(data, window=at)
            if self._is_maskable:
                reduced.write_mask(valid, window=at)

    def _encode(self, patch: Patch, *, factors: tuple[int, ...]) -> Encoded:
        return encode(patch, self._profile, factors=factors, resampling=self._resampling)

    def _keep(self, encoded: Encoded, *, row: int, col: int) -> None:
        """Move the blocks of a segment whose first block is `(row, col)` to the store."""
        for is_mask, images in ((False, encoded.images), (True, encoded.masks)):
            for level, factor in enumerate((1, 2)):
                if (image := images.get(factor)) is None:
                    continue
                n_cols = -(-image.shape[1] // BLOCK_PX)
                for number, block in enumerate(image.blocks):
                    down, right = divmod(number, n_cols)
                    place = row // factor + down, col // factor + right
                    self._blocks[level, is_mask, *place] = self._stored(block)

    def _stored(self, block: Block) -> Block:
        offset = self._store.tell()
        self._store.write(block.read())
        return Block(self._store, offset, block.size)

    @property
    def _is_maskable(self) -> bool:
        return self._canvas.layout.nodata is None and self._canvas.scene.maskable

    def _open_reduced(self) -> Any:
        height, width = self._shapes[2]
        return rasterio.open(
            self._reduced,
            "w",
            driver="GTiff",
            height=height,
            width=width,
            count=len(self._canvas.layout.bands),
            dtype=self._canvas.layout.dtype,
            nodata=self._canvas.layout.nodata,
            photometric=self._profile["photometric"],
            alpha="NO",
            tiled=True,
            interleave="pixel",
            bigtiff="IF_SAFER",
        )

    def _level(self, number: int, head: Mapping[int, Tag]) -> Level:
        """Full resolution or the first overview, out of the blocks that were kept."""
        shape = self._shapes[number]
        n_rows, n_cols = (-(-n // BLOCK_PX) for n in shape)
        cells = [(row, col) for row in range(n_rows) for col in range(n_cols)]
        image = Image(head, [self._blocks[number, False, *cell] for cell in cells])
        if number:
            image = replace(image, tags=image.kin(shape, subfile=_REDUCED))
        if not self._has_gaps:
            return Level(image)
        # Blocks without gaps were kept without a mask: one that says so serves them all.
        whole = self._whole_mask()
        everywhere = self._stored(whole.blocks[0])
        blocks = [self._blocks.get((number, True, *cell), everywhere) for cell in cells]
        tags = whole.kin(shape, subfile=_MASK | (_REDUCED if number else 0))
        return Level(image, Image(tags, blocks))

    def _whole_mask(self) -> Image:
        """A mask of one block in which every pixel is valid."""
        shape = (BLOCK_PX, 2 * BLOCK_PX)
        valid = np.ones(shape, bool)
        valid[:, BLOCK_PX:] = False
        data = np.zeros((len(self._canvas.layout.bands), *shape), self._canvas.layout.dtype)
        return self._encode(Patch(data, valid), factors=()).masks[1]

    def _tail(self, file: BinaryIO, head: Image) -> Iterator[Level]:
        """The smaller overviews, as the COG driver wrote them."""
        images = read_images(file)
        masks = {image.shape: image for image in images if image.is_mask}
        for image in images:
            if image.is_mask:
                continue
            shape = image.shape
            tags = head.kin(shape, subfile=_REDUCED, codec=image)
            mask = None
            if self._has_gaps:
                found = masks[shape]
                mask = replace(found, tags=found.kin(shape, subfile=_MASK | _REDUCED))
            yield Level(replace(image, tags=tags), mask)


def _pyramid(shape: tuple[int, int]) -> list[tuple[int, int]]:
    """Shapes of all resolutions as GDAL's COG driver chooses them: until one block holds all."""
    shapes = [shape]
    rest = max(shape)
    while rest > BLOCK_PX:
        rest //= 2
        height, width = shapes[-1]
        shapes.append((-(-height // 2), -(-width // 2)))
    return shapes
