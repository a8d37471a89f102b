"""Cloud-optimised GeoTIFFs by GDAL's COG driver."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import rasterio
import rasterio.shutil
from affine import Affine
from rasterio.io import MemoryFile

from geotrans.errors import OutputError, UsageError, option, suggest
from geotrans.parts import Layout
from geotrans.runtime.threads import run_in_thread, wait_interruptibly
from geotrans.scene import Patch
from geotrans.scene.views.classes import write_category_names

# Options of GDAL's COG driver that apply to a product on its own grid.
_KNOWN_OPTIONS = (
    "BIGTIFF",
    "BLOCKSIZE",
    "COMPRESS",
    "GEOTIFF_VERSION",
    "INTERLEAVE",
    "JXL_DISTANCE",
    "JXL_EFFORT",
    "JXL_LOSSLESS",
    "LEVEL",
    "MAX_Z_ERROR",
    "MAX_Z_ERROR_OVERVIEW",
    "NBITS",
    "NUM_THREADS",
    "OVERVIEWS",
    "OVERVIEW_COMPRESS",
    "OVERVIEW_COUNT",
    "OVERVIEW_PREDICTOR",
    "OVERVIEW_QUALITY",
    "OVERVIEW_RESAMPLING",
    "PREDICTOR",
    "QUALITY",
    "RESAMPLING",
    "SPARSE_OK",
    "STATISTICS",
)

# With less free space than this, GDAL failed because the disk is full, whatever its message.
_FULL_BYTES = 2**20


def cog_options(layout: Layout, overrides: Mapping[str, str] | None = None) -> dict[str, str]:
    """Creation options of a product.

    Args:
        layout: What its pixels are.
        overrides: Options that replace or join the defaults.

    Raises:
        UsageError: If the driver knows no such option, or refuses a value.
    """
    classes = layout.classes is not None
    options = {
        "BLOCKSIZE": "512",
        "COMPRESS": "DEFLATE",
        # With a predictor the fastest level is also the smallest on photographs; classes are runs
        # of equal values, where a predictor only costs.
        "LEVEL": "6" if classes else "1",
        "PREDICTOR": "NO" if classes else "YES",
        "OVERVIEWS": "AUTO",
        "OVERVIEW_RESAMPLING": "MODE" if classes else "AVERAGE",
        "BIGTIFF": "IF_SAFER",
        "NUM_THREADS": "ALL_CPUS",
    }
    custom = {key.upper(): str(value) for key, value in (overrides or {}).items()}
    for key in custom:
        if key not in _KNOWN_OPTIONS:
            raise UsageError(
                f"GDAL's COG driver has no option '{key}'{suggest(key, _KNOWN_OPTIONS)}"
            )
    size = custom.get("BLOCKSIZE", "512")
    if not size.isdigit() or int(size) < 64 or int(size) % 16:  # GDAL divides by what it gets.
        raise UsageError(f"BLOCKSIZE {size} is no multiple of 16 from 64 px on")
    if "COMPRESS" in custom:  # Another codec counts its levels otherwise, or has no predictor.
        options = {k: v for k, v in options.items() if k not in {"LEVEL", "PREDICTOR"}}
    options |= custom
    if custom:
        _write_with_driver(layout, options)
    return options


def write_cog(raster: Path, path: Path, options: Mapping[str, str]) -> None:
    """Write a raster, virtual or not, as a cloud-optimised GeoTIFF.

    Args:
        raster: What to write.
        path: File to write.
        options: Creation options of the COG driver.

    Raises:
        OutputError: If it cannot be written to the end.
    """

    def copy() -> None:
        with rasterio.Env(GDAL_NUM_THREADS="ALL_CPUS", GDAL_TIFF_INTERNAL_MASK="YES"):
            rasterio.shutil.copy(raster, path, driver="COG", **options)

    try:
        wait_interruptibly(run_in_thread(copy, name="cog"))  # GDAL does not react to Ctrl-C.
        _check_end(path)
    except Exception as error:  # Some of GDAL's errors are no RasterioError.
        failure = describe_write_error(error, path)  # Before removal frees the disk.
        for leftover in path.parent.glob(f"{path.name}*"):
            leftover.unlink()
        raise failure from error


def write_class_names(path: Path, layout: Layout) -> None:
    """Write the names of classes beside a GeoTIFF, which has no room for them; QGIS shows them."""
    if not any(item.name for item in layout.classes or ()):
        return
    write_category_names(path, [item.name for item in layout.classes or ()])


def publish(product: Path, path: Path) -> None:
    """Move a finished product to its name, atomically.

    Args:
        product: The finished file, on the same disk.
        path: Its name; an existing file is replaced.
    """
    try:
        # GDAL keeps class names in a file beside it.
        names, old = (p.with_name(f"{p.name}.aux.xml") for p in (product, path))
        old.unlink(missing_ok=True)
        if names.exists():
            names.replace(old)
        product.replace(path)
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror}") from error


def _check_end(path: Path) -> None:
    """Read the last block of every band: GDAL does not report what fails while a file is closed."""
    with rasterio.open(path) as product:
        last = list(product.block_windows(1))[-1][1]
        product.read(window=last)
        product.read_masks(1, window=last)


def describe_write_error(error: Exception, path: Path) -> OutputError:
    """Describe why a file could not be written."""
    folder = path.parent
    if folder.exists() and shutil.disk_usage(folder).free < _FULL_BYTES:
        return OutputError(f"{folder} cannot be written: No space left on device")
    return OutputError(f"{path} cannot be written: {' '.join(str(error).split())}")


def measure_cog(patch: Patch, layout: Layout, options: Mapping[str, str]) -> tuple[int, float]:
    """Measure the size, bytes, and time, s, of a patch as a cloud-optimised GeoTIFF."""
    start = time.perf_counter()
    n_bytes = _encode_in_memory(patch.data, layout, options)
    return n_bytes, time.perf_counter() - start


def _write_with_driver(layout: Layout, options: Mapping[str, str]) -> None:
    """Write a few pixels with options of a user: GDAL reports errors now, not at the end."""
    messages: list[str] = []
    listener = _Listener(messages)
    gdal = logging.getLogger("rasterio._env")
    gdal.addHandler(listener)
    try:
        _encode_in_memory(np.zeros((len(layout.bands), 16, 16), layout.dtype), layout, options)
    except Exception as error:
        messages.append(" ".join(str(error).split()))
    finally:
        gdal.removeHandler(listener)
    if messages:
        raise UsageError(
            f"GDAL's COG driver refuses these {option('creation_options')}: {messages[0]}"
        )


class _Listener(logging.Handler):
    """Collects the warnings of GDAL, which ignores values it does not know."""

    def __init__(self, messages: list[str]) -> None:
        super().__init__(logging.WARNING)
        self._messages = messages

    def emit(self, record: logging.LogRecord) -> None:
        self._messages.append(record.getMessage().partition(" in ")[2] or record.getMessage())


def _encode_in_memory(data: npt.NDArray[Any], layout: Layout, options: Mapping[str, str]) -> int:
    """Encode pixels as a cloud-optimised GeoTIFF in memory; returns its size, bytes."""
    count, height, width = data.shape
    profile = {
        "driver": "GTiff",
        "width": width,
        "height": height,
        "count": count,
        "dtype": layout.dtype,
        "transform": Affine(1, 0, 1, 0, -1, 1),
    }
    with MemoryFile() as source, MemoryFile() as product:
        with source.open(**profile) as dataset:
            dataset.write(data)
        with source.open() as dataset:
            rasterio.shutil.copy(dataset, product.name, driver="COG", **options)
        return len(product.getbuffer())
