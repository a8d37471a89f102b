"""Vector sources: formats, layers, fields, tags, and what can be wrong with a file."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely

from geotrans.errors import ConfigError, SceneError
from geotrans.maps.vectors import Features, VectorSource
from tests.helpers.vectors import write_vectors

ROWS = [
    (shapely.LineString([(0, 0), (100, 0)]), {"kind": "road", "lanes": 2.0}),
    (shapely.LineString([(0, 500), (100, 500)]), {"kind": None, "lanes": float("nan")}),
]


@pytest.mark.parametrize("name", ["a.gpkg", "a.geojson", "a.shp", "a.fgb"])
def test_formats(tmp_path: Path, name: str) -> None:
    source = VectorSource(write_vectors(tmp_path / name, ROWS))
    assert source.layers == ("a",)
    assert source.find_layer("a") == source.find_layer(None) == source.find_layer("roads") == "a"
    assert source.crs("a").to_epsg() == 32611
    assert source.n_features("a") == 2
    assert source.bounds("a") == (0, 0, 100, 500)
    features = source.read("a", ["kind", "lanes"])
    # A file may be sorted by place.
    order = np.argsort(shapely.get_y(shapely.centroid(features.geometry)))
    assert features.values("kind")[order].tolist() == ["road", ""]
    assert features.values("lanes")[order].tolist() == ["2", ""]
    near = source.read("a", ["kind"], bounds=(0, -1, 10, 1))
    assert near.values("kind").tolist() == ["road"]


def test_a_folder_of_shapefiles(tmp_path: Path) -> None:
    write_vectors(tmp_path / "roads.shp", ROWS)
    write_vectors(tmp_path / "tracks.shp", ROWS)
    source = VectorSource(tmp_path)
    assert set(source.layers) == {"roads", "tracks"}
    assert len(source.read("tracks", []).geometry) == 2


def test_features_without_geometry_are_left_out(tmp_path: Path) -> None:
    rows: list[Any] = [*ROWS, (shapely.LineString(), {"kind": "road", "lanes": 1.0})]
    source = VectorSource(write_vectors(tmp_path / "a.gpkg", rows))
    features = source.read("a", ["kind"])
    assert len(features.geometry) == len(features.values("kind")) == 2


def test_heights_are_dropped(tmp_path: Path) -> None:
    line = shapely.LineString([(0, 0, 5), (9, 0, 5)])
    source = VectorSource(write_vectors(tmp_path / "a.geojson", [(line, {"kind": "road"})]))
    assert not shapely.has_z(source.read("a", []).geometry).any()


def test_tags_are_found_among_the_others() -> None:
    stores = [
        '"service"=>"alley","oneway"=>"yes"',
        '"note"=>"says \\"service\\"=>\\"driveway\\", I think","service"=>"a\\\\b \\"c\\""',
        '"emergency_service"=>"x"',
        None,
        "",
    ]
    shapes = np.full(len(stores), shapely.Point(0, 0), dtype=object)
    features = Features(shapes, {"other_tags": np.array(stores, dtype=object)})
    assert features.values("service").tolist() == ["alley", 'a\\b "c"', "", "", ""]
    assert features.values("oneway").tolist() == ["yes", "", "", "", ""]
    assert Features(shapes).values("service").tolist() == [""] * 5


def test_a_missing_file() -> None:
    with pytest.raises(SceneError, match=r"no vectors at nowhere.gpkg: there is no such file"):
        VectorSource("nowhere.gpkg")


@pytest.mark.parametrize("content", [b"", b"not a map", b"SQLite format 3\x00" + bytes(40)])
def test_what_is_no_vector_file(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "a.gpkg"
    file.write_bytes(content)
    with pytest.raises(SceneError, match="cannot be read"):
        VectorSource(file)


def test_a_truncated_file(tmp_path: Path) -> None:
    rows = [(shapely.LineString([(i, 0), (i, 9)]), {"kind": "road" * 20}) for i in range(2000)]
    file = write_vectors(tmp_path / "a.fgb", rows)
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    source = VectorSource(file)
    with pytest.raises(SceneError, match=r"layer 'a' of a.fgb cannot be read"):
        source.read("a", ["kind"])


def test_an_unknown_layer_names_the_nearest(tmp_path: Path) -> None:
    file = tmp_path / "a.gpkg"
    write_vectors(file, ROWS, layer="streets")
    write_vectors(file, ROWS, layer="parks")
    source = VectorSource(file)
    with pytest.raises(ConfigError, match=r"layer 'street'; a.gpkg has .*mean 'streets'\?"):
        source.find_layer("street")
    with pytest.raises(ConfigError, match="the style names no layer"):
        source.find_layer(None)


def test_an_unknown_field_names_the_nearest(tmp_path: Path) -> None:
    source = VectorSource(write_vectors(tmp_path / "a.gpkg", ROWS))
    source.check_fields("a", ["kind", "lanes"])
    with pytest.raises(ConfigError, match=r"field 'knd' of layer 'a'.*did you mean 'kind'\?"):
        source.check_fields("a", ["lanes", "knd"])


def test_tags_may_be_absent_where_they_are_free(tmp_path: Path) -> None:
    geojson = VectorSource(write_vectors(tmp_path / "a.geojson", ROWS))
    geojson.check_fields("a", ["kind", "bridge"])
    with pytest.raises(ConfigError, match="field 'highway'"):
        geojson.check_fields("a", ["highway", "bridge"])
    rows = [(ROWS[0][0], {"highway": "service", "other_tags": '"service"=>"alley"'})]
    VectorSource(write_vectors(tmp_path / "b.gpkg", rows)).check_fields("b", ["service", "tunnel"])


def test_no_crs(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="crs"):
        file = write_vectors(tmp_path / "a.gpkg", ROWS, crs=None)
    with pytest.raises(SceneError, match="has no CRS"):
        VectorSource(file).crs("a")
