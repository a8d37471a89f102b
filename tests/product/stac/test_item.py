"""STAC documents: valid by pystac, and saying what is in the files they describe."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pystac
import pytest
import rasterio
from affine import Affine
from odc.geo.geobox import GeoBox

import geotrans
from geotrans.product.stac.document import write_document
from geotrans.product.stac.item import Acquisition, find_acquisition, footprint, make_product_item
from geotrans.tasks import open_bundle
from tests.helpers.bundles import identity_bundle, random_bundle
from tests.helpers.stac import read_valid

MakeScene = Callable[..., Path]
CLASSES = [{"name": "built up", "color": (255, 0, 10)}, {"name": "open", "color": (1, 2, 3)}]


def _item(scene: Path, bundle: Path, out: Path, **choices: Any) -> dict[str, Any]:
    product = geotrans.translate(scene, bundle, out=out, **choices)
    source = {"href": scene.name}
    spec = open_bundle(bundle).spec
    item = make_product_item(product.path, spec, acquisition=Acquisition(), source=source)
    write_document(item, out.with_suffix(".json"))
    return item


def test_an_item_says_what_is_in_the_product(make_scene: MakeScene, tmp_path: Path) -> None:
    invalid = np.zeros((48, 64), bool)
    invalid[:12] = True
    scene = make_scene(nodata=0, invalid=invalid)
    item = _item(scene, identity_bundle(tmp_path / "b.safetensors"), tmp_path / "out.tif")
    found = read_valid(tmp_path / "out.json")
    assert isinstance(found, pystac.Item)
    with rasterio.open(tmp_path / "out.tif") as product:
        data = product.read(1)[12:]
        assert item["properties"]["proj:code"] == f"EPSG:{product.crs.to_epsg()}"
        assert item["properties"]["proj:shape"] == list(product.shape)
        assert item["properties"]["proj:transform"] == list(product.transform)
        assert item["properties"]["proj:bbox"] == list(product.bounds)
    asset = item["assets"]["data"]
    digest = hashlib.sha256((tmp_path / "out.tif").read_bytes()).hexdigest()
    assert asset["file:checksum"] == f"1220{digest}"
    assert asset["file:size"] == (tmp_path / "out.tif").stat().st_size
    band = asset["bands"][0]
    assert (band["name"], band["eo:common_name"], band["nodata"]) == ("red", "red", 0)
    statistics = band["statistics"]
    assert statistics["count"] == data.size
    assert statistics["valid_percent"] == 75
    assert (statistics["minimum"], statistics["maximum"]) == (data.min(), data.max())
    assert statistics["mean"] == pytest.approx(data.mean(), abs=1e-5)
    assert statistics["stddev"] == pytest.approx(data.std(), abs=1e-5)


def test_an_item_says_how_the_product_was_made(make_scene: MakeScene, tmp_path: Path) -> None:
    scene = make_scene()
    item = _item(scene, random_bundle(tmp_path / "b.safetensors"), tmp_path / "out.tif", seed=3)
    properties = item["properties"]
    assert properties["processing:lineage"].startswith("Synthetic: ")
    assert properties["processing:software"] == {"geotrans": geotrans.__version__}
    how = properties["processing:expression"]["expression"]
    assert (how["task"], how["seed"]) == ("random", 3)
    assert how["source"]["sha256"] == hashlib.sha256(scene.read_bytes()).hexdigest()
    assert item["links"][0]["rel"] == "derived_from"
    assert properties["datetime"] is None
    assert properties["start_datetime"] < properties["end_datetime"] <= properties["created"]


@pytest.mark.parametrize(
    "options",
    [
        {"crs": None},
        {"crs": "EPSG:4326"},
        {"dtype": "float32", "nodata": float("nan"), "scales": (0.1,) * 3, "units": ("K",) * 3},
        {"crs": "+proj=laea +lat_0=12 +lon_0=7 +datum=WGS84", "rotation": 30.0},
        {"bands": ("a", "b", "c")},
    ],
    ids=["no crs", "degrees", "floats", "no code", "no common names"],
)
def test_items_of_products_of_many_kinds_are_valid(
    make_scene: MakeScene, tmp_path: Path, options: dict[str, Any]
) -> None:
    names = options.get("bands", ("red", "green", "blue"))
    dtype = options.get("dtype", "uint8")
    bundle = identity_bundle(tmp_path / "b.safetensors", bands=names, dtype=dtype)
    if "crs" in options and options["crs"] and options["crs"].startswith("+"):
        options = {**options, "origin": (0.0, 0.0)}
    item = _item(make_scene(**options), bundle, tmp_path / "out.tif")
    read_valid(tmp_path / "out.json")
    assert ("bbox" in item) == (options.get("crs", "") is not None)


def test_an_item_of_classes_has_their_legend(make_scene: MakeScene, tmp_path: Path) -> None:
    bundle = random_bundle(tmp_path / "b.safetensors", palette=CLASSES)
    item = _item(make_scene(), bundle, tmp_path / "out.tif", as_="classes")
    read_valid(tmp_path / "out.json")
    assert item["assets"]["data"]["classification:classes"] == [
        {"value": 0, "name": "built_up", "description": "built up", "color_hint": "ff000a"},
        {"value": 1, "name": "open", "description": "open", "color_hint": "010203"},
    ]


def test_a_footprint_follows_the_edges_of_a_grid() -> None:
    wide = GeoBox((100, 100), Affine(9000, 0, 0, 0, -9000, 7e6), "EPSG:32632")
    geometry, bbox = footprint(wide)
    assert geometry is not None
    assert bbox is not None
    (ring,) = geometry["coordinates"]
    area = sum(x * v - u * y for (x, y), (u, v) in itertools.pairwise(ring))
    assert area > 0, "counterclockwise, as GeoJSON wants it"
    corners = [ring[0][1], ring[-1][1], ring[48][1]]
    assert bbox[3] > max(corners) + 0.1, "a straight line of the grid is bent in degrees"
    fiji = GeoBox((100, 100), Affine(10_000, 0, 1.95e7, 0, -10_000, -1.5e6), "EPSG:3857")
    geometry, bbox = footprint(fiji)
    assert bbox is not None
    assert geometry is not None
    assert geometry["type"] == "MultiPolygon"
    assert bbox[0] > 0 > bbox[2], "west of the date line to east of it"
    polar = GeoBox((100, 100), Affine(50_000, 0, -2.5e6, 0, -50_000, 2.5e6), "EPSG:3995")
    assert footprint(polar)[1] == pytest.approx([-180, 58.6, 180, 90], abs=0.5)
    globe = GeoBox((180, 360), Affine(1, 0, -180.5, 0, -1, 90), "EPSG:4326")
    assert footprint(globe)[1] == [-180, -90, 180, 90]


def test_times_are_taken_from_what_the_file_says(make_scene: MakeScene) -> None:
    for text, told in [
        ("2020-06-01T10:00:00Z", "2020-06-01T10:00:00Z"),
        ("2020-06-01T12:00:00+02:00", "2020-06-01T10:00:00Z"),
        ("2020-06-01", "2020-06-01T00:00:00Z"),
        ("June", None),
    ]:
        scene = make_scene(tags={"ACQUISITIONDATETIME": text})
        assert find_acquisition(geotrans.open_scene(scene)).at == told
    assert Acquisition(at="2020-06-01T10:00:00Z").to_properties("now") == {
        "datetime": "2020-06-01T10:00:00Z"
    }
