"""Maps on grids: the same pixels from every window, source and amount held in memory."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from pyproj import Transformer

from geotrans.errors import ConfigError, SceneError
from geotrans.grid import Window, make_geobox, window_geobox
from geotrans.maps import renderer as raster_map
from geotrans.maps.renderer import MapRenderer
from geotrans.maps.style import BLANK, load_style, palette
from tests.helpers.vectors import write_vectors

CRS = "EPSG:32611"
LEFT, TOP = 362_000.0, 3_765_600.0
STYLE: dict[str, Any] = {
    "name": "mine",
    "background": "grass",
    "classes": [
        {"name": "grass", "color": [90, 210, 60]},
        {"name": "road", "color": [60, 60, 60]},
        {"name": "lot", "color": [240, 60, 160]},
    ],
    "layers": [
        {"layer": "lots", "class": "lot"},
        {"layer": "lots", "where": {"kind": "pond"}, "class": None},
        {"layer": "roads", "where": {"kind": "road"}, "class": "road", "width_m": 9},
    ],
}


@pytest.fixture(scope="module")
def vectors(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Roads and lots at random over 600 m, some of them far larger than a window."""
    file = tmp_path_factory.mktemp("vectors") / "town.gpkg"
    rng = np.random.default_rng(7)

    def points(n: int) -> Any:
        return rng.uniform(-60, 660, (n, 2)) * (1, -1) + (LEFT, TOP)

    roads = [(shapely.LineString(points(3)), {"kind": "road"}) for _ in range(40)]
    lots = [
        (
            shapely.Point(points(1)[0]).buffer(rng.uniform(5, 80), quad_segs=2),
            {"kind": "pond" if i % 5 == 0 else "lot"},
        )
        for i in range(30)
    ]
    write_vectors(file, roads, crs=CRS, layer="roads")
    return write_vectors(file, lots, crs=CRS, layer="lots")


@pytest.fixture(scope="module")
def renderer(vectors: Path) -> MapRenderer:
    return MapRenderer(vectors, STYLE, CRS)


def grid(shape: tuple[int, int], gsd: float = 0.6, *, turn: float = 0, off: float = 0) -> GeoBox:
    affine = Affine.translation(LEFT + off, TOP - off) @ Affine.rotation(turn)
    return make_geobox(shape, affine @ Affine.scale(gsd, -gsd), CRS)


def test_a_map_has_the_colours_of_its_classes(renderer: MapRenderer) -> None:
    whole = grid((300, 310), 2)
    drawing, classes = renderer.draw(whole), renderer.draw_classes(whole)
    assert drawing.image.shape == (3, 300, 310)
    assert drawing.image.dtype == classes.dtype == np.uint8
    assert set(np.unique(classes)) == {0, 1, 2, BLANK}
    assert renderer.palette == palette(load_style(STYLE))
    for index, (_, color) in enumerate(renderer.palette):
        exact = (drawing.image == np.array(color)[:, None, None]).all(axis=0)
        assert (classes[exact] == index).all()
        assert exact.sum() > 0.8 * (classes == index).sum()
    assert (drawing.valid == (classes != BLANK)).all()
    assert (drawing.valid == renderer.draw_valid(whole)).all()
    assert (drawing.image[:, ~drawing.valid] == 0).all()
    assert drawing.is_painted
    assert (renderer.read(whole) == drawing.image).all()


@given(
    window=st.builds(
        Window,
        st.integers(-40, 300),
        st.integers(-40, 300),
        st.integers(1, 120),
        st.integers(1, 120),
    ),
    gsd=st.sampled_from([0.6, 0.5, 1 / 3, 2.0]),
    turn=st.sampled_from([0.0, 0.0, 30.0, 90.0]),
    off=st.sampled_from([0.0, 0.2, 0.123456]),
)
def test_windows_agree_to_the_bit(
    renderer: MapRenderer, window: Window, gsd: float, turn: float, off: float
) -> None:
    geobox = grid((300, 310), gsd, turn=turn, off=off)
    other = Window(window.col_off - 13, window.row_off - 29, 160, 170)
    shared = window.intersection(other)
    a, b = window_geobox(geobox, window), window_geobox(geobox, other)
    in_a, in_b = shared.relative_to(window).slices, shared.relative_to(other).slices
    assert (renderer.read(a)[:, *in_a] == renderer.read(b)[:, *in_b]).all()
    assert (renderer.draw_classes(a)[in_a] == renderer.draw_classes(b)[in_b]).all()


