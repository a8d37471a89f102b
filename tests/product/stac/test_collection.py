"""Collections: where and when their items lie."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from geotrans.errors import OutputError
from geotrans.product.stac.collection import make_collection
from geotrans.product.stac.document import write_document
from tests.helpers.stac import read_valid


def test_a_collection_surrounds_its_items(tmp_path: Path) -> None:
    def item(bbox: list[float] | None, **times: str | None) -> dict[str, Any]:
        return {"bbox": bbox, "properties": {"datetime": None, **times}}

    items = [
        ("a.json", item([1, 2, 3, 4], datetime="2020-01-01T00:00:00Z")),
        (
            "b.json",
            item(
                [-1, 3, 2, 5],
                start_datetime="2019-01-01T00:00:00Z",
                end_datetime="2021-01-01T00:00:00Z",
            ),
        ),
        ("c.json", item(None, datetime="2020-06-01T00:00:00Z")),
    ]
    path = tmp_path / "collection.json"
    words = {"title": "t", "description": "d"}
    document = make_collection(path, **words, items=items)
    write_document(document, path)
    assert document["extent"]["spatial"]["bbox"] == [[-1, 2, 3, 5]]
    assert document["extent"]["temporal"]["interval"] == [
        ["2019-01-01T00:00:00Z", "2021-01-01T00:00:00Z"]
    ]
    across = [*items, ("d.json", item([170, -10, -170, 0], datetime="2020-01-01T00:00:00Z"))]
    document = make_collection(path, **words, items=across)
    assert document["extent"]["spatial"]["bbox"] == [[-180, -10, 180, 5]]
    write_document(make_collection(path, **words, items=[]), path)
    read_valid(path)
    with pytest.raises(OutputError, match="cannot be written"):
        write_document(document, tmp_path / "none" / "collection.json")
