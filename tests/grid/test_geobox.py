from __future__ import annotations

import math

import numpy as np
import pytest
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from pyproj import Geod, Transformer

from geotrans.errors import TilingError
from geotrans.grid import Window, bbox_window, ground_anchor, gsd_m, make_geobox, window_geobox

UTM = "EPSG:32611"


def _utm(left: float, top: float, step: float, shape: tuple[int, int] = (40, 50)) -> GeoBox:
    return make_geobox(shape, Affine(step, 0, left, 0, -step, top), UTM)


@given(
    st.integers(-20_000_000, 20_000_000),
    st.integers(-20_000_000, 20_000_000),
    st.sampled_from([0.6, 1 / 3, 10.0, 30.0, 0.00025, 7.3]),
    st.sampled_from([0.0, 0.5, 0.25, 1 / 3, 2 / 3, 0.75, 0.1]),
    st.integers(-3000, 3000),
)
def test_anchors_of_one_lattice_differ_by_the_offset(
    row: int, col: int, step: float, phase: float, offset: int
) -> None:
    one = _utm((col + phase) * step, (row + phase) * step, step)
    other = window_geobox(one, Window(offset, -offset, 5, 5))
    # The same grid again, its corner written down in decimals as files do.
    rounded = make_geobox(
        (5, 5), Affine(step, 0, round(other.affine.c, 7), 0, -step, round(other.affine.f, 7)), UTM
    )
    anchor = ground_anchor(one)
    assert ground_anchor(other) == (anchor[0] - offset, anchor[1] + offset)
    if step > 0.001:
        assert ground_anchor(rounded) == ground_anchor(other)


def test_landsat_neighbours_agree_though_their_grid_lies_half_a_pixel_off() -> None:
    anchors = [ground_anchor(_utm(15 + 30 * k, 15 - 30 * k, 30)) for k in range(6)]
    assert np.diff(anchors, axis=0).tolist() == [[1, 1]] * 5


@given(st.integers(-99, 99), st.integers(-99, 99), st.floats(-170, 170))
def test_a_windows_grid_lies_where_its_pixels_do(col: int, row: int, turn: float) -> None:
    affine = Affine.translation(5e5, 4e6) @ Affine.rotation(turn) @ Affine.scale(0.6, -0.6)
    grid = make_geobox((100, 120), affine, UTM)
    part = window_geobox(grid, Window(col, row, 7, 3))
    assert part.shape == (3, 7)
    assert part.crs == grid.crs
    assert part.affine @ (2.5, 1.5) == pytest.approx(affine @ (col + 2.5, row + 1.5), abs=1e-6)


@pytest.mark.parametrize(
    ("crs", "affine", "expected"),
    [
        (UTM, Affine(0.6, 0, 5e5, 0, -0.6, 4e6), 0.6),
        (UTM, Affine.translation(5e5, 4e6) @ Affine.rotation(30) @ Affine.scale(0.6, -0.6), 0.6),
        ("EPSG:2229", Affine(2, 0, 6.4e6, 0, -2, 1.8e6), 2 * 1200 / 3937),  # US survey feet
    ],
)
def test_gsd_of_projected_grids(crs: str, affine: Affine, expected: float) -> None:
    assert gsd_m(make_geobox((10, 10), affine, crs)) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("crs", ["EPSG:4326", "EPSG:3857", "EPSG:3395"])
@pytest.mark.parametrize("latitude", [0.0, 34.0, -60.0])
def test_gsd_where_degrees_and_mercator_shrink_is_what_a_tape_measures(
    crs: str, latitude: float
) -> None:
    to_crs = Transformer.from_crs(4326, crs, always_xy=True)
    x, y = to_crs.transform(-118.0, latitude)
    step = 1e-4 if crs == "EPSG:4326" else 10.0
    grid = make_geobox((10, 10), Affine(step, 0, x - 5 * step, 0, -step, y + 5 * step), crs)
    lon, lat = to_crs.transform([x, x + step, x], [y, y, y + step], direction="INVERSE")
    geod = Geod(ellps="WGS84")
    (_, _, across) = geod.inv(lon[0], lat[0], lon[1], lat[1])
    (_, _, up) = geod.inv(lon[0], lat[0], lon[2], lat[2])
    assert gsd_m(grid) == pytest.approx(math.sqrt(across * up), rel=0.01)


