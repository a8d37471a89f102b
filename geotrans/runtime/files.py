"""Small files, whole or not at all."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from geotrans.errors import OutputError


def write_whole(path: Path, content: bytes) -> None:
    """Write a file beside its place, then put it there; an existing one is replaced.

    What a killed writer leaves beside it, the next one takes away. Two must not write one file at
    once.

    Args:
        path: The file.
        content: What shall be in it.

    Raises:
        OutputError: If it cannot be written; what was there before is still there.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise OutputError(f"{path} cannot be written: {error.strerror or error}") from error
