"""Fingerprints of sources, which show whether one has changed without reading it again."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor

from geotrans.archive.inputs import Entry
from geotrans.archive.journal import Row
from geotrans.scene.access.identity import identify_url
from geotrans.scene.access.stores import identify_object, is_object
from geotrans.scene.access.urls import is_url, strip_secrets

# Requests to servers at a time.
_N_THREADS = 16


def fingerprint_files(files: Iterable[str]) -> str:
    """Size and time of local files, etag of remote ones and of objects in stores, as JSON.

    Names are kept without signatures, which differ from day to day.
    """
    return json.dumps(
        {strip_secrets(file): _fingerprint_file(file) for file in files}, sort_keys=True
    )


def find_changed(entries: Iterable[Entry], rows: Mapping[str, Row]) -> set[str]:
    """Keys of scenes that are done or failed and whose files have changed since."""
    finished = [
        (entry, row)
        for entry in entries
        if (row := rows.get(entry.key)) and row.state in ("done", "failed") and row.fingerprint
    ]
    with ThreadPoolExecutor(_N_THREADS) as pool:
        same = pool.map(lambda pair: _is_same(*pair), finished)
        return {
            entry.key for (entry, _), is_same in zip(finished, same, strict=True) if not is_same
        }


def _is_same(entry: Entry, row: Row) -> bool:
    signed = {strip_secrets(uri): uri for uri in entry.hrefs}
    for file, old in json.loads(row.fingerprint or "{}").items():
        new = _fingerprint_file(signed.get(file, file))
        # A server that gives no etag is no sign of a change, nor is one that gave none when the
        # scene was translated.
        is_known = not new.startswith("uri") and not (row.state == "done" and old.startswith("uri"))
        if is_known and new != old:
            return False
    return True


def _fingerprint_file(file: str) -> str:
    if file.startswith(("http://", "https://", "/vsicurl/")):
        return str(identify_url(file.removeprefix("/vsicurl/")))
    if is_object(file):
        return str(identify_object(file))
    if is_url(file):
        return "uri"
    try:
        stat = os.stat(file)
    except OSError:
        return "missing"
    return f"{stat.st_size} {stat.st_mtime_ns}"