def test_bands_of_rows_leave_no_trace(
    renderer: MapRenderer, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = renderer.read(grid((300, 310)))
    for limits in ((7, 1 << 20), (256, 310 * 3), (256, 1)):
        monkeypatch.setattr(raster_map, "_STRIP_ROWS", limits[0])
        monkeypatch.setattr(raster_map, "_STRIP_PX", limits[1])
        assert (renderer.read(grid((300, 310))) == whole).all()


def test_holding_only_what_is_near_changes_nothing(
    vectors: Path, renderer: MapRenderer, monkeypatch: pytest.MonkeyPatch
) -> None:
    geobox = grid((900, 900))
    whole = renderer.read(geobox)
    monkeypatch.setattr(raster_map, "MAX_CACHED_FEATURES", 10)
    frugal = MapRenderer(vectors, STYLE, CRS)
    for top in range(0, 900, 150):
        for left in range(0, 900, 150):
            window = Window(left, top, 150, 150)
            part = frugal.read(window_geobox(geobox, window))
            assert (part == whole[:, *window.slices]).all()
            assert frugal._cached is not None
            assert frugal._cached[0] is not None  # A region, and not everything.


def test_a_grid_in_another_crs(vectors: Path, renderer: MapRenderer) -> None:
    lonlat = MapRenderer(vectors, STYLE, "EPSG:4326")
    rows, cols = np.mgrid[:60, :60]
    x, y = LEFT + 5 * (cols + 0.5), TOP - 5 * (rows + 0.5)
    lon, lat = Transformer.from_crs(CRS, 4326, always_xy=True).transform(x, y)
    step = 2e-7
    found = np.array(
        [
            lonlat.draw_classes(make_geobox((1, 1), Affine(step, 0, a, 0, -step, b), "EPSG:4326"))[
                0, 0
            ]
            for a, b in zip(lon[::7, ::7].ravel(), lat[::7, ::7].ravel(), strict=True)
        ]
    )
    fine = [
        renderer.draw_classes(make_geobox((1, 1), Affine(0.02, 0, a, 0, -0.02, b), CRS))[0, 0]
        for a, b in zip(x[::7, ::7].ravel(), y[::7, ::7].ravel(), strict=True)
    ]
    assert (found == fine).mean() > 0.97


def test_pixels_are_anti_aliased(tmp_path: Path) -> None:
    slope = shapely.LineString([(LEFT - 50, TOP - 10), (LEFT + 200, TOP - 47)])
    file = write_vectors(tmp_path / "a.gpkg", [(slope, {"kind": "road"})], crs=CRS)
    style = {**STYLE, "layers": [{"class": "road", "width_m": 9}]}
    geobox = grid((120, 160))
    image = MapRenderer(file, style, CRS).read(geobox).astype(float)
    share = (210 - image[1]) / (210 - 60)  # Of road, from green.
    road = slope.buffer(4.5)
    exact = np.array(
        [
            [
                road.intersection(shapely.box(x, y - 0.6, x + 0.6, y)).area / 0.36
                for x in LEFT + 0.6 * np.arange(40, 60)
            ]
            for y in TOP - 0.6 * np.arange(20, 70)
        ]
    )
    assert np.abs(share[20:70, 40:60] - exact).max() < 0.13  # Half a scan line.
    assert np.abs(share[20:70, 40:60] - exact).mean() < 0.01


def test_another_process_draws_the_same(renderer: MapRenderer) -> None:
    copy = pickle.loads(pickle.dumps(renderer))
    assert (copy.read(grid((80, 90))) == renderer.read(grid((80, 90)))).all()


def test_beside_the_vectors_there_is_background(renderer: MapRenderer) -> None:
    far = make_geobox((9, 8), Affine(0.6, 0, LEFT + 9e4, 0, -0.6, TOP), CRS)
    drawing = renderer.draw(far)
    assert not drawing.is_painted
    assert drawing.valid.all()
    assert (drawing.image == np.array([90, 210, 60])[:, None, None]).all()


def test_what_the_vectors_lack_is_named(vectors: Path, tmp_path: Path) -> None:
    wrong = {**STYLE, "layers": [{"layer": "raods", "class": "road"}]}
    with pytest.raises(ConfigError, match=r"'raods'; town.gpkg has .*did you mean 'roads'\?"):
        MapRenderer(vectors, wrong, CRS)
    wrong = {**STYLE, "layers": [{"layer": "roads", "where": {"knd": "x"}, "class": "road"}]}
    with pytest.raises(ConfigError, match=r"field 'knd' of layer 'roads'.*did you mean 'kind'\?"):
        MapRenderer(vectors, wrong, CRS)
    with pytest.raises(SceneError, match="no such file"):
        MapRenderer(tmp_path / "gone.gpkg", STYLE, CRS)


@pytest.mark.slow
@pytest.mark.realdata
def test_every_class_is_seen_in_training(data_dir: Path) -> None:
    import rasterio

    renderer = MapRenderer(data_dir / "santa_monica" / "streetmap.gpkg", "plain", "EPSG:26911")
    seen = np.zeros(256, int)
    for file in sorted((data_dir / "santa_monica" / "aerial" / "train").glob("*_2020_*.tif")):
        with rasterio.open(file) as chip:
            classes = renderer.draw_classes(make_geobox(chip.shape, chip.transform, chip.crs))
        seen += np.bincount(classes.ravel(), minlength=256)
    shares = seen / seen.sum()
    assert (shares[: len(renderer.palette)] > 0.004).all()
    assert shares[BLANK] == 0
