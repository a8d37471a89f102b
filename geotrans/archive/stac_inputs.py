"""Items of STAC: documents, catalogues, searches and stac-geoparquet files."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from geotrans.errors import SceneError, UsageError
from geotrans.scene.access.urls import is_url, strip_secrets

DOCUMENTS = (".json", ".geojson")
TABLES = (".parquet", ".geoparquet")


def is_stac(text: str) -> bool:
    """Whether a file or URL is to be read as STAC."""
    path = text.partition("?")[0] if is_url(text) else text
    return path.lower().endswith((*DOCUMENTS, *TABLES))


def read_items(text: str) -> Iterator[dict[str, Any]]:
    """Items of a document, catalogue or table, with absolute hrefs.

    Args:
        text: Path or URL of an Item, ItemCollection, Catalog, Collection or stac-geoparquet file.

    Raises:
        SceneError: If it cannot be read, or is none of these.
    """
    if text.partition("?")[0].lower().endswith(TABLES):
        yield from _table(text)
        return
    import pystac

    shown = strip_secrets(text)
    try:
        document = json.loads(pystac.StacIO.default().read_text(text))
        kind = document.get("type") if isinstance(document, dict) else None
        if kind == "FeatureCollection" and all("stac_version" in f for f in document["features"]):
            for item in pystac.ItemCollection.from_dict(document):
                yield _absolute(item, text)
        elif kind in ("Feature", "Catalog", "Collection") and "stac_version" in document:
            found = pystac.read_file(text)
            if isinstance(found, pystac.Catalog):
                for item in found.get_items(recursive=True):
                    yield _absolute(item, text)
            else:
                yield _absolute(found, text)
        else:
            raise SceneError(f"{shown} is no STAC Item, ItemCollection, Catalog or Collection")
    except SceneError:
        raise
    except Exception as error:  # Of pystac, json and whatever fetches, with no root in common.
        raise SceneError(f"{shown} cannot be read as STAC: {_line(error)}") from error


def search_items(
    api: str,
    *,
    collection: Sequence[str] | None = None,
    bbox: Sequence[float] | None = None,
    datetime: str | None = None,
) -> Iterator[dict[str, Any]]:
    """Items that a STAC API finds.

    Args:
        api: Its URL.
        collection: Names of collections.
        bbox: `xmin, ymin, xmax, ymax`, lon-lat degrees.
        datetime: A moment or `START/END`, ISO 8601.

    Raises:
        SceneError: If it does not answer, or finds nothing.
    """
    import pystac_client

    found = False
    try:
        client = pystac_client.Client.open(api)
        search = client.search(
            collections=None if collection is None else list(collection),
            bbox=None if bbox is None else list(bbox),
            datetime=datetime,
        )
        for item in search.items():
            found = True
            yield _absolute(item, api)
    except Exception as error:
        raise SceneError(f"STAC API {strip_secrets(api)} failed: {_line(error)}") from error
    if not found:
        asked = {"collection": collection, "bbox": bbox, "datetime": datetime}
        told = ", ".join(f"{k} {v}" for k, v in asked.items() if v) or "anything"
        raise SceneError(f"STAC API {strip_secrets(api)} has no item for {told}; ask for more")


def _table(text: str) -> Iterator[dict[str, Any]]:
    import pyarrow.parquet
    import stac_geoparquet.arrow

    if is_url(text):
        raise UsageError(
            f"{strip_secrets(text)}: fetch stac-geoparquet files first, they are read whole"
        )
    try:
        table = pyarrow.parquet.read_table(text)
        for item in stac_geoparquet.arrow.stac_table_to_items(table):
            yield _plain(item)
    except Exception as error:
        raise SceneError(f"{text} cannot be read as stac-geoparquet: {_line(error)}") from error


def _absolute(item: Any, where: str) -> dict[str, Any]:
    """An item as JSON, its assets found from where it lies."""
    if item.get_self_href() is None and not is_url(where):
        # Of one in a collection of items, what it refers to lies beside that.
        base = Path(where).absolute().parent
        for asset in item.assets.values():
            if not is_url(asset.href):
                asset.href = str(base / asset.href)
    else:
        item.make_asset_hrefs_absolute()
    document: dict[str, Any] = item.to_dict(include_self_link=True, transform_hrefs=False)
    return document


def _plain(value: Any) -> Any:
    """Without the columns of a table that an item does not have."""
    if isinstance(value, Mapping):
        return {name: _plain(one) for name, one in value.items() if one is not None}
    return [_plain(one) for one in value] if isinstance(value, list) else value


def _line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
