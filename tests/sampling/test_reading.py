import numpy as np
import pytest
import rasterio
from rasterio.enums import Resampling
from rasterio.warp import reproject

from geotrans.errors import BandError, SceneError
from geotrans.grid import Window
from geotrans.maps.renderer import MapRenderer
from geotrans.sampling.reading import DrawnSide, PairReader, SceneSide, mask_inside
from geotrans.scene import open_scene
from tests.helpers.scenes import coded
from tests.sampling.conftest import ORIGIN

# (crs, gsd_m, origin) of a source that surrounds a target of 40 x 48 px of 10 m at `ORIGIN`.
SOURCES = {
    "same grid": ("EPSG:32611", 10.0, (ORIGIN[0] - 200, ORIGIN[1] + 200)),
    "coarser": ("EPSG:32611", 25.0, (ORIGIN[0] - 210, ORIGIN[1] + 215)),
    "finer": ("EPSG:32611", 4.0, (ORIGIN[0] - 210, ORIGIN[1] + 215)),
    "another zone": ("EPSG:32610", 12.0, (951_505.0, 3_811_007.0)),
    "degrees": ("EPSG:4326", 10.0, (-118.095, 34.345)),
}


def _smooth(shape):
    """Values whose interpolation is meaningful, different along both axes and in each band."""
    row, col = np.mgrid[: shape[0], : shape[1]]
    wave = np.stack([np.sin(row / 9 + b) + np.cos(col / 7 - b) for b in range(2)])
    return (1000 + 400 * wave).astype(np.uint16)


@pytest.fixture
def target(make_scene):
    return make_scene(shape=(40, 48), origin=ORIGIN)


def _reader(source, target, **options):
    grid = open_scene(target)
    return PairReader(
        grid,
        SceneSide.open(open_scene(source), grid.geobox, **options),
        SceneSide.open(grid, grid.geobox),
    )


@pytest.mark.parametrize("resampling", ["nearest", "bilinear", "cubic", "average"])
@pytest.mark.parametrize("name", SOURCES)
def test_pairs_across_crs_and_gsd_agree_with_gdal(name, resampling, make_scene, target):
    crs, gsd_m, origin = SOURCES[name]
    n = round(1200 / gsd_m) if name in ("coarser", "finer", "same grid") else 160
    source = make_scene(
        crs, (n, n), gsd_m, "uint16", bands=("a", "b"), origin=origin, data=_smooth((n, n))
    )
    window = Window(5, 3, 31, 29)
    patch = _reader(source, target, resampling=resampling).read(window)
    np.testing.assert_array_equal(patch.target, coded((40, 48))[:, *window.slices])
    expected = np.zeros((2, 40, 48), np.uint16)
    with rasterio.open(target) as grid, rasterio.open(source) as below:
        reproject(
            rasterio.band(below, [1, 2]),
            expected,
            dst_transform=grid.transform,
            dst_crs=grid.crs,
            resampling=Resampling[resampling],
            tolerance=0,
        )
    assert patch.valid.all()
    assert patch.source.shape == (2, 29, 31)
    # Rounding may differ by one; a nearest neighbour may tip over where two are as near.
    difference = np.abs(patch.source.astype(int) - expected[:, *window.slices])
    assert (difference > 1).mean() < (0.02 if resampling == "nearest" else 0.001)
    assert np.ptp(expected) > 300


def test_a_shift_of_one_pixel_would_show(make_scene, target):
    source = make_scene(shape=(80, 80), origin=SOURCES["same grid"][2])
    patch = _reader(source, target).read(Window(4, 2, 20, 10))
    np.testing.assert_array_equal(patch.source, coded((80, 80))[:, 22:32, 24:44])
    np.testing.assert_array_equal(patch.target, coded((40, 48))[:, 2:12, 4:24])


def test_valid_is_where_both_sides_are(make_scene):
    holes = {name: np.zeros((20, 20), bool) for name in ("source", "target")}
    holes["source"][2:5, 3:6] = True
    holes["target"][10:12, 8] = True
    source, target = (
        make_scene(shape=(20, 20), nodata=0, invalid=holes[name], origin=ORIGIN)
        for name in ("source", "target")
    )
    patch = _reader(source, target).read(Window(0, 0, 20, 20))
    np.testing.assert_array_equal(patch.valid, ~(holes["source"] | holes["target"]))
    # Holes are filled, so that a network never sees nodata.
    assert (patch.source != 0).all()
    assert (patch.target != 0).all()


def test_beyond_the_scene_nothing_is_valid(target):
    patch = _reader(target, target).read(Window(-3, -2, 60, 50))
    expected = np.zeros((50, 60), bool)
    expected[2:42, 3:51] = True
    np.testing.assert_array_equal(patch.valid, expected)
    np.testing.assert_array_equal(patch.source[:, 2:42, 3:51], coded((40, 48)))
    np.testing.assert_array_equal(
        mask_inside(Window(50, 0, 4, 4), open_scene(target).geobox), False
    )


