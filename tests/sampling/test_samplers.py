"""Samplers on our own dataset and on torchgeo's, through torch's DataLoader."""

import pickle

import numpy as np
import pytest
import shapely
import torch
from torch.utils.data import DataLoader
from torchgeo.datasets import RasterDataset, stack_samples
from torchgeo.samplers import SequentialTimestampSampler

from geotrans.errors import SamplingError
from geotrans.grid import Window
from geotrans.sampling import GridWindows, PairedScenes, RandomWindows, block_regions
from tests.helpers.scenes import coded
from tests.sampling.conftest import ORIGIN

# Edges of the three scenes, px of 10 m; the last one is too small for most windows.
SHAPES = [(48, 64), (100, 40), (12, 90)]


@pytest.fixture
def scenes(make_scene):
    return [
        make_scene(
            name=f"scene_{2016 + i}.tif",
            shape=shape,
            dtype="uint16",
            origin=(ORIGIN[0] + 1000 * i, ORIGIN[1]),
        )
        for i, shape in enumerate(SHAPES)
    ]


@pytest.fixture
def dataset(scenes):
    return PairedScenes.open(scenes, scenes, target_bands=["blue"], date=r"_(\d{4})")


def _places(sampler):
    return [(index.scene, index.window) for index in sampler]


def _drawn(dataset, sampler, **options):
    """Scene, window and values of each sample, in the order a loader gives them."""
    seen = []
    for batch in DataLoader(dataset, batch_size=4, sampler=sampler, **options):
        for i in range(len(batch["scene"])):
            window = Window(*batch["window"][i].tolist())
            seen.append((int(batch["scene"][i]), window, batch["source"][i].numpy()))
    return seen


def _check(drawn):
    for scene, window, values in drawn:
        expected = coded(SHAPES[scene], dtype="uint16")[:, *window.slices]
        np.testing.assert_array_equal(values, expected)


def test_windows_hold_the_pixels_they_name(dataset):
    sampler = RandomWindows(dataset, size=(16, 24), length=40, seed=3)
    drawn = _drawn(dataset, sampler)
    assert len(drawn) == len(sampler) == 40
    assert {window.shape for _, window, _ in drawn} == {(16, 24)}
    _check(drawn)


# Three workers on two cores, forked from a process that other tests gave threads.
@pytest.mark.filterwarnings("ignore:This DataLoader will create", "ignore:.*multi-threaded")
@pytest.mark.parametrize("n_workers", [1, 3])
def test_windows_do_not_depend_on_the_number_of_workers(dataset, n_workers):
    sampler = RandomWindows(dataset, size=20, length=24, seed=3)
    alone = _drawn(dataset, sampler)
    shared = _drawn(dataset, sampler, num_workers=n_workers)
    assert [d[:2] for d in shared] == [d[:2] for d in alone]
    _check(shared)


def test_windows_are_a_function_of_seed_epoch_and_index(dataset):
    sampler = RandomWindows(dataset, size=20, length=50, seed=3)
    first = _places(sampler)
    assert _places(sampler) == first
    assert [(i.scene, i.window) for i in (sampler.draw(0, n) for n in range(50))] == first
    sampler.set_epoch(1)
    assert _places(sampler) != first
    sampler.set_epoch(0)
    assert _places(sampler) == first
    assert _places(RandomWindows(dataset, size=20, length=50, seed=4)) != first
    assert _places(RandomWindows(dataset, size=20, length=70, seed=3))[:50] == first


def test_a_run_goes_on_where_it_stopped(dataset):
    sampler = RandomWindows(dataset, size=20, length=50, seed=3)
    sampler.set_epoch(2)
    whole = _places(sampler)
    sampler.set_epoch(2, start=33)
    assert len(sampler) == 17
    assert _places(sampler) == whole[33:]
    with pytest.raises(SamplingError, match="start 51"):
        sampler.set_epoch(0, start=51)


@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_ranks_share_the_windows_of_one(dataset, world_size):
    options = {"size": 20, "length": 30, "seed": 3}
    whole = _places(RandomWindows(dataset, **options))
    ranks = [
        _places(RandomWindows(dataset, **options, rank=rank, world_size=world_size))
        for rank in range(world_size)
    ]
    for rank, places in enumerate(ranks):
        assert places == whole[rank::world_size]
    with pytest.raises(SamplingError, match="rank 3 of 3"):
        RandomWindows(dataset, **options, rank=3, world_size=3)


def test_scenes_as_large_as_the_window_are_drawn(make_scene):
    paths = [make_scene(shape=(64, 64), origin=(ORIGIN[0] + 900 * i, ORIGIN[1])) for i in range(4)]
    dataset = PairedScenes.open(paths, paths)
    places = _places(RandomWindows(dataset, size=64, length=40))
    assert {scene for scene, _ in places} == {0, 1, 2, 3}
    assert {window for _, window in places} == {Window(0, 0, 64, 64)}


def test_every_position_is_drawn(dataset):
    places = _places(RandomWindows(dataset, size=(46, 62), length=200))
    assert {window for scene, window in places if scene == 0} == {
        Window(col, row, 62, 46) for col in range(3) for row in range(3)
    }


