"""GDAL as the making of a product wants it."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import rasterio
from rasterio.errors import NotGeoreferencedWarning

# Of GDAL's block cache, bytes; its default is a twentieth of the machine.
GDAL_CACHE_BYTES = 32 * 2**20


@contextmanager
def quiet_gdal() -> Iterator[None]:
    """GDAL and warnings as the making of a product wants them."""
    with warnings.catch_warnings(), rasterio.Env(GDAL_CACHEMAX=GDAL_CACHE_BYTES):
        # A scene without coordinates is handled as itself, and said so by its notes.
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        yield
