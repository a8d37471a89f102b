"""STAC in: items, catalogues, searches and tables as scenes of an archive."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet
import pystac
import pytest
import rasterio
import stac_geoparquet.arrow

import geotrans
from geotrans.archive.inputs import ItemOptions, find_entries, select_entries
from geotrans.errors import SceneError, UsageError
from tests.helpers.http_server import serve
from tests.helpers.scenes import write_scene


def _item(folder: Path, name: str, **extra: Any) -> pystac.Item:
    """An item of three assets of a band each, beside which it is written."""
    folder.mkdir(parents=True, exist_ok=True)
    item = pystac.Item(
        name, {"type": "Point", "coordinates": [1, 2]}, [1, 2, 1, 2],
        pystac.utils.str_to_datetime("2021-05-01T10:00:00Z"), {},
    )  # fmt: skip
    for i, color in enumerate(("red", "green", "blue")):
        path = folder / f"{name}_{color}.tif"
        data = np.full((1, 40, 48), 10 * (i + 1), np.uint8)
        write_scene(path, shape=(40, 48), bands=1, data=data)
        asset = pystac.Asset(f"./{path.name}", media_type=pystac.MediaType.COG, roles=["data"])
        asset.extra_fields["bands"] = [{"name": f"B{i}", "eo:common_name": color}]
        item.add_asset(f"asset{i}", asset)
    for key, fields in extra.items():
        item.assets[key].extra_fields |= fields
    item.save_object(include_self_link=False, dest_href=str(folder / f"{name}.json"))
    return item


def _catalog(folder: Path) -> Path:
    """A catalogue of two items, one of them in a collection."""
    root = pystac.Catalog("root", "of tests")
    extent = pystac.Extent(
        pystac.SpatialExtent([[0, 0, 5, 5]]), pystac.TemporalExtent([[None, None]])
    )
    inner = pystac.Collection("inner", "of tests", extent)
    root.add_child(inner)
    for parent, name in ((root, "one"), (inner, "two")):
        item = _item(folder / "data", name)
        for asset in item.assets.values():
            asset.href = str(folder / "data" / Path(asset.href).name)
        parent.add_item(item)
    root.normalize_and_save(str(folder), pystac.CatalogType.SELF_CONTAINED)
    return folder / "catalog.json"


def test_items_of_every_document_are_found(tmp_path: Path) -> None:
    catalog = _catalog(tmp_path / "cat")
    item = tmp_path / "cat" / "data" / "one.json"
    documents = [json.loads((item.parent / f"{n}.json").read_text()) for n in ("one", "two")]
    many = item.parent / "many.geojson"
    many.write_text(json.dumps({"type": "FeatureCollection", "features": documents}))
    table = tmp_path / "items.parquet"
    for document in documents:
        for asset in document["assets"].values():
            asset["href"] = str(item.parent / asset["href"])
    pyarrow.parquet.write_table(
        stac_geoparquet.arrow.parse_stac_items_to_arrow(documents).read_all(), table
    )
    for given, names in [
        (item, ["one"]), (many, ["one", "two"]), (catalog, ["one", "two"]), (table, ["one", "two"]),
        (tmp_path / "cat" / "inner" / "collection.json", ["two"]),
    ]:  # fmt: skip
        entries = find_entries([given], outside=tmp_path / "out")
        assert sorted(entry.name for entry in entries) == names, given
        for entry in entries:
            assert all(Path(href).is_file() for href in entry.hrefs), given


def test_items_behind_a_url(tmp_path: Path) -> None:
    _item(tmp_path, "one")
    with serve(tmp_path) as server:
        (entry,) = find_entries([f"{server.url}/one.json"], outside=tmp_path / "out")
        assert entry.hrefs[0] == f"{server.url}/one_red.tif"
        assert entry.key == f"{server.url}/one.json"


def test_what_is_no_stac_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"type": "Feature"}')
    (tmp_path / "b.json").write_text("{")
    (tmp_path / "c.parquet").write_text("")
    for name, told in (("a.json", "no STAC"), ("b.json", "as STAC"), ("c.parquet", "geoparquet")):
        with pytest.raises(SceneError, match=told):
            find_entries([tmp_path / name], outside=tmp_path / "out")
    with pytest.raises(UsageError, match="give stac_api"):
        select_entries([], ItemOptions(collection=["s2"]), outside=tmp_path)


@contextmanager
def _api(items: list[dict[str, Any]]) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A STAC API that finds the same whatever it is asked, and what it was asked."""
    asked: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            core = "https://api.stacspec.org/v1.0.0/"
            self._send({
                "type": "Catalog", "id": "api", "stac_version": "1.0.0", "description": "test",
                "conformsTo": [f"{core}core", f"{core}item-search"],
                "links": [
                    {"rel": "self", "href": url}, {"rel": "root", "href": url},
                    {"rel": "search", "href": f"{url}/search", "method": "POST",
                     "type": "application/geo+json"},
                ],
            })  # fmt: skip

        def do_POST(self) -> None:
            asked.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self._send({"type": "FeatureCollection", "features": items, "links": []})

        def _send(self, document: dict[str, Any]) -> None:
            body = json.dumps(document).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Stay quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield url, asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_items_that_an_api_finds(tmp_path: Path) -> None:
    item = _item(tmp_path, "one")
    for asset in item.assets.values():
        asset.href = str(tmp_path / Path(asset.href).name)
    with _api([item.to_dict(include_self_link=False)]) as (url, asked):
        options = ItemOptions(url, ["s2"], (0, 0, 5, 5), "2021-01-01/2021-12-31")
        entries = select_entries([], options, outside=tmp_path)
    assert [entry.name for entry in entries] == ["one"]
    assert asked[0]["collections"] == ["s2"]
    assert asked[0]["bbox"] == [0, 0, 5, 5]
    assert asked[0]["datetime"].startswith("2021-01-01")


