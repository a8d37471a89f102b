"""The header of a safetensors file, read and checked without torch.

A safetensors file is an 8-byte little-endian length, that many bytes of JSON, and the tensors one
after another. Nothing in it is executed, and nothing here believes a number before it is checked.
"""

from __future__ import annotations

import json
import math
import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geotrans.errors import BundleError

MAX_HEADER_BYTES = 16 * 2**20
_ITEM_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1}
_ITEM_BYTES |= {"U64": 8, "U32": 4, "U16": 2, "U8": 1, "BOOL": 1}
# A zip file, as torch writes, or the opcode that starts a pickle.
_PICKLES = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")


@dataclass(frozen=True)
class TensorInfo:
    """Type and shape of one tensor, as the header gives them."""

    dtype: str
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """Number of values."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class Header:
    """What a safetensors file says about itself.

    Attributes:
        metadata: Free text by key.
        tensors: What it holds, by name.
        n_bytes: Size of the file.
    """

    metadata: dict[str, str]
    tensors: dict[str, TensorInfo]
    n_bytes: int


def read_header(path: Path) -> Header:
    """Read the header of a safetensors file and check the file against it.

    Raises:
        BundleError: If the file is missing, unreadable, truncated, damaged or of another kind.
    """
    try:
        with path.open("rb") as file:
            n_bytes = os.fstat(file.fileno()).st_size
            head = file.read(8)
            length = _header_length(path, head, n_bytes)
            text = file.read(length)
    except FileNotFoundError as error:
        raise BundleError(f"bundle {path} does not exist") from error
    except IsADirectoryError as error:
        raise BundleError(
            f"{path} is a directory, not a bundle; name a .safetensors file"
        ) from error
    except OSError as error:
        if isinstance(error, BundleError):
            raise
        raise BundleError(f"bundle {path} cannot be read: {error.strerror or error}") from error
    try:
        entries = json.loads(text)
        metadata = entries.pop("__metadata__", {})
        tensors = {name: _parse_tensor(entry) for name, entry in entries.items()}
        end = max((entry["data_offsets"][1] for entry in entries.values()), default=0)
        if not all(isinstance(v, str) for v in metadata.values()):
            raise TypeError("metadata that is not text")
    except (
        ArithmeticError,
        AttributeError,
        LookupError,
        RecursionError,
        TypeError,
        ValueError,
    ) as error:
        raise BundleError(
            f"{path} is damaged or no bundle: its header is not what a safetensors file begins with"
        ) from error
    if end != n_bytes - 8 - length:
        state = "truncated" if end > n_bytes - 8 - length else "damaged"
        raise BundleError(
            f"bundle {path} is {state}: it should hold {8 + length + end} bytes and holds "
            f"{n_bytes}; copy or download it again"
        )
    return Header(metadata, tensors, n_bytes)


def _header_length(path: Path, head: bytes, n_bytes: int) -> int:
    """Length of the JSON part, if these first bytes can be those of a safetensors file."""
    if n_bytes == 0:
        raise BundleError(f"bundle {path} is empty; copy or download it again")
    # A header of 1152 bytes begins as a pickle does; a pickle would announce one far too long.
    (length,) = struct.unpack("<Q", head) if len(head) == 8 else (0,)
    if head.startswith(_PICKLES) and not 2 <= length <= MAX_HEADER_BYTES:
        raise BundleError(
            f"{path} is a pickle or an archive, such as a PyTorch checkpoint, which can run code "
            "when it is loaded; geotrans reads bundles in .safetensors files only"
        )
    if len(head) < 8:
        raise BundleError(f"bundle {path} is truncated: it holds {n_bytes} bytes")
    if not 2 <= length <= MAX_HEADER_BYTES:
        raise BundleError(f"{path} is no bundle: it does not begin as a safetensors file does")
    if length > n_bytes - 8:
        raise BundleError(
            f"bundle {path} is truncated or no bundle: it announces a header of {length} bytes and "
            f"holds {n_bytes}"
        )
    return int(length)


def _parse_tensor(entry: Any) -> TensorInfo:
    """A tensor's entry, if its type, shape and place in the file agree."""
    shape = tuple(int(n) for n in entry["shape"])
    start, end = entry["data_offsets"]
    info = TensorInfo(entry["dtype"], shape)
    if start < 0 or min(shape, default=0) < 0 or end - start != info.size * _ITEM_BYTES[info.dtype]:
        raise ValueError("a tensor whose size does not fit its place")
    return info
