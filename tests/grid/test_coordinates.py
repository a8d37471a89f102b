import numpy as np
import pytest
from affine import Affine
from pyproj import Transformer

from geotrans.errors import UsageError
from geotrans.grid import Window, ground_coordinates, make_geobox

GRIDS = {
    "degrees": make_geobox((40, 60), Affine(0.1, 0, 10, 0, -0.1, 62), "EPSG:4326"),
    "turned": make_geobox((40, 60), Affine(0.08, 0.05, 10, 0.05, -0.08, 62), "EPSG:4326"),
    "utm": make_geobox((40, 60), Affine(9000, 0, 300_000, 0, -9000, 6_800_000), "EPSG:32633"),
    "polar": make_geobox((40, 60), Affine(9000, 0, -270_000, 0, -9000, 180_000), "EPSG:3413"),
}


@pytest.mark.parametrize("name", GRIDS)
def test_latitude_is_the_sine_at_the_middle_of_a_pixel(name):
    grid = GRIDS[name]
    found = ground_coordinates(grid, Window(0, 0, 60, 40), ("latitude",))[0]
    assert (found.dtype, found.shape) == (np.float32, (40, 60))
    to_lon_lat = Transformer.from_crs(grid.crs.proj, 4326, always_xy=True)
    for row, col in ((0, 0), (39, 59), (17, 31)):
        _, latitude = to_lon_lat.transform(*(grid.affine @ (col + 0.5, row + 0.5)))
        assert found[row, col] == pytest.approx(np.sin(np.radians(latitude)), abs=1e-6)


@pytest.mark.parametrize("name", GRIDS)
def test_a_window_has_the_bits_of_the_whole(name):
    whole = ground_coordinates(GRIDS[name], Window(-9, -7, 80, 60), ("latitude",))
    part = ground_coordinates(GRIDS[name], Window(3, -2, 41, 30), ("latitude",))
    np.testing.assert_array_equal(part, whole[:, 5:35, 12:53])


def test_beyond_the_pole_and_without_anything_to_know():
    grid = make_geobox((4, 4), Affine(1, 0, 0, 0, -1, 90), "EPSG:4326")
    found = ground_coordinates(grid, Window(0, -3, 2, 4), ("latitude",))
    np.testing.assert_array_equal(found[0, :3], np.ones((3, 2), np.float32))
    assert ground_coordinates(grid, Window(0, 0, 3, 2), ()).shape == (0, 2, 3)


def test_a_scene_without_crs_has_no_latitude():
    grid = make_geobox((4, 4), Affine.identity(), None)
    with pytest.raises(UsageError, match="latitude cannot be known: the scene has no CRS"):
        ground_coordinates(grid, Window(0, 0, 2, 2), ("latitude",))
    assert ground_coordinates(grid, Window(0, 0, 2, 2), ()).size == 0
