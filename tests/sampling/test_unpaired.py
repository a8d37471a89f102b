import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader
from torchgeo.datasets import RasterDataset
from torchgeo.samplers import GriddedPatchSampler

from geotrans.errors import SamplingError
from geotrans.sampling import GridWindows, SceneCollection, UnpairedWindows
from tests.helpers.scenes import coded


@pytest.fixture
def infrared(make_scene, tmp_path):
    """Two places, two sensors, two CRS."""
    make_scene("EPSG:32611", name="ir_near.tif", bands=("red", "nir"))
    make_scene(
        "EPSG:4326", (60, 70), 30.0, name="ir_far.tif", bands=("nir", "blue", "red"),
        origin=(-100.0, 30.0),
    )  # fmt: skip
    return SceneCollection(f"{tmp_path}/ir_*.tif", bands=["nir", "red"])


@pytest.fixture
def colour(make_scene, tmp_path):
    make_scene("EPSG:32612", name="rgb_a.tif", shape=(64, 64), block=16)
    return SceneCollection([str(tmp_path / "rgb_a.tif")])


def test_scenes_of_a_domain_are_read_on_their_own_grids(infrared):
    assert infrared.crs.to_epsg() == 4326
    values = {"far": coded((60, 70), bands=3)[[0, 2]], "near": coded((48, 64), bands=2)[[1, 0]]}
    seen = set()
    for window in GridWindows(infrared, size=16):
        sample = infrared[window]
        name = "far" if "far" in infrared.uris[int(sample["scene"])] else "near"
        col, row, width, height = sample["window"].tolist()
        whole = values[name][:, row : row + height, col : col + width]
        np.testing.assert_array_equal(sample["image"], whole)
        assert sample["valid"].all()
        seen.add(name)
    assert seen == {"far", "near"}


def test_windows_of_two_domains_do_not_depend_on_workers(infrared, colour):
    def drawn(n_workers, epoch):
        pairs = UnpairedWindows(infrared, colour, size=16, length=12, seed=3)
        pairs.set_epoch(epoch)
        loader = DataLoader(pairs, batch_size=4, num_workers=n_workers)
        batches = list(loader)
        assert batches[0]["source"]["image"].shape == (4, 2, 16, 16)
        assert batches[0]["target"]["image"].shape == (4, 3, 16, 16)
        return torch.cat(
            [torch.cat([b[side]["window"] for side in ("source", "target")], 1) for b in batches]
        )

    alone, helped, later = drawn(0, 0), drawn(2, 0), drawn(0, 1)
    assert torch.equal(alone, helped)
    assert not torch.equal(alone, later)
    assert len(alone[:, :2].unique(dim=0)) > 6
    assert not torch.equal(alone[:, :4], alone[:, 4:])


def test_any_torchgeo_dataset_is_a_domain(infrared, colour, tmp_path):
    """One that torchgeo reads by itself, beside one of ours, and ours under its own sampler."""

    class Plain(RasterDataset):
        filename_glob = "rgb_a.tif"

    pairs = UnpairedWindows(infrared, Plain(str(tmp_path)), size=16, length=5)
    for i in range(5):
        sample = pairs[i]
        assert sample["source"]["image"].shape == (2, 16, 16)
        assert sample["target"]["image"].shape == (3, 16, 16)
    sampler = GriddedPatchSampler(colour, size=32)
    images = [colour[index]["image"] for index in sampler]
    assert {tuple(image.shape) for image in images} == {(3, 32, 32)}
    with pytest.raises(SamplingError, match="Plain does not say which of its pixels are valid"):
        UnpairedWindows(infrared, Plain(str(tmp_path)), size=16, min_valid=0.5)


def test_windows_hold_enough_valid_pixels(colour, make_scene, tmp_path):
    invalid = np.zeros((48, 64), bool)
    invalid[:, :40] = True
    make_scene(name="gaps.tif", nodata=0, invalid=invalid)
    gaps = SceneCollection(tmp_path / "gaps.tif")
    pairs = UnpairedWindows(gaps, colour, size=16, length=50, min_valid=0.75)
    shares = [float(pairs[i]["source"]["valid"].float().mean()) for i in range(50)]
    assert min(shares) >= 0.75
    assert min(shares) < 1


def test_one_place_is_refused_unless_asked(infrared, make_scene, tmp_path):
    make_scene("EPSG:32611", name="same.tif")
    same = SceneCollection(tmp_path / "same.tif")
    with pytest.raises(SamplingError, match=r"share 100 % of their ground; .* same_place: true"):
        UnpairedWindows(infrared, same, size=16)
    assert len(UnpairedWindows(infrared, same, size=16, same_place=True)) == 28


def test_mixed_band_counts_are_told(make_scene, tmp_path):
    make_scene(name="a.tif")
    make_scene(name="b.tif", bands=4, origin=(900_000.0, 4e6))
    with pytest.raises(SamplingError, match="'a' has 3 bands, 'b' 4; choose bands"):
        SceneCollection([tmp_path / "a.tif", tmp_path / "b.tif"])
