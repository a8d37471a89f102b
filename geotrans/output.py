"""Rasters written window by window, whole or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rasterio.errors import RasterioError

from geotrans.errors import OutputError, SceneError, UsageError, option
from geotrans.grid import Window
from geotrans.runtime.files import write_atomically

# Shape of a window, px; whole blocks.
_WINDOW_SHAPE = 512, 2048
# A disk with less room left is full.
_FULL_BYTES = 1 << 16


def check_output(
    path: Path, *, overwrite: bool, inputs: tuple[Any, ...], what: str = "map"
) -> Path:
    """Check, before any work, that an output can be written."""
    path = path.expanduser()
    folder = path.parent
    if path.suffix.lower() not in (".tif", ".tiff"):
        raise UsageError(f"the {what} is a GeoTIFF; {path} must end in .tif")
    if not folder.is_dir():
        raise OutputError(f"output directory {folder} does not exist; make it first")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise OutputError(f"output directory {folder} is read-only; choose another")
    if path.exists():
        for source in inputs:
            is_file = isinstance(source, str | os.PathLike) and Path(source).exists()
            if is_file and path.samefile(source):
                raise OutputError(f"{path} is an input; choose another output")
        if not path.is_file():
            raise OutputError(f"{path} exists and is no file; choose another output")
        if not overwrite:
            raise OutputError(
                f"{path} exists; replace it with {option('overwrite', True)} or choose another"
            )
    return path


def iter_windows(height: int, width: int) -> Iterator[Window]:
    """Windows that cover every pixel once; down first, so that neighbours share their vectors."""
    rows, cols = _WINDOW_SHAPE
    for left in range(0, width, cols):
        for top in range(0, height, rows):
            yield Window(left, top, min(cols, width - left), min(rows, height - top))


@contextmanager
def write_whole_raster(path: Path) -> Iterator[Path]:
    """Write a temporary file, which becomes `path` on success and is removed on errors."""
    try:
        with write_atomically(path) as partial:
            try:
                yield partial
            except RasterioError:  # Before removal frees the disk.
                if shutil.disk_usage(path.parent).free >= _FULL_BYTES:
                    raise
                raise OSError("no space left on device") from None
        for suffix in (".aux.xml", ".msk", ".ovr"):  # Of the replaced file.
            path.with_name(path.name + suffix).unlink(missing_ok=True)
    except (SceneError, OutputError):
        raise
    except (RasterioError, OSError) as error:
        reason = error.__cause__ or error
        raise OutputError(f"cannot write {path}: {' '.join(str(reason).split())}") from error
