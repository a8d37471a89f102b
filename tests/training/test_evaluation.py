import logging

import numpy as np
import pytest
import torch
from torch import nn

from geotrans.errors import ConfigError
from geotrans.training.data import ResidentPatches
from geotrans.training.evaluation import HeldOut, Stretch
from tests.helpers.patches import PALETTE, toy_config

CPU = torch.device("cpu")
MAP = {
    "task__palette": True,
    "loss": {"l1": 0, "cross_entropy": 1},
    "training__select": "accuracy:max",
}


def _held_out(cache, *, halo=8, align=4, **overrides):
    config = toy_config(**overrides)
    patches = ResidentPatches(cache, "val", config, device=CPU)
    return HeldOut(patches, config, cache.manifest, align=align, halo=halo)


class Target(nn.Module):
    """A generator that knows the answer."""

    def __init__(self, held_out, *, error=0.0):
        super().__init__()
        self.held_out, self.error, self.i = held_out, error, 0

    def forward(self, source):
        patches = self.held_out.patches
        batch = patches.read_patch(self.held_out.indices[self.i], border=8, align=4)
        self.i += 1
        if batch.classes is None:
            y = batch.target + self.error
        else:
            y = nn.functional.one_hot(batch.classes, len(PALETTE)).permute(0, 3, 1, 2).float()
        m = batch.margin
        right, below = (source.shape[i] - y.shape[i] - m for i in (-1, -2))
        return nn.functional.pad(y, (m, right, m, below))


def test_the_right_answer_has_no_error(make_cache):
    held_out = _held_out(make_cache())
    outputs = held_out.outputs(Target(held_out))
    np.testing.assert_array_equal(outputs.images, held_out.target)
    scores = held_out.scores(outputs)
    likeness = {"psnr": 100, "ssim": 1, "sam": 0, "chroma": 0}
    assert set(scores) == set(held_out.score_names) == {"l1", "contrast", *likeness}
    assert scores["l1"] == pytest.approx(0, abs=1e-6)
    assert {name: scores[name] for name in likeness} == pytest.approx(likeness, abs=2e-2)
    wrong = held_out.scores(held_out.outputs(Target(held_out, error=0.125)))
    assert wrong["l1"] == pytest.approx(0.125, abs=1e-6)
    # All 16 grey levels off, but where 255 is the end.
    assert wrong["psnr"] == pytest.approx(20 * np.log10(255 / 16), abs=0.1)
    assert wrong["ssim"] < 1
    assert wrong["sam"] > 1


def test_likeness_is_that_of_stored_values_in_their_range(make_cache):
    held_out = _held_out(make_cache(dtype="uint16", target=("a", "b")))
    assert held_out.score_names == ("l1", "contrast", "psnr", "ssim", "sam")
    outputs = held_out.outputs(Target(held_out, error=0.02))
    assert outputs.values.dtype == np.uint16
    scores = held_out.scores(outputs)
    assert scores["psnr"] == pytest.approx(20 * np.log10(2 / 0.02), abs=0.01)
    one = _held_out(make_cache(dtype="uint16", target=("a",)))
    assert "sam" not in one.score_names
    named = _held_out(make_cache(target=("blue", "nir", "green", "red")))
    assert "chroma" in named.score_names
    scores = named.scores(named.outputs(Target(named)))
    assert scores["chroma"] == pytest.approx(0, abs=1e-6)


def test_the_right_map_is_right(make_cache):
    held_out = _held_out(
        make_cache(drawn="target"), **MAP, task__iou_groups={"built": ["road", "house"]}
    )
    outputs = held_out.outputs(Target(held_out))
    valid = np.broadcast_to(held_out.valid[:, None], outputs.images.shape)
    np.testing.assert_array_equal(outputs.images[valid], held_out.target[valid])
    scores = held_out.scores(outputs)
    assert set(scores) == set(held_out.score_names)
    assert scores == dict.fromkeys(("accuracy", "within_16", "mean_iou", "built_iou"), 1.0)


