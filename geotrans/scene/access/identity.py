"""Which pixels a source holds, so that a rerun knows whether they changed."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

# Larger sources are told apart by size and time: hashing 2 GiB takes seconds, more takes minutes.
MAX_HASHED_BYTES = 2 * 2**30

# Written beside a raster by whoever looks at it; they change no pixel.
SIDECARS = (".aux.xml", ".ovr")


@dataclass(frozen=True)
class SourceIdentity:
    """Which pixels a source holds.

    Attributes:
        kind: `"sha256"` of the one file; `"sha256-set"` of the names and hashes of its several
            files; `"etag"` of a remote file; `"stat"`, size and time; `"token"` of an array;
            `"uri"` if nothing else is known.
    value: Unique among identities of its kind.
    """

    kind: Literal["sha256", "sha256-set", "etag", "stat", "token", "uri"]
    value: str

    def __str__(self) -> str:
        return f"{self.kind}:{self.value}"


def identify_files(files: Sequence[str]) -> SourceIdentity:
    """Identity of a local raster made of one or more files, the main one first."""
    paths = [Path(f) for f in files if not f.endswith(SIDECARS)]
    stats = [path.stat() for path in paths]
    if sum(stat.st_size for stat in stats) > MAX_HASHED_BYTES:
        parts = (
            f"{path.name} {stat.st_size} {stat.st_mtime_ns}"
            for path, stat in zip(paths, stats, strict=True)
        )
        return SourceIdentity("stat", "; ".join(parts))
    hashes = [_sha256(path) for path in paths]
    if len(hashes) == 1:
        return SourceIdentity("sha256", hashes[0])
    lines = (f"{digest}  {path.name}\n" for digest, path in zip(hashes, paths, strict=True))
    return SourceIdentity("sha256-set", hashlib.sha256("".join(lines).encode()).hexdigest())


def identify_url(url: str, *, timeout_s: float = 30.0) -> SourceIdentity:
    """Identity of a file behind http or https: its etag, else its size and time."""
    from http.client import HTTPException
    from urllib.error import URLError
    from urllib.request import Request, urlopen

    # Some servers, and every signed URL, refuse HEAD: ask for one byte instead.
    for request in (
        Request(url, method="HEAD"),
        Request(url, headers={"Range": "bytes=0-0"}),
    ):
        try:
            with urlopen(request, timeout=timeout_s) as response:
                headers = response.headers
        except (URLError, HTTPException, OSError, ValueError):
            continue
        if etag := headers.get("ETag"):
            return SourceIdentity("etag", etag.removeprefix("W/").strip('"'))
        size = headers.get("Content-Range", "").rpartition("/")[2] or headers.get("Content-Length")
        if modified := headers.get("Last-Modified"):
            return SourceIdentity("stat", f"{size} {modified}")
    return SourceIdentity("uri", url.partition("?")[0])


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
