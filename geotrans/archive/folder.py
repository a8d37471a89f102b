"""The folder of an archive's products: whether it can be written, and what it should hold."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from geotrans.archive.inputs import Entry
from geotrans.archive.journal import Row
from geotrans.errors import OutputError, UsageError

# A URL, or what a path makes of it.
_IN_A_STORE = re.compile(r"[A-Za-z][\w+.-]+:/")

# A disk that does not take so much takes no product, bytes.
_LEAST_BYTES = 2**16


def product_path(folder: Path, name: str, task: str) -> Path:
    """Where the product of a scene is."""
    return folder / f"{name}_{task}.tif"


def folder_of(out: str | os.PathLike[str]) -> Path:
    """The folder that was asked for.

    Raises:
        UsageError: If it is in a store.
    """
    if _IN_A_STORE.match(os.fspath(out)):
        raise UsageError(
            f"{out} is in a store; the journal of an archive needs a disk: give a folder of this "
            "machine, and copy it when it is whole"
        )
    return Path(out).expanduser()


def make_folder(folder: Path) -> None:
    """Make a folder, and see that it can be written.

    Raises:
        OutputError: If it cannot.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"{folder} cannot be made: {error.strerror}; choose another -o"
        ) from error
    if told := trouble(folder):
        raise OutputError(f"{told}; choose another -o")


def trouble(folder: Path, told: str | None = None) -> str | None:
    """What keeps anything from being written into a folder.

    Args:
        folder: Where the products are.
        told: Why the last one could not be written: a disk that was too full for it may still have
            room for a probe, and none for the next one.
    """
    full = os.strerror(errno.ENOSPC)
    if full in (told or ""):
        return f"{folder} cannot be written: {full}"
    probe = folder / ".probe.tmp"
    try:
        probe.write_bytes(bytes(_LEAST_BYTES))
    except OSError as error:
        return f"{folder} cannot be written: {error.strerror}"
    finally:
        with suppress(OSError):
            probe.unlink(missing_ok=True)
    return None


def lost(entries: Iterable[Entry], rows: Mapping[str, Row], folder: Path, task: str) -> set[str]:
    """Keys of scenes that are done and whose products are no longer there."""
    done = (rows[e.key] for e in entries if e.key in rows and rows[e.key].state == "done")
    return {row.key for row in done if not product_path(folder, row.name, task).is_file()}
