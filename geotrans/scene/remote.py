"""Rasters behind a URL: how GDAL is told to fetch them."""

from __future__ import annotations

import os
import re
from contextlib import AbstractContextManager, nullcontext
from urllib.parse import urlsplit, urlunsplit

# Read one window, not the neighbourhood: no directory listing, byte ranges merged into few
# requests, the header in one go. A variable the user has set in the environment wins.
_OPTIONS: dict[str, str] = {
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    "GDAL_HTTP_MERGE_CONSECUTIVE_RANGES": "YES",
    "GDAL_HTTP_MULTIPLEX": "YES",
    "GDAL_HTTP_VERSION": "2",
    "GDAL_HTTP_CONNECTTIMEOUT": "20",
    "GDAL_HTTP_LOW_SPEED_TIME": "60",
    "GDAL_HTTP_LOW_SPEED_LIMIT": "1",
    "GDAL_HTTP_MAX_RETRY": "4",
    "GDAL_HTTP_RETRY_DELAY": "0.5",
    "VSI_CACHE": "YES",
    "VSI_CACHE_SIZE": str(8 * 2**20),  # bytes a file
}

_REMOTE = re.compile(r"^(https?|ftp|s3|gs|az|oss|swift|webhdfs)://|^/vsi(curl|s3|gs|az|adls|oss)")
_SCHEME = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]*://|^/vsi")


def is_remote(uri: str) -> bool:
    """Whether reading `uri` goes over the network."""
    return _REMOTE.match(uri) is not None


def is_url(uri: str) -> bool:
    """Whether `uri` is a URL or a GDAL virtual path rather than a path of this machine."""
    return _SCHEME.match(uri) is not None


def gdal_env(uri: str) -> AbstractContextManager[object]:
    """GDAL settings for reading `uri`; nothing for a local file."""
    if not is_remote(uri):
        return nullcontext()
    import rasterio

    env: AbstractContextManager[object] = rasterio.Env(
        **{k: v for k, v in _OPTIONS.items() if k not in os.environ}
    )
    return env


def without_secrets(uri: str) -> str:
    """`uri` without user, password and query, which carry keys and signatures."""
    if "://" not in uri:
        return uri.partition("?")[0] if uri.startswith("/vsi") else uri
    parts = urlsplit(uri)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, parts.path, "", ""))
