import pickle

import numpy as np
import pytest
import shapely

from geotrans.errors import BandError, ConfigError, DomainError
from geotrans.grid import Window
from geotrans.labelling.recipe import load_recipe
from geotrans.labelling.scene import LabelScene
from geotrans.scene import open_scene
from geotrans.scene.views.classes import read_class_values
from tests.helpers.vectors import write_vectors

RGBN = ("red", "green", "blue", "nir")
# A plain field of each class, red, green, blue, nir; trees are rough.
FIELDS = {
    "grass": (90, 120, 80, 180),
    "bare soil": (190, 165, 130, 190),
    "bright roof": (230, 230, 228, 225),
    "dark roof": (60, 62, 66, 60),
    "red roof": (170, 100, 80, 120),
    "paved": (120, 122, 120, 118),
    "shadow": (30, 36, 44, 28),
    "water": (90, 150, 180, 60),
}


def _photograph(shape=(96, 128), seed=0):
    """Smooth and rough ground of every kind, which no two windows share by chance."""
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(0, 255, (4, 9, 11))
    fine = np.kron(coarse, np.ones((12, 12)))[:, : shape[0], : shape[1]]
    return np.clip(fine + rng.normal(0, 12, (4, *shape)), 0, 255).astype(np.uint8)


@pytest.fixture
def photograph(make_scene):
    return make_scene(bands=RGBN, gsd_m=0.6, shape=(96, 128), data=_photograph(), nodata=None)


DRY_GRASS = (174, 158, 112, 180)  # Eureka in August: as warm as a tiled roof, and yellow


@pytest.mark.parametrize("name", [*FIELDS, "dry grass"])
def test_a_plain_field_is_what_it_looks_like(name, make_scene):
    data = np.broadcast_to(
        np.array(FIELDS.get(name, DRY_GRASS), np.uint8)[:, None, None], (4, 32, 32)
    )
    path = make_scene(bands=RGBN, gsd_m=0.6, shape=(32, 32), data=data)
    labels = LabelScene(open_scene(path), "landcover")
    found = labels.read(Window(0, 0, 32, 32)).data
    assert {labels.classes[value].name for value in np.unique(found)} == {
        name if name in FIELDS else "bare soil"
    }


def test_rough_green_is_a_tree(make_scene):
    rng = np.random.default_rng(0)
    data = np.array(FIELDS["grass"])[:, None, None] + rng.normal(0, 25, (1, 32, 32))
    path = make_scene(
        bands=RGBN, gsd_m=0.6, shape=(32, 32), data=data.clip(0, 255).astype(np.uint8)
    )
    found = LabelScene(open_scene(path), "landcover").read(Window(0, 0, 32, 32)).data
    assert (found == 0).mean() > 0.95


@pytest.mark.parametrize("window", [(0, 0, 20, 30), (41, 13, 50, 61), (100, 80, 28, 16)])
def test_a_label_does_not_depend_on_the_window(photograph, window):
    labels = LabelScene(open_scene(photograph), "landcover")
    whole = labels.read(Window(0, 0, 128, 96)).data
    part = Window(*window)
    np.testing.assert_array_equal(labels.read(part).data, whole[:, *part.slices])
    assert len(np.unique(whole)) > 5


def test_gaps_are_blank_and_change_nothing_far_from_them(make_scene):
    data = _photograph()
    gap = np.zeros((96, 128), bool)
    gap[30:40, 50:70] = True
    plain = make_scene(bands=RGBN, gsd_m=0.6, shape=(96, 128), data=data, name="plain.tif")
    holed = make_scene(
        bands=RGBN, gsd_m=0.6, shape=(96, 128), data=data, mask=True, invalid=gap, name="holed.tif"
    )
    whole = Window(0, 0, 128, 96)
    one, other = (LabelScene(open_scene(p), "landcover") for p in (plain, holed))
    before, after = one.read(whole), other.read(whole)
    np.testing.assert_array_equal(after.valid, ~gap)
    assert (after.data[0][gap] == 255).all()
    reach = Window(50, 30, 20, 10).grown(other.halo)
    far = np.ones_like(gap)
    far[reach.slices] = False
    np.testing.assert_array_equal(after.data[0][far], before.data[0][far])


def test_what_it_says_about_itself(photograph):
    labels = LabelScene(open_scene(photograph), "landcover")
    assert [one.name for one in read_class_values(labels)] == [c.name for c in labels.classes]
    assert (labels.nodata, labels.dtype, labels.halo) == (255, np.uint8, 6)
    again = pickle.loads(pickle.dumps(labels))
    window = Window(3, 4, 20, 20)
    np.testing.assert_array_equal(again.read(window).data, labels.read(window).data)
    assert again.identity == labels.identity
    mine = load_recipe("landcover").model_copy(update={"majority_m": 0.0})
    assert LabelScene(open_scene(photograph), mine).identity != labels.identity


def test_the_square_is_measured_on_the_ground(make_scene):
    path = make_scene(bands=RGBN, gsd_m=0.8, shape=(32, 32), data=_photograph((32, 32)))
    labels = LabelScene(open_scene(path), "landcover")
    assert (labels.texture_px, labels.majority_px) == (7, 3)


def test_roads_are_painted_over_what_is_flat(make_scene, tmp_path):
    data = np.empty((4, 60, 60), np.uint8)
    data[:, :, :30] = np.array(FIELDS["paved"])[:, None, None]
    data[:, :, 30:] = np.array(FIELDS["grass"])[:, None, None]
    path = make_scene(
        bands=RGBN, gsd_m=0.6, shape=(60, 60), data=data, origin=(400_000.0, 3_800_036.0)
    )
    line = shapely.LineString([(399_990, 3_800_018), (400_050, 3_800_018)])
    rows = [(line, {"highway": "residential", "tunnel": None})]
    roads = write_vectors(tmp_path / "roads.gpkg", rows, layer="lines")
    recipe = load_recipe("landcover")
    labels = LabelScene(open_scene(path), recipe, vectors=roads)
    found = labels.read(Window(0, 0, 60, 60)).data[0]
    road = recipe.index("road")
    assert (found[24:36, :28] == road).all()
    assert not (found[:, 33:] == road).any()
    assert not (found[:15] == road).any()
    assert labels.classes[-1].name == "road"


class TestRefused:
    def test_bands_that_are_missing(self, make_scene):
        with pytest.raises(BandError, match=r"landcover.*nir"):
            LabelScene(open_scene(make_scene(gsd_m=0.6)), "landcover")

    def test_pixels_of_another_size(self, make_scene):
        path = make_scene(bands=RGBN, gsd_m=10, shape=(32, 32), data=_photograph((32, 32)))
        with pytest.raises(DomainError, match=r"pixels of 10 m.* 0.4 to 1 m.*any_gsd=True"):
            LabelScene(open_scene(path), "landcover")
        LabelScene(open_scene(path), "landcover", any_gsd=True)

    def test_values_of_another_range(self, make_scene):
        data = _photograph((32, 32)).astype(np.uint16) * 20
        path = make_scene(bands=RGBN, gsd_m=0.6, shape=(32, 32), dtype="uint16", data=data)
        with pytest.raises(DomainError, match=r"meant for 0 to 255.*any_values=True"):
            LabelScene(open_scene(path), "landcover")
        LabelScene(open_scene(path), "landcover", any_values=True)

    def test_vectors_where_none_are_painted(self, photograph, tmp_path):
        mine = load_recipe("landcover").model_copy(update={"vectors": None})
        with pytest.raises(ConfigError, match="paints nothing"):
            LabelScene(open_scene(photograph), mine, vectors=tmp_path / "roads.gpkg")
