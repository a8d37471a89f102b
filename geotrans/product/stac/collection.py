"""One static STAC Collection over items that lie beside it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from geotrans.errors import OutputError
from geotrans.product.stac.document import GEOJSON, JSON, VERSION, make_link


def make_collection(
    path: Path,
    *,
    title: str,
    description: str,
    items: Iterable[tuple[str, Mapping[str, Any]]],
    licence: str = "other",
) -> dict[str, Any]:
    """A collection.

    Args:
        path: Where the document will lie; its folder names it.
        title: One line.
        description: What the items are, Markdown.
        items: File of each item, relative to the collection, and of the item at least `bbox` and
            the times among its `properties`.
        licence: SPDX identifier.
    """
    links, bboxes, starts, ends = [], [], [], []
    for href, item in items:
        links.append(make_link("item", f"./{href}", GEOJSON))
        if item.get("bbox"):
            bboxes.append(item["bbox"])
        times = item["properties"]
        starts.append(times.get("start_datetime") or times["datetime"])
        ends.append(times.get("end_datetime") or times["datetime"])
    return {
        "type": "Collection",
        "stac_version": VERSION,
        "stac_extensions": [],
        "id": path.parent.resolve().name,
        "title": title,
        "description": description,
        "license": licence,
        "extent": {
            "spatial": {"bbox": [_merge_bbboxes(bboxes)]},
            "temporal": {"interval": [[min(starts, default=None), max(ends, default=None)]]},
        },
        "links": [make_link("root", f"./{path.name}", JSON), *links],
    }


def make_folder(folder: Path) -> None:
    """Make a folder for documents."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder} cannot be made: {error.strerror}") from error


def _merge_bbboxes(bboxes: list[list[float]]) -> list[float]:
    """The smallest bbox around all; around the globe where one crosses the date line."""
    south, north = (
        min((b[1] for b in bboxes), default=-90.0),
        max((b[3] for b in bboxes), default=90.0),
    )
    if not bboxes or any(west > east for west, _, east, _ in bboxes):
        return [-180.0, south, 180.0, north]
    return [min(b[0] for b in bboxes), south, max(b[2] for b in bboxes), north]
