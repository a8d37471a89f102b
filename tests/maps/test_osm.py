"""OpenStreetMap files: XML and PBF through GDAL's driver, copied once and read by place."""

from pathlib import Path

import numpy as np
import pytest
import shapely

from geotrans.maps import osm
from geotrans.maps.osm import open_vectors
from geotrans.maps.style import load_style
from geotrans.maps.vectors import VectorSource
from tests.helpers.osm import Way, write_pbf, write_xml
from tests.helpers.vectors import write_vectors

A, B, C, D = (-118.50, 34.01), (-118.49, 34.01), (-118.49, 34.02), (-118.50, 34.02)
WAYS = [
    Way([A, C], {"highway": "residential", "name": 'O\'Hara "the" Road'}),
    Way([B, D], {"highway": "service", "service": "alley"}),
    Way([A, D], {"highway": "service", "service": "driveway"}),
    Way([A, B], {"highway": "footway"}),
    Way([A, B, C, D, A], {"landuse": "residential"}),
    Way([A, B, C, A], {"building": "yes"}),
    Way([A, C, D, A], {"natural": "water"}),
]


@pytest.fixture(params=[write_xml, write_pbf], ids=["xml", "pbf"])
def osm_file(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path: Path = request.param(tmp_path / f"town.osm{'.pbf' * (request.param is write_pbf)}", WAYS)
    return path


def test_only_what_the_style_asks_for_is_copied(osm_file: Path) -> None:
    assert VectorSource(osm_file).driver == "OSM"
    source, mapping = open_vectors(osm_file, load_style("plain"))
    assert mapping == load_style("plain").mappings["osm"]
    assert source.driver == "GPKG"
    assert source.name == osm_file.name
    assert set(source.layers) == {"lines", "multipolygons"}
    lines = source.read("lines", ["highway", "service"])
    found = set(zip(lines.values("highway"), lines.values("service"), strict=True))
    assert found == {("residential", ""), ("service", "alley"), ("service", "driveway")}
    areas = source.read("multipolygons", ["landuse", "natural", "building"])
    assert sorted(areas.values("landuse") + areas.values("natural")) == ["residential", "water"]
    bounds = source.bounds("multipolygons")
    assert bounds is not None
    np.testing.assert_allclose(bounds, (-118.50, 34.01, -118.49, 34.02), atol=1e-7)
    assert source.crs("lines").is_geographic


def test_the_copy_goes_when_it_is_no_longer_used(osm_file: Path) -> None:
    source, _ = open_vectors(osm_file, load_style("plain"))
    copy = Path(source.path)
    assert copy.exists()
    del source
    assert not copy.parent.exists()


def test_tags_without_a_field_of_their_own_can_be_asked_for(osm_file: Path) -> None:
    style = load_style(
        {
            "name": "alleys",
            "background": "ground",
            "classes": [
                {"name": "ground", "color": [0, 0, 0]},
                {"name": "alley", "color": [255, 255, 255]},
            ],
            "layers": [{"layer": "lines", "where": {"service": "*"}, "class": "alley"}],
        }
    )
    source, _ = open_vectors(osm_file, style)
    values = source.read("lines", ["service"]).values("service")
    assert sorted(values) == ["alley", "driveway"]


def test_quotes_in_a_style_stay_inside_their_words(osm_file: Path) -> None:
    style = load_style(
        {
            "name": "one",
            "background": "ground",
            "classes": [{"name": "ground", "color": [0, 0, 0]}],
            "layers": [{"layer": "lines", "where": {"name": 'O\'Hara "the" Road'}, "class": None}],
        }
    )
    source, _ = open_vectors(osm_file, style)
    assert source.n_features("lines") == 1


def test_a_large_file_without_index_is_copied_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = shapely.LineString([A, C])
    rows = [(line, {"highway": "residential", "landuse": None, "junk": "x"})] * 30
    file = write_vectors(tmp_path / "export.geojson", rows, crs="EPSG:4326")
    assert open_vectors(file, load_style("plain"))[0].driver == "GeoJSON"
    monkeypatch.setattr(osm, "MAX_CACHED_FEATURES", 20)
    source, mapping = open_vectors(file, load_style("plain"))
    assert source.driver == "GPKG"
    assert source.n_features("export") == 30
    assert "junk" not in source.info("export")["fields"]
    assert "highway" in mapping.fields