def test_default_length_covers_the_scenes(dataset):
    assert len(RandomWindows(dataset, size=20)) == (48 * 64 + 100 * 40) // 400


def test_scenes_without_room_are_counted(dataset, caplog):
    RandomWindows(dataset, size=20)
    assert "left out 1 of 3 scenes without room for 20 x 20 px: scene_2018" in caplog.text
    with pytest.raises(SamplingError, match="windows of 200 x 200 px; none of 3 scenes has room"):
        RandomWindows(dataset, size=200)
    for size in (0, (4, -1)):
        with pytest.raises(SamplingError, match="edge must be at least 1"):
            RandomWindows(dataset, size=size)


@pytest.mark.parametrize("halo", [0, 3])
def test_grids_cover_everything_once(dataset, halo):
    covered = [np.zeros(shape, int) for shape in SHAPES]
    sampler = GridWindows(dataset, size=16, halo=halo)
    for batch in DataLoader(dataset, batch_size=3, sampler=sampler):
        assert batch["source"].shape[1:] == (3, 16, 16)
        for i, scene in enumerate(batch["scene"].tolist()):
            window, core = (Window(*batch[name][i].tolist()) for name in ("window", "core"))
            covered[scene][core.slices] += 1
            part = core.relative_to(window).slices
            expected = coded(SHAPES[scene], dtype="uint16")[:, *core.slices]
            np.testing.assert_array_equal(batch["source"][i].numpy()[:, *part], expected)
            assert batch["valid"][i].numpy()[part].all()
    for counts in covered:
        assert (counts == 1).all()
    ranks = [
        _places(GridWindows(dataset, size=16, halo=halo, rank=r, world_size=2)) for r in (0, 1)
    ]
    assert sorted(ranks[0] + ranks[1]) == sorted(_places(sampler))
    assert len(sampler) == len(_places(sampler))


def test_splits_by_ground_share_no_pixel(dataset):
    regions = block_regions(dataset.geoboxes, block_m=250, shares={"train": 2, "val": 1}, seed=2)
    touched = {}
    for split, shape in regions.shapes.items():
        touched[split] = [np.zeros(shape, bool) for shape in SHAPES]
        places = _places(RandomWindows(dataset, size=8, length=400, roi=shape))
        places += _places(GridWindows(dataset, size=8, roi=shape))
        for scene, window in places:
            touched[split][scene][window.slices] = True
    for train, val in zip(*touched.values(), strict=True):
        assert not (train & val).any()
    assert sum(t.sum() for t in touched["val"]) > 1000
    with pytest.raises(SamplingError, match="none of 3 scenes has room"):
        RandomWindows(dataset, size=8, roi=shapely.box(0, 0, 10, 10))
    with pytest.raises(SamplingError, match="none lies in roi"):
        GridWindows(dataset, size=8, roi=shapely.box(0, 0, 10, 10))


def test_indices_survive_the_way_to_a_worker(dataset):
    index = next(iter(GridWindows(dataset, size=16, halo=2)))
    copy = pickle.loads(pickle.dumps(index))
    assert copy == index
    assert vars(copy) == vars(index)


def test_torchgeos_own_datasets_are_sampled_to_the_pixel(scenes, tmp_path):
    dataset = RasterDataset(tmp_path)
    for sampler in (RandomWindows(dataset, size=11, length=30), GridWindows(dataset, size=11)):
        indices = list(sampler)
        loader = DataLoader(dataset, sampler=indices, collate_fn=stack_samples)
        for index, sample in zip(indices, loader, strict=True):
            expected = coded(SHAPES[index.scene], dtype="uint16")[:, *index.window.slices]
            np.testing.assert_array_equal(sample["image"][0].numpy(), expected)


def test_torchgeos_datasets_without_a_grid_are_refused(scenes, tmp_path):
    dataset = RasterDataset(tmp_path, crs="EPSG:4326")
    with pytest.raises(SamplingError, match=r"geotrans\.sampling\.PairedScenes"):
        RandomWindows(dataset, size=8)


def test_torchgeos_temporal_samplers_compose(dataset):
    sampler = GridWindows(dataset, size=(12, 30)) @ SequentialTimestampSampler(dataset)
    seen = {(int(s["scene"]), *s["window"].tolist()) for s in (dataset[i] for i in sampler)}
    assert {scene for scene, *_ in seen} == {0, 1, 2}
    assert all((width, height) == (30, 12) for _, _, _, width, height in seen)


def test_samples_stack(dataset):
    sampler = RandomWindows(dataset, size=12, length=2)
    for collate in (stack_samples, torch.utils.data.default_collate):
        batch = collate([dataset[index] for index in sampler])
        assert {name: tuple(value.shape) for name, value in batch.items()} == {
            "source": (2, 3, 12, 12),
            "target": (2, 1, 12, 12),
            "valid": (2, 12, 12),
            "window": (2, 4),
            "core": (2, 4),
            "scene": (2,),
            "transform": (2, 6),
        }
