"""Rasters behind a URL: GDAL's options for reading them, retries and secrets."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit, urlunsplit

# Read one window, not the neighbourhood: no directory listing, byte ranges merged into few
# requests, the header in one go and kept. A variable the user has set in the environment wins.
# Keys and tokens are found by GDAL where the tools of each store keep them, and nowhere else.
_OPTIONS: dict[str, str] = {
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    "GDAL_HTTP_MERGE_CONSECUTIVE_RANGES": "YES",
    "GDAL_HTTP_MULTIPLEX": "YES",
    "GDAL_HTTP_VERSION": "2",
    "GDAL_HTTP_CONNECTTIMEOUT": "20",
    "GDAL_HTTP_LOW_SPEED_TIME": "30",
    "GDAL_HTTP_LOW_SPEED_LIMIT": "1",
    "GDAL_HTTP_MAX_RETRY": "4",
    "GDAL_HTTP_RETRY_DELAY": "0.5",
    "GDAL_INGESTED_BYTES_AT_OPEN": "32768",
    # Do not cache closed files: a file opened again in the same process may have changed.
    "CPL_VSIL_CURL_NON_CACHED": "/vsi",
    "VSI_CACHE": "YES",
    "VSI_CACHE_SIZE": str(8 * 2**20),  # bytes a file
}

_REMOTE_PATTERN = re.compile(
    r"^(https?|ftp|s3|gs|az|oss|swift|webhdfs)://|^/vsi(curl|s3|gs|az|adls|oss)"
)
_URL_PATTERN = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]*://|^/vsi")


def is_remote(uri: str) -> bool:
    """Whether reading `uri` goes over the network."""
    return _REMOTE_PATTERN.match(uri) is not None


def is_url(uri: str) -> bool:
    """Whether `uri` is a URL or a GDAL virtual path rather than a path of this machine."""
    return _URL_PATTERN.match(uri) is not None


def gdal_env(uri: str, *, afresh: bool = False) -> AbstractContextManager[object]:
    """GDAL settings for reading `uri`; nothing for a local file.

    Args:
        uri: What is read.
        afresh: Ignore whatever is cached of it.
    """
    if not is_remote(uri):
        return nullcontext()
    import rasterio

    options = {k: v for k, v in (_OPTIONS | _store_options()).items() if k not in os.environ}
    if afresh:
        options |= {"VSI_CACHE": "NO", "CPL_VSIL_CURL_NON_CACHED": "/vsi"}
    env: AbstractContextManager[object] = rasterio.Env(**options)
    return env


def find_endpoint() -> str | None:
    """URL of the S3-compatible endpoint that the environment names; None for Amazon's own."""
    names = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
    if url := next(filter(None, map(os.environ.get, names)), None):
        return url.rstrip("/")
    if host := os.environ.get("AWS_S3_ENDPOINT"):
        is_plain = os.environ.get("AWS_HTTPS", "").upper() in ("NO", "FALSE", "OFF", "0")
        return f"{'http' if is_plain else 'https'}://{host}"
    return None


def _store_options() -> dict[str, str]:
    """GDAL's options for that endpoint, since GDAL ignores the variables of Amazon's tools."""
    if (url := find_endpoint()) is None:
        return {}
    scheme, _, host = url.partition("://")
    return {
        "AWS_S3_ENDPOINT": host,
        "AWS_HTTPS": "NO" if scheme == "http" else "YES",
        "AWS_VIRTUAL_HOSTING": "FALSE",
    }


# GDAL asks again where a server says it is busy. Where the line is cut in the middle of an answer
# it gives up, and so do we after as many more attempts as there are pauses here, s.
_PAUSES_S = (0.0, 0.5, 2.0, 5.0)

# What another attempt does not change.
_FINAL_PATTERN = re.compile(
    r"response code\D*4(0[0-79]|10)|does not exist|not recognized|no such|access ?denied|"
    r"credentials",
    re.IGNORECASE,
)


def retry_pauses_s(uri: str) -> Iterator[float]:
    """Seconds to wait before each further attempt to read `uri`; none for a local file."""
    return iter(_PAUSES_S if is_remote(uri) else ())


def is_final(reason: str) -> bool:
    """Whether GDAL's error message names a failure that a retry does not change."""
    return _FINAL_PATTERN.search(reason) is not None


def find_expiry(uri: str) -> datetime | None:
    """When a signed URL of S3, Google or Azure expires; None if it is not signed."""
    query = {key.lower(): values[-1] for key, values in parse_qs(urlsplit(uri).query).items()}
    try:
        for store in ("x-amz", "x-goog"):
            if f"{store}-expires" in query:
                signed_at = datetime.strptime(query[f"{store}-date"], "%Y%m%dT%H%M%SZ")
                return signed_at.replace(tzinfo=UTC) + timedelta(
                    seconds=int(query[f"{store}-expires"])
                )
        if "expires" in query:
            return datetime.fromtimestamp(int(query["expires"]), UTC)
        if "sig" in query and "se" in query:
            expires_at = datetime.fromisoformat(query["se"])
            return expires_at if expires_at.tzinfo else expires_at.replace(tzinfo=UTC)
    except (KeyError, ValueError, OverflowError, OSError):
        return None
    return None


def describe_expiry(uri: str) -> str:
    """`"; its signature expired ..."` if it did, or nothing."""
    expires_at = find_expiry(uri)
    if expires_at is None or expires_at > datetime.now(UTC):
        return ""
    return f"; its signature expired at {expires_at:%Y-%m-%d %H:%M:%S} UTC, so sign the URL anew"


def strip_secrets(uri: str) -> str:
    """`uri` without user, password and query, which carry keys and signatures."""
    if "://" not in uri:
        return uri.partition("?")[0] if uri.startswith("/vsi") else uri
    parts = urlsplit(uri)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, parts.path, "", ""))


def redact(text: str, uri: str) -> str:
    """A message about `uri` with the secrets of every URL in it removed."""
    query = uri.partition("?")[2] if is_url(uri) else ""
    text = text.replace(f"?{query}", "") if query else text
    return re.sub(r"\S*(?:://|/vsi)\S+", lambda match: strip_secrets(match[0]), text)
