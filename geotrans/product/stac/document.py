"""Fields, links and files that all our STAC documents share."""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from geotrans.runtime.files import write_whole

VERSION = "1.1.0"

COG = "image/tiff; application=geotiff; profile=cloud-optimized"
JSON = "application/json"
GEOJSON = "application/geo+json"

# Common names that the eo extension knows; others are left out.
_COMMON_NAMES = {
    "pan", "coastal", "blue", "green", "green05", "yellow", "red", "rededge", "rededge071",
    "rededge075", "rededge078", "nir", "nir08", "nir09", "cirrus", "swir16", "swir22", "lwir",
    "lwir11", "lwir12",
}  # fmt: skip


def extension_url(name: str, version: str) -> str:
    """URL of an extension's schema."""
    return f"https://stac-extensions.github.io/{name}/v{version}/schema.json"


def make_link(rel: str, href: str, kind: str, **fields: Any) -> dict[str, Any]:
    """A link of a document."""
    return {"rel": rel, "href": href, "type": kind, **fields}


def common_name_field(name: str | None) -> dict[str, str]:
    """`eo:common_name` of a band, if it is one."""
    return {"eo:common_name": name} if name in _COMMON_NAMES else {}


def checksum_fields(path: Path) -> dict[str, Any]:
    """Size and SHA-256 of a file by the file extension: a multihash, 0x12 0x20 before the hash."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"file:size": path.stat().st_size, "file:checksum": f"1220{digest}"}


def relative_href(target: str | os.PathLike[str], folder: Path) -> str:
    """A file relative to a folder, with slashes."""
    href = Path(os.path.relpath(target, folder)).as_posix()
    return href if href.startswith("../") else f"./{href}"


def file_url(path: Path) -> str:
    """URL of a file of this machine, for documents that go elsewhere."""
    return path.absolute().as_uri()


def encode_document(document: dict[str, Any]) -> bytes:
    """A document as it is written."""
    return (json.dumps(document, indent=1, ensure_ascii=False) + "\n").encode()


def write_document(document: dict[str, Any], path: Path) -> Path:
    """Write a document, whole or not at all; an equal one is left as it is."""
    content = encode_document(document)
    with suppress(OSError):
        if path.read_bytes() == content:
            return path
    write_whole(path, content)
    return path
