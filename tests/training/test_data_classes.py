"""Training from a source that is one band of classes."""

import numpy as np
import pytest
import torch

from geotrans.errors import ConfigError
from geotrans.sampling.cache import ClassRecord, Manifest, PatchRecord, SideRecord
from geotrans.sampling.writing import CachedPatch, write_cache
from geotrans.tasks import Bundle
from geotrans.training.data import ResidentPatches
from geotrans.training.pix2pix import rgb_channels
from geotrans.training.run import train
from tests.helpers.patches import toy_config

CLASSES = (
    ClassRecord(value=0, name="yard", color=(30, 160, 60)),
    ClassRecord(value=4, name="road", color=(250, 250, 250)),
    ClassRecord(value=9, name="roof", color=(200, 40, 30)),
)
RGBN = ("red", "green", "blue", "nir")


@pytest.fixture
def cache(tmp_path):
    """Class values, and targets that hold the same values, so that each shows in the other."""

    def patch(name, seed):
        values = np.array([0, 4, 9], np.uint8)
        classes = values[np.random.default_rng(seed).integers(0, 3, (1, 48, 48))]
        record = PatchRecord(
            name=name, place=name, crs=None, transform=(1, 0, 0, 0, -1, 0), shape=(48, 48),
            window=(0, 0, 48, 48),
        )  # fmt: skip
        target = (classes * 20 + np.arange(4, dtype=np.uint8)[:, None, None]).astype(np.uint8)
        return CachedPatch(record, classes, target, np.ones((48, 48), bool))

    manifest = Manifest(
        source=SideRecord(bands=("class",), dtype="uint8", classes=CLASSES),
        target=SideRecord(bands=RGBN, dtype="uint8"),
    )
    splits = {s: [patch(f"{s}{i}", 7 * i + len(s)) for i in range(3)] for s in ("train", "val")}
    return write_cache(tmp_path / "cache", manifest, splits)


def _patches(cache, **overrides):
    return ResidentPatches(cache, "train", toy_config(**overrides), device=torch.device("cpu"))


def test_one_channel_a_class_turned_with_the_target(cache):
    patches = _patches(cache, task__noise=(1,))
    batch = patches.draw(3)
    assert batch.source.shape == (2, 4, 32, 32)
    assert set(batch.source[:, :3].unique().tolist()) == {0.0, 1.0}
    values = torch.tensor([0.0, 4.0, 9.0])
    classes = torch.einsum("nkhw,k->nhw", batch.source[:, :3], values)
    stored = torch.round((batch.target[:, 0] + 1) * 127.5)
    torch.testing.assert_close(classes * 20, stored)


def test_turned_and_zoomed_without_mixing(cache):
    batch = _patches(cache, augment__rotate=30, augment__zoom=0.3).draw(0)
    assert set(batch.source.unique().tolist()) == {0.0, 1.0}
    assert (batch.source.sum(dim=1) == 1).all()


def test_whole_patches_are_seen_alike(cache):
    patches = _patches(cache)
    batch = patches.read_patch(0, border=8, align=4)
    inner = batch.source[0, :, 8:-8, 8:-8].argmax(0).numpy()
    np.testing.assert_array_equal(np.array([0, 4, 9])[inner], cache.load("train").source[0, 0])


def test_colours_of_classes_are_not_changed(cache):
    with pytest.raises(ConfigError, match=r"augment\.jitter .* one band of classes"):
        _patches(cache, augment__jitter={"gamma": 0.1})


def test_from_the_cache_to_a_bundle(cache, tmp_path, monkeypatch):
    monkeypatch.setattr("geotrans.training.run.ensure_cache", lambda config: cache)
    done = train(toy_config(task__noise=(1,)), out=tmp_path / "run", quiet=True)
    spec = Bundle.open(done.bundle).spec
    assert [(c.value, c.name, c.color) for c in spec.source_classes] == [
        (c.value, c.name, c.color) for c in CLASSES
    ]
    assert spec.channels_in == 4
    assert [band.name for band in spec.target] == list(RGBN)
    Bundle.open(done.bundle).generator()
    assert list((tmp_path / "run" / "sheets").glob("*.png"))


def test_the_perceptual_critic_looks_at_colours_by_name():
    assert rgb_channels(("nir", "blue", "red", "green")) == [2, 3, 1]
    with pytest.raises(ConfigError, match=r"the target has red, nir; add green, blue"):
        rgb_channels(("red", "nir"))
