"""TIFF files read and written as directories of tags and encoded blocks.

GDAL encodes every block and writes every tag; this module only rearranges them, so that no pixel is
compressed twice for a cloud-optimised file.

References:
    TIFF 6.0 (Adobe, 1992); BigTIFF; "Cloud optimized GeoTIFF", GDAL documentation of the COG
    driver, for the order of directories and blocks and for the structural metadata before them.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import BinaryIO

# Numbers of the tags that are read or written here.
SUBFILE, WIDTH, HEIGHT, XMP, METADATA = 254, 256, 257, 700, 42112
OFFSETS, SIZES = 324, 325

# Tags an overview shares with its image: compression, predictor, edges of a block, samples,
# colours, nodata.
PIXEL_TAGS = (259, 317, 322, 323, 258, 262, 277, 284, 320, 338, 339, 42113)

BYTE, ASCII, SHORT, LONG, LONG8 = 1, 2, 3, 4, 16
_FORMATS = {BYTE: "B", SHORT: "H", LONG: "I", LONG8: "Q"}
_KIND_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4,
               16: 8, 17: 8, 18: 8}  # fmt: skip

_STRUCTURE = (
    "LAYOUT=IFDS_BEFORE_DATA\n"
    "BLOCK_ORDER=ROW_MAJOR\n"
    "BLOCK_LEADER=SIZE_AS_UINT4\n"
    "BLOCK_TRAILER=LAST_4_BYTES_REPEATED\n"
    "KNOWN_INCOMPATIBLE_EDITION=NO\n "  # Whoever edits the file writes YES over "NO\n ".
)
_MASKED = "MASK_INTERLEAVED_WITH_IMAGERY=YES\n"

# A classic TIFF counts its bytes in 32 bits.
_CLASSIC_LIMIT = 2**32 - 2**16


@dataclass(frozen=True)
class Tag:
    """A tag: type, number of values, and the stored values."""

    kind: int
    count: int
    content: bytes

    @classmethod
    def pack(cls, kind: int, *values: int) -> Tag:
        """Make a tag of whole numbers."""
        return cls(kind, len(values), struct.pack(f"<{len(values)}{_FORMATS[kind]}", *values))

    @property
    def numbers(self) -> tuple[int, ...]:
        """Its values, if they are whole numbers."""
        return struct.unpack(f"<{self.count}{_FORMATS[self.kind]}", self.content)


@dataclass(frozen=True)
class Block:
    """An encoded block: an open file, and its place in it."""

    file: BinaryIO
    offset: int
    size: int

    def read(self) -> bytes:
        """Read the encoded bytes."""
        self.file.seek(self.offset)
        return self.file.read(self.size)


@dataclass(frozen=True)
class Image:
    """An image or mask of a TIFF: its tags, but for those about blocks, and its blocks by rows."""

    tags: Mapping[int, Tag]
    blocks: Sequence[Block]

    @property
    def shape(self) -> tuple[int, int]:
        """`(height, width)`, px."""
        return self.tags[HEIGHT].numbers[0], self.tags[WIDTH].numbers[0]

    @property
    def is_mask(self) -> bool:
        """Whether it is the mask of another image of the same shape."""
        return SUBFILE in self.tags and bool(self.tags[SUBFILE].numbers[0] & 4)

    def derive_tags(self, shape: tuple[int, int], *, subfile: int) -> dict[int, Tag]:
        """Tags of an image with the same kind of pixels.

        Args:
            shape: Its `(height, width)`, px.
            subfile: Its kind: 1 of lower resolution, 4 a mask, 5 both.
        """
        tags = {number: tag for number, tag in self.tags.items() if number in PIXEL_TAGS}
        height, width = shape
        return tags | {
            SUBFILE: Tag.pack(LONG, subfile),
            WIDTH: Tag.pack(LONG, width),
            HEIGHT: Tag.pack(LONG, height),
        }


@dataclass(frozen=True)
class Level:
    """One resolution of a file: its image and, if it has one, its mask."""

    image: Image
    mask: Image | None = None


def read_images(file: BinaryIO) -> list[Image]:
    """Read the directories of a little-endian TIFF, in the order of the file."""

    def unpack(form: str, offset: int) -> tuple[int, ...]:
        file.seek(offset)
        return struct.unpack(f"<{form}", file.read(struct.calcsize(f"<{form}")))

    is_big = unpack("2sH", 0)[1] == 43
    word, count_form, slot = ("Q", "Q", 8) if is_big else ("I", "H", 4)
    (position,) = unpack(word, 8 if is_big else 4)
    images = []
    while position:
        (n_tags,) = unpack(count_form, position)
        entry = position + struct.calcsize(f"<{count_form}")
        tags = {}
        for _ in range(n_tags):
            number, kind, count = unpack(f"HH{word}", entry)
            size = count * _KIND_BYTES[kind]
            value = entry + 4 + slot
            (offset,) = (value,) if size <= slot else unpack(word, value)
            file.seek(offset)
            tags[number] = Tag(kind, count, file.read(size))
            entry += 4 + 2 * slot
        (position,) = unpack(word, entry)
        offsets, sizes = tags.pop(OFFSETS).numbers, tags.pop(SIZES).numbers
        blocks = [Block(file, o, s) for o, s in zip(offsets, sizes, strict=True)]
        images.append(Image(tags, blocks))
    return images


def write_levels(path: Path, levels: Sequence[Level], *, is_big: bool | None = None) -> None:
    """Write a cloud-optimised TIFF: directories first, then blocks, the smallest level first.

    Args:
        path: File to write.
        levels: Full resolution first; all have a mask, or none has.
        is_big: Whether to write a BigTIFF; unless given, if the size requires it.
    """
    if is_big is None:
        is_big = _lay_out(levels, is_big=False)[2] > _CLASSIC_LIMIT
    head, directories, _ = _lay_out(levels, is_big=is_big)
    with path.open("wb") as file:
        file.write(head)
        for directory in directories:
            file.write(directory)
        for level in reversed(levels):
            for block in _iter_blocks(level):
                content = block.read()
                file.write(struct.pack("<I", len(content)))
                file.write(content)
                file.write(content[-4:])


def _iter_blocks(level: Level) -> Iterable[Block]:
    """Blocks of a level by rows, each followed by that of the mask."""
    masks = level.mask.blocks if level.mask else ()
    for image, mask in zip_longest(level.image.blocks, masks):
        yield image
        if mask is not None:
            yield mask


def _lay_out(levels: Sequence[Level], *, is_big: bool) -> tuple[bytes, list[bytes], int]:
    """Lay out a file: its head, its directories, and its size, bytes."""
    images = [image for level in levels for image in (level.image, level.mask) if image]
    structure = _STRUCTURE + (_MASKED if levels[0].mask else "")
    ghost = f"GDAL_STRUCTURAL_METADATA_SIZE={len(structure):06d} bytes\n{structure}".encode()
    first = (16 if is_big else 8) + len(ghost)
    first += first % 2
    header = struct.pack("<2sHHHQ", b"II", 43, 8, 0, first) if is_big else struct.pack(
        "<2sHI", b"II", 42, first
    )  # fmt: skip
    head = (header + ghost).ljust(first, b"\0")
    # Directories have the same size whatever the offsets are: measure them, then fill them.
    zeros = {id(image): [0] * len(image.blocks) for image in images}
    sizes = [
        len(_encode_directory(image, zeros[id(image)], 0, 0, is_big=is_big)) for image in images
    ]
    starts = [first + sum(sizes[:i]) for i in range(len(images) + 1)]
    position = starts.pop()
    offsets: dict[int, list[int]] = {id(image): [] for image in images}
    for level in reversed(levels):
        owners = [offsets[id(image)] for image in (level.image, level.mask) if image]
        for number, block in enumerate(_iter_blocks(level)):
            owners[number % len(owners)].append(position + 4)
            position += 8 + block.size
    directories = [
        _encode_directory(image, offsets[id(image)], start, following, is_big=is_big)
        for image, start, following in zip(images, starts, [*starts[1:], 0], strict=True)
    ]
    return head, directories, position


def _encode_directory(
    image: Image, offsets: Sequence[int], start: int, following: int, *, is_big: bool
) -> bytes:
    """Encode a directory, followed by the values that do not fit into its entries."""
    word, slot = ("Q", 8) if is_big else ("I", 4)
    largest = 2 ** (8 * slot) - 1  # A too large file is first measured as classic.
    tags = {
        **image.tags,
        OFFSETS: Tag.pack(LONG8 if is_big else LONG, *(n & largest for n in offsets)),
        SIZES: Tag.pack(LONG, *(block.size for block in image.blocks)),
    }
    n_bytes = (8 if is_big else 2) + len(tags) * (4 + 2 * slot) + slot
    entries, values = b"", b""
    for number, tag in sorted(tags.items()):
        content = tag.content
        if len(content) > slot:
            offset = start + n_bytes + len(values)
            values += content + b"\0" * (len(content) % 2)
            content = struct.pack(f"<{word}", offset)
        entries += struct.pack(f"<HH{word}", number, tag.kind, tag.count)
        entries += content.ljust(slot, b"\0")
    count = struct.pack("<Q" if is_big else "<H", len(tags))
    return count + entries + struct.pack(f"<{word}", following) + values
