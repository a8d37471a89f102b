import json

import numpy as np
import pytest
import rasterio
from rasterio.warp import transform_bounds

from geotrans import output as writing
from geotrans.errors import OutputError, SceneError, UsageError
from geotrans.grid import Window
from geotrans.labelling.label import label
from geotrans.labelling.scene import LabelScene
from geotrans.scene import open_scene
from geotrans.scene.views.classes import read_class_names
from tests.labelling.test_scene import RGBN, _photograph


@pytest.fixture
def photograph(make_scene):
    gap = np.zeros((96, 128), bool)
    gap[:10, :20] = True
    return make_scene(
        bands=RGBN, gsd_m=0.6, shape=(96, 128), data=_photograph(), mask=True, invalid=gap
    )


def test_the_file_is_what_is_read(photograph, tmp_path):
    out = label(photograph, tmp_path / "labels.tif")
    scene = open_scene(photograph)
    expected = LabelScene(scene, "landcover").read(Window(0, 0, 128, 96))
    with rasterio.open(out) as file:
        assert (file.count, file.dtypes[0], file.nodata) == (1, "uint8", 255)
        assert file.transform == scene.geobox.affine
        assert file.crs == scene.geobox.crs.to_wkt()
        np.testing.assert_array_equal(file.read(), expected.data)
        np.testing.assert_array_equal(file.dataset_mask() > 0, expected.valid)
        assert file.colormap(1)[0] == (34, 110, 50, 255)
        assert file.descriptions == ("class",)
        assert json.loads(file.tags()["GEOTRANS_CLASSES"])[0] == "tree"
        assert file.tags()["GEOTRANS_RECIPE"] == "landcover"
    assert read_class_names(open_scene(out))[8] == "water"


def test_part_of_it_and_in_any_windows(photograph, tmp_path, monkeypatch):
    whole = label(photograph, tmp_path / "whole.tif")
    monkeypatch.setattr(writing, "_WINDOW_SHAPE", (16, 32))
    small = label(photograph, tmp_path / "small.tif")
    with rasterio.open(whole) as one, rasterio.open(small) as other:
        np.testing.assert_array_equal(one.read(), other.read())
        left, bottom, right, top = transform_bounds(one.crs, 4326, *one.bounds)
        bbox = left, bottom + (top - bottom) / 3, (left + right) / 2, top
        part = label(photograph, tmp_path / "part.tif", bbox=bbox)
        with rasterio.open(part) as cut:
            row, col = one.index(cut.transform.c + 0.1, cut.transform.f - 0.1)
            expected = one.read(window=((row, row + cut.height), (col, col + cut.width)))
            np.testing.assert_array_equal(cut.read(), expected)
            assert cut.width < one.width


def test_large_ones_have_overviews_of_whole_classes(make_scene, tmp_path):
    path = make_scene(
        bands=RGBN, gsd_m=0.6, shape=(40, 1100),
        data=np.tile(_photograph((40, 110)), (1, 1, 10)), block=64,
    )  # fmt: skip
    with rasterio.open(label(path, tmp_path / "labels.tif")) as file:
        assert file.overviews(1) == [2, 4]
        assert set(np.unique(file.read(1, out_shape=(10, 275)))) <= {*range(9)}


def test_what_cannot_be_written(photograph, tmp_path):
    out = label(photograph, tmp_path / "labels.tif")
    with pytest.raises(OutputError, match="overwrite=True"):
        label(photograph, out)
    label(photograph, out, overwrite=True)
    with pytest.raises(OutputError, match="is an input"):
        label(photograph, photograph, overwrite=True)
    with pytest.raises(UsageError, match="class raster is a GeoTIFF"):
        label(photograph, tmp_path / "labels.png")
    with pytest.raises(SceneError, match="no such file"):
        label(tmp_path / "none.tif", tmp_path / "other.tif")
    assert not (tmp_path / "other.tif").exists()