def test_bands_by_name_and_number(make_scene, target):
    source = make_scene(
        shape=(40, 48), bands=("red", "green", "blue", "nir"), origin=ORIGIN, dtype="uint16"
    )
    values = coded((40, 48), bands=4, dtype="uint16")
    side = _reader(source, target, wanted=["nir", 2]).source
    assert side.names == ("nir", "green")
    np.testing.assert_array_equal(side.read(Window(0, 0, 48, 40))[0], values[[3, 1]])
    with pytest.raises(BandError, match=r"data\.x asks for swir; scene1\.?.* has 1 \(red\)"):
        _reader(source, target, wanted=["swir"], option="data.x")


def test_physical_values_take_scale_and_offset_once(make_scene, target):
    source = make_scene(
        shape=(40, 48), origin=ORIGIN, dtype="uint16", scales=[2e-4] * 3, offsets=[-0.1] * 3
    )
    side = _reader(source, target, units="reflectance").source
    assert side.dtype == np.float32
    expected = coded((40, 48), dtype="uint16") * 2e-4 - 0.1
    np.testing.assert_allclose(side.read(Window(0, 0, 48, 40))[0], expected, atol=1e-6)


def test_a_map_is_drawn_where_the_streets_are(target, vectors, style):
    grid = open_scene(target)
    renderer = MapRenderer(vectors, style, "EPSG:32611")
    reader = PairReader(
        grid, DrawnSide(renderer, grid.geobox, margin=6), SceneSide.open(grid, grid.geobox)
    )
    window = Window(10, 4, 20, 16)
    patch = reader.read(window)
    road = np.zeros((40, 48), bool)
    # 20 m wide: rows 8.5 to 10.5 and columns 19.5 to 21.5, in pixels of 10 m.
    road[9:10] = road[:, 20:21] = True
    inner = patch.classes == 1
    assert (inner >= road[window.slices]).all()
    road[8:11] = road[:, 19:22] = True
    assert (inner <= road[window.slices]).all()
    assert patch.source.shape == (3, 28, 32)
    assert patch.target.shape == (3, 16, 20)
    wide = reader.read(window.grown(6))
    np.testing.assert_array_equal(patch.source, wide.source[:, 6:-6, 6:-6])
    np.testing.assert_array_equal(patch.classes, wide.classes[6:-6, 6:-6])


def test_a_truncated_file_is_told(make_scene, target):
    source = make_scene(shape=(300, 300), origin=ORIGIN, compress="deflate")
    reader = _reader(source, target)
    source.write_bytes(source.read_bytes()[:2000])
    with pytest.raises(SceneError, match="scene"):
        reader.read(Window(0, 0, 40, 40))


def test_a_derived_band_is_the_rounded_sum_of_others(make_scene):
    data = np.random.default_rng(0).integers(0, 256, (3, 40, 48)).astype(np.uint8)
    path = make_scene(shape=(40, 48), bands=("red", "green", "blue"), data=data, origin=ORIGIN)
    scene = open_scene(path)
    pan = {"pan": {"red": 0.299, "green": 0.587, "blue": 0.114}}
    side = SceneSide.open(scene, scene.geobox, wanted=["blue", "pan"], derive=pan)
    assert side.names == ("blue", "pan")
    assert side.dtype == np.uint8
    window = Window(3, 5, 20, 10)
    values, valid, _ = side.read(window)
    weighted = 0.299 * data[0].astype(float) + 0.587 * data[1] + 0.114 * data[2]
    np.testing.assert_array_equal(values[1], np.rint(weighted)[window.slices])
    np.testing.assert_array_equal(values[0], data[2][window.slices])
    assert values.dtype == np.uint8
    assert valid.all()
    every = SceneSide.open(scene, scene.geobox, derive={"sum": {"red": 1, "blue": 1}})
    assert every.names == ("red", "green", "blue", "sum")
    sums, _, _ = every.read(window)
    np.testing.assert_array_equal(
        sums[3], np.minimum(data[0].astype(int) + data[2], 255)[window.slices]
    )


def test_a_derived_band_is_not_valid_where_a_part_is_not(make_scene):
    data = np.full((2, 40, 48), 9, np.uint8)
    data[1, 4, 6] = 255
    path = make_scene(shape=(40, 48), bands=("a", "b"), data=data, nodata=255, origin=ORIGIN)
    scene = open_scene(path)
    side = SceneSide.open(scene, scene.geobox, wanted=["s"], derive={"s": {"a": 1, "b": 2}})
    values, valid, _ = side.read(Window.whole((40, 48)))
    assert np.argwhere(~valid).tolist() == [[4, 6]]
    assert values[0][valid].tolist() == [27] * (40 * 48 - 1)


def test_a_derived_band_of_what_is_not_there_is_told(make_scene):
    scene = open_scene(make_scene(bands=("red", "green", "blue")))
    with pytest.raises(BandError, match=r"data\.source\.bands asks for nir"):
        SceneSide.open(
            scene,
            scene.geobox,
            wanted=["x"],
            derive={"x": {"nir": 1}},
            option="data.source.bands",
        )
