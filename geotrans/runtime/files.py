"""Files that are there whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from geotrans.errors import OutputError


@contextmanager
def write_atomically(path: Path) -> Iterator[Path]:
    """A name beside a file to write under, which becomes the file if all goes well.

    It is always one name, so that the next writer takes away what a killed one left; it is made
    anew, so that no link planted there is followed. Where two write one file at once, the first
    is told.

    Args:
        path: The file; an existing one is replaced.

    Yields:
        An empty file, to be written in place; it is on the disk before it becomes `path`.

    Raises:
        OSError: If it cannot be written; what was there before is still there.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.unlink(missing_ok=True)
    made = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
    try:
        yield temporary
        os.fsync(made)
        if not _is_same_file(made, temporary):
            raise FileExistsError("another process is writing it")
        temporary.replace(path)
    finally:
        with suppress(OSError):
            if _is_same_file(made, temporary):
                temporary.unlink()
        os.close(made)


def write_whole(path: Path, content: bytes) -> None:
    """Write a file whole or not at all.

    Args:
        path: The file; an existing one is replaced.
        content: What shall be in it.

    Raises:
        OutputError: If it cannot be written; what was there before is still there.
    """
    try:
        with write_atomically(path) as temporary:
            temporary.write_bytes(content)
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror or error}") from error


def _is_same_file(made: int, path: Path) -> bool:
    """Whether a name is that of an open file, and not of another writer's."""
    return path.exists() and os.path.samestat(os.fstat(made), path.stat())
