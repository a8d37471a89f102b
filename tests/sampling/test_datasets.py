import pickle

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from geotrans.errors import BandError, SamplingError
from geotrans.grid import Window
from geotrans.maps.renderer import MapRenderer
from geotrans.sampling import DataConfig, GridWindows, PairedScenes, RandomWindows
from tests.helpers.scenes import coded
from tests.sampling.conftest import ORIGIN


@pytest.fixture
def pairs(make_scene, tmp_path):
    """Coarse radar in degrees around two optical scenes of one place, of two years."""
    make_scene("EPSG:4326", (60, 80), 20, "float32", bands=["vv", "vh"], origin=(-118.09, 34.339))
    for year in (2016, 2018):
        make_scene(shape=(30, 40), origin=ORIGIN, name=f"optical_{year}.tif")
    return PairedScenes.open(
        tmp_path / "scene0.tif",
        f"{tmp_path}/optical_*.tif",
        source_bands=["vh"],
        date=r"_(\d{4})",
    )


def test_index_says_where_and_when(pairs):
    assert len(pairs) == 2
    assert pairs.crs.to_epsg() == 32611
    assert pairs.res == (10, 10)
    x, y = ORIGIN
    np.testing.assert_allclose(pairs.index.total_bounds, (x, y - 300, x + 400, y))
    assert [span.left.year for span in pairs.index.index] == [2016, 2018]
    assert [span.right.year for span in pairs.index.index] == [2016, 2018]


def test_geographic_slices_are_read_on_the_nearest_pixels(pairs):
    x, y = ORIGIN
    sample = pairs[x + 51 : x + 151, y - 128 : y - 68]
    assert sample["window"].tolist() == [5, 7, 10, 6]
    np.testing.assert_array_equal(sample["target"], coded((30, 40))[:, 7:13, 5:15])
    assert sample["source"].shape == (1, 6, 10)
    assert sample["transform"].tolist() == [10, 0, x + 50, 0, -10, y - 70]


def test_time_chooses_the_scene(pairs):
    for i, span in enumerate(pairs.index.index):
        assert int(pairs[:, :, span.left : span.right]["scene"]) == i


def test_elsewhere_is_an_index_error(pairs):
    x, y = ORIGIN
    with pytest.raises(IndexError, match="meets none of the 2 scenes"):
        pairs[x + 900 : x + 950, y - 50 : y]


def test_a_window_drawn_elsewhere_is_found_by_its_ground(pairs, make_scene):
    other = [
        make_scene(shape=(8, 8), origin=(ORIGIN[0] + 30, ORIGIN[1] - 40), name="other.tif"),
    ]
    index = next(iter(GridWindows(PairedScenes.open(other, other), size=8)))
    assert pairs[index]["window"].tolist() == [3, 4, 8, 8]


def test_values_are_those_of_the_reader(pairs):
    for index in RandomWindows(pairs, size=9, length=5):
        sample = pairs[index]
        patch = pairs.readers[index.scene].read(index.window)
        np.testing.assert_array_equal(sample["source"], patch.source)
        np.testing.assert_array_equal(sample["valid"], patch.valid)
        assert {sample[name].dtype for name in ("source", "target")} == {torch.float32}
        assert sample["valid"].dtype == torch.bool


def test_a_dataset_goes_to_another_process(pairs):
    copy = pickle.loads(pickle.dumps(pairs))
    index = next(iter(RandomWindows(pairs, size=9)))
    for name, value in pairs[index].items():
        torch.testing.assert_close(copy[index][name], value)


def test_transforms_are_called(make_scene):
    path = make_scene()
    dataset = PairedScenes.open(path, path, transforms=lambda s: s | {"n": torch.tensor(7)})
    assert int(dataset[:, :]["n"]) == 7


# Forked from a process that other tests gave threads.
@pytest.mark.filterwarnings("ignore:.*multi-threaded")
def test_maps_are_drawn_beside_aerials(town):
    renderer = MapRenderer(town / "streets.gpkg", town / "town.yaml", "EPSG:32611")
    forth = PairedScenes.open(renderer, town / "aerial/train")
    back = PairedScenes.open(town / "aerial/train", renderer)
    index = next(iter(RandomWindows(forth, size=16, seed=1)))
    one, other = forth[index], back[index]
    torch.testing.assert_close(one["source"], other["target"])
    torch.testing.assert_close(one["target"], other["source"])
    geobox = forth.geoboxes[index.scene]
    expected = renderer.draw_classes(geobox)[index.window.slices]
    np.testing.assert_array_equal(one["classes"], expected)
    loader = DataLoader(forth, batch_size=2, sampler=[index, index], num_workers=1)
    torch.testing.assert_close(next(iter(loader))["source"][1], one["source"])
    with pytest.raises(SamplingError, match="both drawn"):
        PairedScenes.open(renderer, renderer)


@pytest.fixture
def settings(town):
    return {
        "root": str(town),
        "splits": {"train": "aerial/train", "val": "aerial/val"},
        "source": {"bands": ["nir", "red"]},
        "target": {"bands": ["green"]},
    }


def test_a_configuration_gives_a_dataset(settings):
    dataset = PairedScenes.from_config(DataConfig.model_validate(settings), "val")
    sample = dataset[next(iter(GridWindows(dataset, size=(32, 40))))]
    np.testing.assert_array_equal(sample["source"], coded((32, 40), bands=4)[[3, 0]])
    np.testing.assert_array_equal(sample["target"], coded((32, 40), bands=4)[[1]])
    assert dataset.region is None
    with pytest.raises(SamplingError, match="no split 'test', but train, val"):
        PairedScenes.from_config(DataConfig.model_validate(settings), "test")


def test_a_configuration_by_ground_gives_regions(settings):
    settings["splits"] = {
        "scenes": "aerial/train/*_2016_*",
        "block_m": 160,
        "shares": {"train": 2, "val": 1},
    }
    config = DataConfig.model_validate(settings)
    train, val = (PairedScenes.from_config(config, split) for split in ("train", "val"))
    assert train.region.intersection(val.region).area == 0
    windows = {
        name: {
            (i.scene, row, col)
            for i in GridWindows(dataset, size=4, roi=dataset.region)
            for row in range(i.window.row_off, i.window.row_end)
            for col in range(i.window.col_off, i.window.col_end)
        }
        for name, dataset in (("train", train), ("val", val))
    }
    assert not windows["train"] & windows["val"]


def test_what_cannot_be_opened_is_told(make_scene, tmp_path):
    path = make_scene(name="a_9.tif")
    with pytest.raises(SamplingError, match="finds '9' in 'a_9', which is no year"):
        PairedScenes.open(path, path, date=r"_(\d+)")
    with pytest.raises(BandError, match="target_bands asks for nir"):
        PairedScenes.open(path, path, target_bands=["nir"])
    with pytest.raises(SamplingError, match="holds not a file"):
        PairedScenes.open(path, tmp_path / "none")


def test_a_scene_without_crs_is_sampled(make_scene):
    path = make_scene(crs=None, shape=(20, 30))
    dataset = PairedScenes.open(path, path)
    index = next(iter(RandomWindows(dataset, size=8)))
    sample = dataset[index]
    np.testing.assert_array_equal(sample["source"], coded((20, 30))[:, *index.window.slices])
    assert Window(*sample["window"].tolist()) == index.window