def test_a_search_that_finds_nothing_or_nobody(tmp_path: Path) -> None:
    with _api([]) as (url, _), pytest.raises(SceneError, match="has no item for collection"):
        select_entries([], ItemOptions(stac_api=url, collection=["s2"]), outside=tmp_path)
    with pytest.raises(SceneError, match="failed"):
        select_entries([], ItemOptions(stac_api="http://127.0.0.1:9"), outside=tmp_path)


def test_items_become_products_with_their_times(same_bundle: Path, tmp_path: Path) -> None:
    _item(tmp_path / "in", "one")
    bad = _item(tmp_path / "in", "two")
    del bad.assets["asset2"]
    bad.save_object(include_self_link=False, dest_href=str(tmp_path / "in" / "two.json"))
    inputs = [tmp_path / "in" / f"{name}.json" for name in ("one", "two")]
    out = tmp_path / "out"
    state = geotrans.batch(inputs, same_bundle, out=out)
    assert state.counts["done"] == 1
    assert state.failures[0].kind == "BandError"
    assert "item two for band blue; it has assets asset0 (B0), asset1 (B1)" in str(state)
    with rasterio.open(out / "one_same.tif") as product:
        assert [int(band.max()) for band in product.read()] == [10, 20, 30]
        assert product.tags()["GEOTRANS_SOURCE"] == str(inputs[0])
    item = json.loads((out / "one_same.json").read_text())
    assert item["properties"]["datetime"] == "2021-05-01T10:00:00Z"
    source = item["links"][0]
    assert (source["rel"], source["type"]) == ("derived_from", "application/geo+json")
    assert (out / source["href"]).resolve() == inputs[0].resolve()
    assert geotrans.batch(inputs[:1], same_bundle, out=out).n_new == 0
    write_scene(tmp_path / "in" / "one_red.tif", shape=(40, 48), bands=1)
    assert geotrans.batch(inputs[:1], same_bundle, out=out).n_new == 1, "an asset has changed"
