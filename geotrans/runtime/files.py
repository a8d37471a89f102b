"""Files that are written whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from geotrans.errors import OutputError


@contextmanager
def write_atomically(path: Path) -> Iterator[Path]:
    """Write a temporary file, which becomes the file if no error occurs.

    Its name is always the same, so that the next writer removes the file of a killed one; it is
    newly created, so that no link planted there is followed. If two processes write the same file,
    the first gets an error.

    Args:
        path: The file; an existing one is replaced.

    Yields:
        An empty file, to be written in place; it is synced to disk before it becomes `path`.

    Raises:
        OSError: If it cannot be written; an existing file is unchanged.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
    try:
        yield temporary
        os.fsync(descriptor)
        if not _is_same_file(descriptor, temporary):
            raise FileExistsError("another process is writing it")
        temporary.replace(path)
    finally:
        with suppress(OSError):
            if _is_same_file(descriptor, temporary):
                temporary.unlink()
        os.close(descriptor)


def write_whole(path: Path, content: bytes) -> None:
    """Write a file whole or not at all.

    Args:
        path: The file; an existing one is replaced.
        content: Its content.

    Raises:
        OutputError: If it cannot be written; an existing file is unchanged.
    """
    try:
        with write_atomically(path) as temporary:
            temporary.write_bytes(content)
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror or error}") from error


def _is_same_file(descriptor: int, path: Path) -> bool:
    """Whether a path is an open file, and not that of another writer."""
    return path.exists() and os.path.samestat(os.fstat(descriptor), path.stat())
