"""A task that knows where a pixel lies, from training to the product."""

import numpy as np
import pytest
import rasterio
import torch

from geotrans.errors import TilingError, UsageError
from geotrans.grid import Window
from geotrans.inference import Translator
from geotrans.models import build, receptive_halo
from geotrans.tasks import BandSpec, Bundle, GeneratorSpec, TaskSpec, save_bundle
from geotrans.training.data import ResidentPatches
from geotrans.training.run import train
from geotrans.translation.translate import translate
from tests.helpers.patches import toy_cache, toy_config


@pytest.fixture
def placed_bundle(tmp_path):
    """Red, green and blue become a mixture of them and of the latitude around a pixel."""
    args = {"depth": 2, "width": 8, "max_width": 16, "head_width": 4}
    with torch.random.fork_rng():
        torch.manual_seed(3)
        net = build("unet", 4, 3, **args)
    rgb = [BandSpec(name=name) for name in ("red", "green", "blue")]
    spec = TaskSpec(
        name="placed", source=rgb, target=rgb, coordinates=("latitude",), align=4,
        generator=GeneratorSpec(arch="unet", args=args), halo=receptive_halo(net, 4),
    )  # fmt: skip
    return save_bundle(tmp_path / "placed.safetensors", spec, net.state_dict())


def _pixels(path):
    with rasterio.open(path) as file:
        return file.read()


@pytest.mark.parametrize("crs", ["EPSG:4326", "EPSG:32611"])
def test_tiles_do_not_show(placed_bundle, make_scene, tmp_path, crs):
    path = make_scene(crs=crs, shape=(80, 96), gsd_m=8000)
    made = [
        _pixels(translate(path, task=placed_bundle, out=tmp_path / f"{tile}.tif", tile=tile).path)
        for tile in (16, 32, 128)
    ]
    np.testing.assert_array_equal(made[0], made[1])
    np.testing.assert_array_equal(made[0], made[2])


def test_the_same_ground_elsewhere_is_translated_otherwise(placed_bundle, make_scene, tmp_path):
    flat = np.full((3, 40, 40), 90, np.uint8)
    found = []
    for north in (10.0, 60.0):
        path = make_scene(
            crs="EPSG:4326", shape=(40, 40), gsd_m=8000, data=flat, origin=(20.0, north),
            name=f"at_{north:g}.tif",
        )  # fmt: skip
        out = tmp_path / f"out_{north:g}.tif"
        found.append(_pixels(translate(path, task=placed_bundle, out=out).path))
    assert (found[0] != found[1]).any()


def test_what_is_not_known_is_told(placed_bundle, make_scene, tmp_path):
    with pytest.raises(UsageError, match="latitude cannot be known"):
        translate(make_scene(crs=None), task=placed_bundle, out=tmp_path / "out.tif")
    translator = Translator(Bundle.open(placed_bundle), device="cpu", precision="float32")
    data = np.zeros((3, 8, 8), np.uint8)
    with pytest.raises(TilingError, match=r"wants to know latitude .* got nothing"):
        translator(data, window=Window(0, 0, 8, 8), anchor=(0, 0))


def test_training_sees_latitude_between_source_and_noise(tmp_path):
    cache = toy_cache(tmp_path / "cache", drawn=None)
    config = toy_config(task__noise=(1,), task__coordinates=("latitude",), augment__dihedral=False)
    patches = ResidentPatches(cache, "train", config, device=torch.device("cpu"))
    batch = patches.draw(0)
    assert batch.source.shape == (2, 5, 32, 32)
    # The cache's patches of 0.6 m lie at the equator, south of it.
    latitude = batch.source[:, 3]
    assert (latitude < 0).all()
    assert (latitude[:, 0] > latitude[:, -1]).all()
    whole = patches.read_patch(1, border=8, align=4)
    assert (whole.source[0, 3, 0] > 0).all()  # continued beyond the edge, not mirrored


def test_the_bundle_of_a_run_knows_it(tmp_path, monkeypatch):
    cache = toy_cache(tmp_path / "cache", drawn=None)
    monkeypatch.setattr("geotrans.training.run.ensure_cache", lambda config: cache)
    done = train(toy_config(task__coordinates=("latitude",)), out=tmp_path / "run", quiet=True)
    spec = Bundle.open(done.bundle).spec
    assert spec.coordinates == ("latitude",)
    assert spec.channels_in == 4
