"""Sides of classes: derived from the target by a recipe, or read from class rasters."""

import json

import numpy as np
import pytest

from geotrans.errors import ConfigError, SamplingError
from geotrans.grid import Window
from geotrans.labelling.label import label
from geotrans.labelling.scene import LabelScene
from geotrans.runtime.config import validate_section
from geotrans.sampling.config import DataConfig, DerivedSide
from geotrans.sampling.tiling import fingerprint, write_patches
from geotrans.scene import open_scene
from geotrans.scene.views.classes import CLASSES_TAG
from tests.labelling.test_scene import RGBN, _photograph


@pytest.fixture
def folder(make_scene, tmp_path):
    """Photographs of two places in two splits, and class rasters of them."""
    for split, seed in (("train", 0), ("val", 1)):
        (tmp_path / split).mkdir()
        (tmp_path / f"{split}_labels").mkdir()
        path = make_scene(
            name=f"{split}/town_{seed}.tif", bands=RGBN, gsd_m=0.6, shape=(64, 64),
            data=_photograph((64, 64), seed), origin=(400_000.0 + 400 * seed, 3_800_000.0),
        )  # fmt: skip
        label(path, tmp_path / f"{split}_labels" / "labels.tif")
    return tmp_path


def _config(folder, source, **fields):
    content = {
        "root": str(folder),
        "splits": {"train": "train", "val": "val"},
        "source": source,
        "target": {"bands": list(RGBN), **({"files": "{split}"} if "files" in source else {})},
        **fields,
    }
    return validate_section(DataConfig, content, where="data")


def test_a_recipe_derives_the_source_from_the_target(folder, tmp_path):
    config = _config(folder, {"recipe": "landcover"})
    assert isinstance(config.source, DerivedSide)
    cache = write_patches(config, tmp_path / "cache")
    patches = cache.load("train")
    labels = LabelScene(open_scene(folder / "train" / "town_0.tif"), "landcover")
    np.testing.assert_array_equal(patches.source[0], labels.read(Window(0, 0, 64, 64)).data)
    np.testing.assert_array_equal(patches.target[0], _photograph((64, 64), 0))
    side = cache.manifest.source
    assert (side.bands, side.dtype) == (("class",), "uint8")
    assert [(c.value, c.name) for c in side.classes][:2] == [(0, "tree"), (1, "grass")]
    assert cache.manifest.config["source"]["recipe"]["name"] == "landcover"


def test_patches_cut_from_the_middle_have_real_surroundings(folder, tmp_path):
    config = _config(folder, {"recipe": "landcover"}, patch=32)
    patches = write_patches(config, tmp_path / "cache").load("train")
    labels = LabelScene(open_scene(folder / "train" / "town_0.tif"), "landcover")
    for record, source in zip(patches.records, patches.source, strict=True):
        np.testing.assert_array_equal(source, labels.read(Window(*record.window)).data)


def test_class_rasters_give_the_same(folder, tmp_path):
    derived = write_patches(_config(folder, {"recipe": "landcover"}), tmp_path / "one")
    source = {"files": "{split}_labels", "classes": True}
    read = write_patches(_config(folder, source), tmp_path / "two")
    assert read.manifest.source == derived.manifest.source
    np.testing.assert_array_equal(read.load("val").source, derived.load("val").source)


def test_classes_on_another_grid_are_never_mixed(folder, tmp_path, make_scene):
    values = np.array([2, 5, 6], np.uint8)[np.random.default_rng(0).integers(0, 3, (1, 40, 40))]
    colors = {v: (40 * v, 0, 0, 255) for v in range(7)}
    for split, seed in (("train", 0), ("val", 1)):
        (folder / f"{split}_coarse").mkdir()
        make_scene(
            name=f"{split}_coarse/a.tif", bands=("class",), gsd_m=1.1, shape=(40, 40), data=values,
            colormap=colors, origin=(399_999.0 + 400 * seed, 3_800_001.3),
        )  # fmt: skip
    source = {"files": "{split}_coarse", "classes": True}
    found = write_patches(_config(folder, source), tmp_path / "cache").load("train").source
    assert set(np.unique(found)) == {2, 5, 6}


def test_a_recipe_that_changed_cuts_another_cache(folder):
    text = LabelScene(open_scene(folder / "train" / "town_0.tif"), "landcover").recipe
    mine = folder / "mine.yaml"
    prints = []
    for majority in (3.0, 1.0):
        changed = text.model_copy(update={"majority_m": majority})
        mine.write_text(changed.model_dump_json(by_alias=True))
        prints.append(fingerprint(_config(folder, {"recipe": str(mine)})))
    assert prints[0] != prints[1]


class TestRefused:
    def test_a_raster_without_colours_or_names(self, folder, tmp_path):
        source = {"files": "{split}", "classes": True}
        with pytest.raises(SamplingError, match=r"one band of classes; town_0 has 4 of uint8"):
            write_patches(_config(folder, source), tmp_path / "cache")

    def test_a_value_the_legend_does_not_know(self, folder, tmp_path, make_scene):
        for split, seed in (("train", 0), ("val", 1)):
            (folder / f"{split}_odd").mkdir()
            make_scene(
                name=f"{split}_odd/a.tif", bands=("class",), gsd_m=0.6, shape=(64, 64),
                origin=(400_000.0 + 400 * seed, 3_800_000.0),
                tags={CLASSES_TAG: json.dumps(["a", "b"])},
            )  # fmt: skip
        source = {"files": "{split}_odd", "classes": True}
        with pytest.raises(SamplingError, match=r"a holds the values 2, .* do not know"):
            write_patches(_config(folder, source), tmp_path / "cache")

    def test_legends_that_differ(self, folder, tmp_path):
        other = folder / "train_labels" / "labels.tif"
        recipe = LabelScene(open_scene(folder / "train" / "town_0.tif"), "landcover").recipe
        classes = (recipe.classes[0].model_copy(update={"name": "wood"}), *recipe.classes[1:])
        rules = tuple(
            r.model_copy(update={"class_name": "wood"}) if r.class_name == "tree" else r
            for r in recipe.rules
        )
        mine = recipe.model_copy(update={"classes": classes, "rules": rules})
        label(folder / "train" / "town_0.tif", other, recipe=mine, overwrite=True)
        source = {"files": "{split}_labels", "classes": True}
        with pytest.raises(SamplingError, match="other classes or colours"):
            write_patches(_config(folder, source), tmp_path / "cache")

    @pytest.mark.parametrize(
        ("sides", "told"),
        [
            ({"source": {}, "target": {"recipe": "landcover"}}, "give the target rasters"),
            ({"source": {"recipe": "landcover"}, "target": {"vectors": "a"}}, "drawn from vectors"),
        ],
    )
    def test_sides_that_cannot_be(self, folder, sides, told):
        with pytest.raises(ConfigError, match=told):
            validate_section(DataConfig, {"splits": {"train": "train"}, **sides}, where="data")
