"""Areas on the ground: filters, widths in metres in any CRS, reading by place."""

from pathlib import Path
from typing import Any

import numpy as np
import pyproj
import pytest
import shapely

from geotrans.grid import project_bounds
from geotrans.maps.areas import AreaReader, layer_filter, utm_crs
from geotrans.maps.style import StyleLayer, StyleMapping
from geotrans.maps.vectors import Features, VectorSource
from tests.helpers.vectors import write_vectors

UTM = pyproj.CRS.from_epsg(32611)
GEOD = pyproj.Geod(ellps="WGS84")
# A street of 1 km in Santa Monica, and a park beside it.
STREET = shapely.LineString([(362_000, 3_765_000), (363_000, 3_765_000)])
PARK = shapely.box(362_000, 3_765_100, 362_200, 3_765_300)
ROWS = [(STREET, {"kind": "street"}), (PARK, {"kind": "park"})]


def mapping(*layers: dict[str, Any]) -> StyleMapping:
    return StyleMapping.model_validate({"background": None, "layers": layers})


STREETS = mapping({"where": {"kind": "street"}, "class": "street", "width_m": 12})


def in_crs(shape: Any, crs: pyproj.CRS) -> Any:
    move = pyproj.Transformer.from_crs(UTM, crs, always_xy=True).transform
    return shapely.transform(shape, move, interleaved=False)


def true_width_m(area: Any, crs: pyproj.CRS) -> float:
    """Area of a street on the ellipsoid over its length, round ends taken off."""
    lonlat = shapely.transform(
        area,
        pyproj.Transformer.from_crs(crs, 4326, always_xy=True).transform,
        interleaved=False,
    )
    square_m, _ = GEOD.geometry_area_perimeter(lonlat)
    return float((abs(square_m) - np.pi * 36) / 1000)


@pytest.mark.parametrize("source_epsg", [32611, 4326, 2229])
@pytest.mark.parametrize("epsg", [32611, 4326, 3857, 2229, 32612])
def test_a_width_is_in_metres_on_the_ground(tmp_path: Path, epsg: int, source_epsg: int) -> None:
    crs, own = pyproj.CRS.from_epsg(epsg), pyproj.CRS.from_epsg(source_epsg)
    rows = [(in_crs(STREET, own), {"kind": "street"})]
    file = write_vectors(tmp_path / "a.gpkg", rows, crs=own.to_string())
    reader = AreaReader(VectorSource(file), STREETS, crs)
    (areas,) = reader.read()
    assert len(areas) == 1
    assert true_width_m(areas[0], crs) == pytest.approx(12, rel=7e-3)
    ends = (
        shapely.Point(in_crs(STREET, crs).coords[0]),
        shapely.Point(in_crs(STREET, crs).coords[1]),
    )
    assert all(areas[0].covers(end) for end in ends)


def test_long_sides_bend_when_they_are_reprojected(tmp_path: Path) -> None:
    line = shapely.LineString([(-118.6, 34.0), (-117.4, 34.0)])
    file = write_vectors(tmp_path / "a.gpkg", [(line, {"kind": "street"})], crs="EPSG:4326")
    (areas,) = AreaReader(VectorSource(file), STREETS, UTM).read()
    move = pyproj.Transformer.from_crs(4326, UTM, always_xy=True).transform
    along = move(np.linspace(-118.599, -117.401, 50), np.full(50, 34.0))
    assert shapely.contains_xy(areas[0], *along).all()


def test_lines_are_no_areas_and_areas_may_grow(tmp_path: Path) -> None:
    source = VectorSource(write_vectors(tmp_path / "a.gpkg", ROWS))
    plain, grown = AreaReader(
        source,
        mapping({"class": "a"}, {"class": "b", "width_m": 10, "where": {"kind": "park"}}),
        UTM,
    ).read()
    assert [area.area for area in plain] == [200 * 200]
    assert grown[0].area == pytest.approx(200**2 + 4 * 200 * 5 + np.pi * 25, rel=1e-3)


def test_collections_are_taken_apart(tmp_path: Path) -> None:
    parts = shapely.MultiPolygon([PARK, shapely.box(0, 0, 1, 1)])
    mixed = shapely.GeometryCollection([parts, STREET, shapely.Point(0, 0)])
    file = write_vectors(tmp_path / "a.gpkg", [(mixed, {"kind": "park"})])
    (areas,) = AreaReader(VectorSource(file), mapping({"class": "a"}), UTM).read()
    assert sorted(area.area for area in areas) == [1, 40_000]


def test_a_place_brings_everything_that_reaches_into_it(tmp_path: Path) -> None:
    rows = [
        (
            shapely.LineString([(362_000 + 100 * i, 0), (362_000 + 100 * i, 9000)]),
            {"kind": "street"},
        )
        for i in range(50)
    ]
    source = VectorSource(write_vectors(tmp_path / "a.gpkg", rows))
    reader = AreaReader(source, STREETS, UTM)
    assert reader.n_features == 50
    (areas,) = reader.read((362_994, 100, 362_995, 101))
    assert any(area.intersects(shapely.box(362_994, 100, 362_995, 101)) for area in areas)
    assert len(areas) < 5
    lonlat = AreaReader(source, STREETS, pyproj.CRS.from_epsg(4326))
    place = project_bounds((362_994, 100, 362_995, 101), UTM, lonlat.crs)
    (areas,) = lonlat.read(place)
    assert any(area.intersects(shapely.box(*place)) for area in areas)
    assert len(areas) < 5


@pytest.mark.parametrize(
    ("where", "unless", "expected"),
    [
        ({}, {}, [True, True, True]),
        ({"kind": "road"}, {}, [True, False, False]),
        ({"kind": ("road", "path")}, {}, [True, True, False]),
        ({"kind": "*"}, {}, [True, True, False]),
        ({}, {"kind": "*"}, [False, False, True]),
        ({}, {"kind": "road"}, [False, True, True]),
        ({"kind": "*"}, {"lanes": "2"}, [False, True, False]),
        ({"kind": "road", "lanes": "3"}, {}, [False, False, False]),
        ({"nothing": "*"}, {}, [False, False, False]),
    ],
)
def test_filters(where: dict[str, Any], unless: dict[str, Any], expected: list[bool]) -> None:
    fields = {
        "kind": np.array(["road", "path", None], dtype=object),
        "lanes": np.array([2.0, np.nan, 2.0]),
    }
    layer = StyleLayer.model_validate({"class": "a", "where": where, "unless": unless})
    assert layer_filter(layer, Features(np.full(3, STREET), fields)).tolist() == expected


@pytest.mark.parametrize(
    ("bounds", "epsg"),
    [
        ((-118.5, 34.0, -118.4, 34.1), 32611),
        ((151, -34, 152, -33), 32756),
        ((-180, 1, -179, 2), 32601),
    ],
)
def test_utm_zones(bounds: tuple[float, float, float, float], epsg: int) -> None:
    assert utm_crs(bounds).to_epsg() == epsg


def test_no_features(tmp_path: Path) -> None:
    file = write_vectors(tmp_path / "a.gpkg", ROWS)
    nothing = mapping({"where": {"kind": "canal"}, "class": "a", "width_m": 3})
    (areas,) = AreaReader(VectorSource(file), nothing, UTM).read()
    assert len(areas) == 0
