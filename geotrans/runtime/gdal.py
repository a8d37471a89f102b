"""Settings of GDAL for products."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import rasterio
from rasterio.errors import NotGeoreferencedWarning

# Size of GDAL's block cache, bytes; its default is a twentieth of the machine's memory.
GDAL_CACHE_BYTES = 32 * 2**20


@contextmanager
def quiet_gdal() -> Iterator[None]:
    """Limit GDAL's cache, and silence its warnings on scenes without coordinates."""
    with warnings.catch_warnings(), rasterio.Env(GDAL_CACHEMAX=GDAL_CACHE_BYTES):
        # Scenes without coordinates are supported, and their notes say so.
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        yield