def test_one_group_is_scored(make_cache):
    cache = make_cache(groups=("2018", "2020"))
    held_out = _held_out(cache, training__val_group="2018")
    assert [held_out.patches.groups[i] for i in held_out.indices] == ["2018"] * 3
    assert len(held_out.target) == 3
    with pytest.raises(ConfigError, match=r"val_group is '2019'; the split 'val' has 2018, 2020"):
        _held_out(cache, training__val_group="2019")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"training__select": "road_iou:max"}, "score 'road_iou'; this run has l1, contrast"),
        ({"training__select": "contrats:max"}, r"'contrats'; did you mean 'contrast'\?"),
        (MAP | {"training__select": "l1:min"}, "this run has accuracy, within_16, mean_iou"),
        (
            MAP | {"task__iou_groups": {"built": ["roads"]}},
            r"task.iou_groups.built names the class 'roads'; did you mean 'road'\?; the style has",
        ),
    ],
)
def test_a_score_that_is_not_there_is_told_before_training(make_cache, overrides, message):
    drawn = "target" if overrides.get("task__palette") else "source"
    with pytest.raises(ConfigError, match=message):
        _held_out(make_cache(drawn=drawn), **overrides)


def test_small_patches_have_no_kernel_distance_and_it_is_said(make_cache, caplog):
    with caplog.at_level(logging.WARNING, logger="geotrans"):
        assert "kernel_distance" not in _held_out(make_cache()).score_names
    assert "no kernel distance" in caplog.text


def test_real_and_fake_are_compared_on_the_same_windows(make_cache, monkeypatch):
    from geotrans.metrics import kernel

    looked = []

    def features(images, places, *, valid, device):
        looked.append(valid.copy())
        values = images.mean(axis=(2, 3)).astype(np.float32)
        return kernel.KernelFeatures(values, tuple(places))

    monkeypatch.setattr(kernel, "compute_features", features)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: True)
    held_out = _held_out(make_cache(), training__select="kernel_distance:min")
    held_out.scores(held_out.outputs(Target(held_out)))
    assert len(looked) == 2
    np.testing.assert_array_equal(looked[0], looked[1])
    assert not looked[0].all()


def test_wide_values_are_drawn_alike_on_both_sides(make_cache):
    held_out = _held_out(make_cache(dtype="uint16"))
    assert held_out.target.dtype == np.uint8
    assert held_out.target.min() == 0
    assert held_out.target.max() == 255
    outputs = held_out.outputs(Target(held_out))
    assert np.abs(outputs.images.astype(int) - held_out.target).max() <= 1


def test_pictures_of_one_band_are_grey():
    picture = Stretch.fit(np.zeros((1, 1, 2, 2)), "uint8")(np.full((1, 1, 2, 2), 7, np.uint8))
    assert picture.shape == (1, 3, 2, 2)
    assert np.all(picture == 7)
    flat = np.full((1, 3, 2, 2), 5.0, np.float32)
    assert np.all(Stretch.fit(flat, "float32")(flat) == 0)


def test_a_sheet_has_source_output_and_target_of_some_places(make_cache):
    held_out = _held_out(make_cache(margin=8))
    sheet = held_out.sheet(held_out.outputs(Target(held_out)), n_places=2)
    assert len(sheet) == 2
    for source, output, target in sheet:
        assert source.shape == output.shape == target.shape == (3, 48, 48)


def test_two_domains_are_scored_as_collections(make_domains):
    cache = make_domains(paired=False)
    config = toy_config(
        without=("loss",), training__method="cyclegan", training__select="contrast:max"
    )
    patches = ResidentPatches(cache, "val", config, device=torch.device("cpu"))
    held_out = HeldOut(patches, config, cache.manifest, align=1, halo=0)
    outputs = held_out.outputs(nn.Identity())
    assert outputs.images.shape == (3, 3, 48, 48)
    scores = held_out.scores(outputs)
    assert {*scores} == {*held_out.score_names} <= {"contrast", "kernel_distance"}
    assert [len(row) for row in held_out.sheet(outputs)] == [2] * 3
    with pytest.raises(ConfigError, match="asks for the score 'l1'; this run has contrast"):
        HeldOut(patches, toy_config(), cache.manifest, align=1, halo=0)
