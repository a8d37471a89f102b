import json

import numpy as np
import pytest

from geotrans.errors import DomainError
from geotrans.grid import Window
from geotrans.scene import open_scene
from geotrans.scene.views.classes import (
    CLASSES_TAG,
    ClassScene,
    ClassValue,
    read_class_names,
    read_class_values,
    write_category_names,
)

COLORS = {0: (10, 120, 30, 255), 1: (240, 240, 240, 255), 4: (20, 20, 200, 255)}
DATA = np.array([0, 1, 4, 1], np.uint8)[np.indices((32, 40)).sum(0) % 4][None]
WHOLE = Window(0, 0, 40, 32)


@pytest.fixture
def raster(make_scene):
    def make(**options):
        fields = {"colormap": COLORS, "bands": ("class",), "data": DATA, **options}
        return make_scene(shape=(32, 40), **fields)

    return make


def test_names_in_our_tag_or_beside_the_file(raster):
    tagged = raster(tags={CLASSES_TAG: json.dumps(["tree", "roof", "", "", "water"])}, name="a.tif")
    assert read_class_names(open_scene(tagged)) == {0: "tree", 1: "roof", 4: "water"}
    beside = raster(name="b.tif")
    write_category_names(beside, ["tree", "roof"])
    assert read_class_names(open_scene(beside)) == {0: "tree", 1: "roof"}


def test_no_names(raster, make_scene):
    assert read_class_names(open_scene(raster(tags={CLASSES_TAG: "{"}))) is None
    assert read_class_names(open_scene(make_scene(name="rgb.tif"))) is None
    plain = make_scene(name="plain.tif", bands=1, shape=(32, 40), data=DATA)
    assert read_class_values(open_scene(plain)) is None


def test_values_with_their_colours(raster):
    path = raster(tags={CLASSES_TAG: json.dumps(["tree", "roof"])})
    assert read_class_values(open_scene(path)) == (
        ClassValue(0, "tree", (10, 120, 30)),
        ClassValue(1, "roof", (240, 240, 240)),
    )


class TestClassScene:
    def scene(self, path, values, names=None):
        colors = {7: (1, 2, 3), 8: (4, 5, 6), 9: (7, 8, 9)}
        return ClassScene(open_scene(path), values, colors=colors, names=names or {}, task="t")

    def test_reads_the_values_of_the_task(self, raster):
        scene = self.scene(raster(), {0: 9, 1: 8, 4: 7})
        expected = np.array([9, 8, 7, 7, 7])[DATA]
        expected[DATA == 4] = 7
        np.testing.assert_array_equal(scene.read(WHOLE).data, expected)
        assert scene.colormap == {7: (1, 2, 3, 255), 8: (4, 5, 6, 255), 9: (7, 8, 9, 255)}

    def test_never_averages_even_where_the_file_has_no_colours(self, raster):
        scene = self.scene(raster(colormap=None), {0: 9, 1: 8, 4: 7})
        assert set(np.unique(scene.overview(7).data)) <= {7, 8, 9}

    def test_an_unknown_class_is_refused_where_it_is_met(self, raster):
        scene = self.scene(raster(), {0: 9, 1: 8}, {0: "tree", 1: "roof", 4: "lava"})
        with pytest.raises(
            DomainError, match=r"'t' knows the classes 0 tree, 1 roof.* also holds 4 lava at"
        ):
            scene.read(WHOLE)

    def test_nodata_is_no_class(self, raster):
        scene = self.scene(raster(nodata=4), {0: 9, 1: 8})
        patch = scene.read(WHOLE)
        np.testing.assert_array_equal(patch.valid, DATA[0] != 4)
