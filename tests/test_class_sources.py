"""A task that reads one band of classes, from the raster to the product."""

import json
import warnings

import numpy as np
import pytest
import rasterio
from rasterio.errors import NotGeoreferencedWarning

from geotrans.errors import DomainError
from geotrans.grid import Window
from geotrans.inference import Translator
from geotrans.scene.views.classes import CLASSES_TAG
from geotrans.tasks import Bundle, TaskSpec, render_card
from geotrans.translation.translate import translate
from tests.helpers.bundles import CLASSES, class_bundle

VALUES = np.array([one.value for one in CLASSES])
COLORMAP = {one.value: (*one.color, 255) for one in CLASSES}


def _classes(shape=(70, 90), seed=0):
    rng = np.random.default_rng(seed)
    blocks = VALUES[rng.integers(0, 3, (9, 12))]
    return np.kron(blocks, np.ones((8, 8), int))[: shape[0], : shape[1]].astype(np.uint8)[None]


@pytest.fixture
def painted_bundle(tmp_path):
    return class_bundle(tmp_path / "painted.safetensors")


@pytest.fixture
def labels(make_scene):
    def make(data=None, **options):
        data = _classes() if data is None else data
        fields = {"bands": ("class",), "colormap": COLORMAP, **options}
        return make_scene(shape=data.shape[1:], data=data, **fields)

    return make


def _pixels(path):
    with rasterio.open(path) as file:
        return file.read(), file.dataset_mask() > 0


def test_the_network_sees_one_channel_a_class(painted_bundle):
    translator = Translator(Bundle.open(painted_bundle), device="cpu", precision="float32")
    data = _classes((16, 20))
    planes = translator.planes(data, window=Window(0, 0, 20, 16), anchor=(0, 0)).numpy()
    for one, plane in zip(CLASSES, planes, strict=False):
        np.testing.assert_array_equal(plane, data[0] == one.value)
    assert planes.shape == (4, 16, 20)


def test_a_value_that_is_no_class_is_refused_with_a_list(painted_bundle):
    translator = Translator(Bundle.open(painted_bundle), device="cpu", precision="float32")
    data = _classes((16, 20))
    data[0, 3, 4], data[0, 5, 5] = 17, 9
    with pytest.raises(DomainError, match=r"0 tree, 3 roof, 4 road; .* holds 9, 17"):
        translator(data, window=Window(0, 0, 20, 16), anchor=(0, 0))


def test_tiles_do_not_show_and_nodata_stays(painted_bundle, labels, tmp_path):
    gap = np.zeros((70, 90), bool)
    gap[20:45, 30:52] = True
    path = labels(nodata=255, invalid=gap)
    made = [
        _pixels(translate(path, task=painted_bundle, out=tmp_path / f"{tile}.tif", tile=tile).path)
        for tile in (16, 32, 96)
    ]
    for pixels, valid in made:
        np.testing.assert_array_equal(pixels, made[0][0])
        np.testing.assert_array_equal(valid, ~gap)
    assert made[0][0].std() > 0


def test_classes_are_matched_by_name_where_there_are_names(painted_bundle, labels, tmp_path):
    plain = translate(labels(name="plain.tif"), task=painted_bundle, out=tmp_path / "plain_out.tif")
    renumbered = np.select([_classes() == v for v in VALUES], [7, 1, 0]).astype(np.uint8)
    names = ["road", "roof", "", "", "", "", "", "tree"]
    path = labels(
        renumbered, name="other.tif", colormap={0: (0, 0, 0, 255)},
        tags={CLASSES_TAG: json.dumps(names)},
    )  # fmt: skip
    named = translate(path, task=painted_bundle, out=tmp_path / "named_out.tif")
    np.testing.assert_array_equal(_pixels(plain.path)[0], _pixels(named.path)[0])


def test_a_raster_that_says_nothing_is_matched_by_its_values(painted_bundle, labels, tmp_path):
    plain = translate(labels(name="plain.tif"), task=painted_bundle, out=tmp_path / "plain_out.tif")
    bare = labels(name="bare.tif", bands=1, colormap=None)
    made = translate(bare, task=painted_bundle, out=tmp_path / "bare_out.tif")
    np.testing.assert_array_equal(_pixels(plain.path)[0], _pixels(made.path)[0])


def test_other_classes_are_refused_with_what_to_do(painted_bundle, labels, tmp_path, make_scene):
    out = tmp_path / "out.tif"
    foreign = labels(name="foreign.tif", tags={CLASSES_TAG: json.dumps(["ice", "", "", "sea"])})
    with pytest.raises(DomainError, match=r"classes tree, roof, road; foreign has ice, sea"):
        translate(foreign, task=painted_bundle, out=out)
    partly = labels(
        name="partly.tif", tags={CLASSES_TAG: json.dumps(["tree", "", "", "roof", "lava"])}
    )
    with pytest.raises(DomainError, match=r"also holds 4 lava .*nodata"):
        translate(partly, task=painted_bundle, out=out)
    data = _classes()
    data[0, 40, 40] = 99
    with pytest.raises(DomainError, match=r"also holds 99 "):
        translate(labels(data, name="by_value.tif"), task=painted_bundle, out=out)
    with pytest.raises(DomainError, match=r"reads one band of classes; rgb has 3"):
        translate(make_scene(name="rgb.tif"), task=painted_bundle, out=out)
    assert not out.exists()


def test_the_preview_is_drawn_in_the_colours_of_the_classes(painted_bundle, labels, tmp_path):
    data = np.full((1, 40, 40), 3, np.uint8)
    path = labels(data, colormap=None)
    product = translate(path, task=painted_bundle, out=tmp_path / "out.tif", preview=True)
    with (
        warnings.catch_warnings(action="ignore", category=NotGeoreferencedWarning),
        rasterio.open(product.preview) as png,
    ):
        left = png.read()[:, :40, :40]
    np.testing.assert_array_equal(left[:, 20, 20], (*CLASSES[1].color, 255))


def test_card_and_spec(painted_bundle):
    spec = Bundle.open(painted_bundle).spec
    assert spec.channels_in == 4
    card = render_card(spec)
    assert "one band of 3 classes" in card
    assert "| 3 | roof | #f5f0eb |" in card
    two = {**spec.model_dump(), "source_classes": [CLASSES[0], CLASSES[0]]}
    with pytest.raises(ValueError, match="two source classes have one value"):
        TaskSpec.model_validate(two)
