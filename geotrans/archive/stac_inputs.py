"""Items of STAC: documents, catalogues, searches and stac-geoparquet files."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from geotrans.errors import SceneError, UsageError
from geotrans.scene.access.urls import is_url, strip_secrets

DOCUMENT_SUFFIXES = (".json", ".geojson")
TABLE_SUFFIXES = (".parquet", ".geoparquet")


def is_stac(text: str) -> bool:
    """Whether a file or URL is to be read as STAC."""
    path = text.partition("?")[0] if is_url(text) else text
    return path.lower().endswith((*DOCUMENT_SUFFIXES, *TABLE_SUFFIXES))


def read_items(text: str) -> Iterator[dict[str, Any]]:
    """Read the items of a document, catalogue or table, with absolute hrefs.

    Args:
        text: Path or URL of an Item, ItemCollection, Catalog, Collection or stac-geoparquet file.

    Raises:
        SceneError: If it cannot be read, or is none of these.
    """
    if text.partition("?")[0].lower().endswith(TABLE_SUFFIXES):
        yield from _read_table(text)
        return
    import pystac

    name = strip_secrets(text)
    try:
        document = json.loads(pystac.StacIO.default().read_text(text))
        kind = document.get("type") if isinstance(document, dict) else None
        if kind == "FeatureCollection" and all("stac_version" in f for f in document["features"]):
            for item in pystac.ItemCollection.from_dict(document):
                yield _resolve_hrefs(item, text)
        elif kind in ("Feature", "Catalog", "Collection") and "stac_version" in document:
            stac_object = pystac.read_file(text)
            if isinstance(stac_object, pystac.Catalog):
                for item in stac_object.get_items(recursive=True):
                    yield _resolve_hrefs(item, text)
            else:
                yield _resolve_hrefs(stac_object, text)
        else:
            raise SceneError(f"{name} is no STAC Item, ItemCollection, Catalog or Collection")
    except SceneError:
        raise
    except Exception as error:  # Of pystac, json and HTTP clients, without a common base.
        raise SceneError(f"{name} cannot be read as STAC: {_one_line(error)}") from error


def search_items(
    api: str,
    *,
    collection: Sequence[str] | None = None,
    bbox: Sequence[float] | None = None,
    datetime: str | None = None,
) -> Iterator[dict[str, Any]]:
    """Search a STAC API for items.

    Args:
        api: URL of the API.
        collection: Names of collections.
        bbox: `xmin, ymin, xmax, ymax`, lon-lat degrees.
        datetime: A moment or `START/END`, ISO 8601.

    Raises:
        SceneError: If it does not answer, or finds nothing.
    """
    import pystac_client

    n_items = 0
    try:
        client = pystac_client.Client.open(api)
        search = client.search(
            collections=None if collection is None else list(collection),
            bbox=None if bbox is None else list(bbox),
            datetime=datetime,
        )
        for item in search.items():
            n_items += 1
            yield _resolve_hrefs(item, api)
    except Exception as error:
        raise SceneError(f"STAC API {strip_secrets(api)} failed: {_one_line(error)}") from error
    if not n_items:
        query = {"collection": collection, "bbox": bbox, "datetime": datetime}
        text = ", ".join(f"{k} {v}" for k, v in query.items() if v) or "anything"
        raise SceneError(f"STAC API {strip_secrets(api)} has no item for {text}; ask for more")


def _read_table(text: str) -> Iterator[dict[str, Any]]:
    import pyarrow.parquet
    import stac_geoparquet.arrow

    if is_url(text):
        raise UsageError(
            f"{strip_secrets(text)}: fetch stac-geoparquet files first, they are read whole"
        )
    try:
        table = pyarrow.parquet.read_table(text)
        for item in stac_geoparquet.arrow.stac_table_to_items(table):
            yield _drop_none(item)
    except Exception as error:
        raise SceneError(f"{text} cannot be read as stac-geoparquet: {_one_line(error)}") from error


def _resolve_hrefs(item: Any, origin: str) -> dict[str, Any]:
    """An item as JSON, with hrefs relative to its origin made absolute."""
    if item.get_self_href() is None and not is_url(origin):
        # Hrefs of an item in an ItemCollection are relative to that.
        base = Path(origin).absolute().parent
        for asset in item.assets.values():
            if not is_url(asset.href):
                asset.href = str(base / asset.href)
    else:
        item.make_asset_hrefs_absolute()
    document: dict[str, Any] = item.to_dict(include_self_link=True, transform_hrefs=False)
    return document


def _drop_none(value: Any) -> Any:
    """Drop columns of a table that an item does not have."""
    if isinstance(value, Mapping):
        return {name: _drop_none(item) for name, item in value.items() if item is not None}
    return [_drop_none(item) for item in value] if isinstance(value, list) else value


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