def test_gsd_without_crs_is_unknown() -> None:
    assert gsd_m(make_geobox((5, 5), Affine.identity(), None)) is None


@given(
    st.floats(-118.6, -118.3),
    st.floats(33.9, 34.1),
    st.floats(1e-4, 0.2),
    st.floats(1e-4, 0.2),
    st.sampled_from([0.0, 25.0]),
)
def test_bbox_window_holds_every_pixel_the_box_touches(
    lon: float, lat: float, width: float, height: float, turn: float
) -> None:
    affine = Affine.translation(3.6e5, 3.77e6) @ Affine.rotation(turn) @ Affine.scale(100, -100)
    grid = make_geobox((150, 200), affine, UTM)
    # Every pixel centre inside the box, found the slow way.
    cols, rows = np.meshgrid(np.arange(200) + 0.5, np.arange(150) + 0.5)
    x = affine.a * cols + affine.b * rows + affine.c
    y = affine.d * cols + affine.e * rows + affine.f
    lons, lats = Transformer.from_crs(UTM, 4326, always_xy=True).transform(x, y)
    inside = (lons > lon) & (lons < lon + width) & (lats > lat) & (lats < lat + height)
    bbox = (lon, lat, lon + width, lat + height)
    if not inside.any():
        return
    window = bbox_window(grid, bbox)
    assert Window.whole((150, 200)).contains(window)
    outside = inside.copy()
    outside[window.slices] = False
    assert not outside.any()
    touched = np.argwhere(inside)
    tight = touched.max(axis=0) - touched.min(axis=0) + 1
    # A turned grid needs more than the box; an upright one a few pixels, for converging meridians.
    if not turn and tight.min() > 5:
        assert window.height <= tight[0] + 3 + 0.02 * window.width
        assert window.width <= tight[1] + 3 + 0.02 * window.height


def test_a_box_of_whole_pixels_touches_just_those() -> None:
    grid = make_geobox((100, 100), Affine(0.1, 0, 10, 0, -0.1, 50), "EPSG:4326")
    assert bbox_window(grid, (11.0, 48.0, 12.0, 49.0)) == Window(10, 10, 10, 10)


def test_without_crs_the_box_is_in_the_grids_own_units() -> None:
    grid = make_geobox((100, 100), Affine.identity(), None)
    assert bbox_window(grid, (10.5, 20, 30, 40)) == Window(10, 20, 20, 20)


def test_the_whole_world_means_the_whole_scene() -> None:
    assert bbox_window(_utm(3.6e5, 3.77e6, 10), (-180, -90, 180, 90)) == Window(0, 0, 50, 40)


@pytest.mark.parametrize("crs", ["EPSG:3031", "EPSG:2056", "EPSG:3035"])
def test_a_box_beyond_what_a_projection_can_show_is_cut_to_the_scene(crs: str) -> None:
    x, y = {"EPSG:3031": (2e5, 3e5), "EPSG:2056": (2.6e6, 1.2e6), "EPSG:3035": (4e6, 3e6)}[crs]
    grid = make_geobox((20, 30), Affine(10, 0, x, 0, -10, y), crs)
    assert bbox_window(grid, (-180, -90, 180, 90)) == Window(0, 0, 30, 20)


@pytest.mark.parametrize(
    ("bbox", "says"),
    [
        ((1, 2, 0, 3), "is empty"),
        ((0, 0, 0, 1), "is empty"),
        ((math.nan, 0, 1, 1), "is empty"),
        ((10, 40, 11, 41), "lies outside the scene, which covers -118"),
        ((0, -90, math.inf, 90), "finite"),
    ],
)
def test_a_box_that_meets_nothing_is_said(
    bbox: tuple[float, float, float, float], says: str
) -> None:
    with pytest.raises(TilingError, match=says):
        bbox_window(_utm(3.6e5, 3.77e6, 10), bbox)
