"""Pooled statistics against those of a plain batch and of a whole image."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from geotrans.inference.calibration import Sample, pool_by_layer, pool_together
from geotrans.models import build, fold
from geotrans.models.norms import freeze_norms, use_image_norms
from tests.helpers.networks import noise

NETS = {
    "resnet": ("resnet", {"blocks": 2, "width": 6, "upsample": "transposed"}),
    "unet": ("unet", {"depth": 3, "width": 6, "max_width": 12}),
    "reference": ("unet_reference", {"depth": 5, "width": 4}),
}


def _net(name: str, norm: str = "instance") -> nn.Module:
    arch, args = NETS[name]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        return build(arch, 3, 2, **args, norm=norm).eval().requires_grad_(False)


def _values(content: bytes) -> torch.Tensor:
    return torch.from_numpy(np.frombuffer(content, "<f4").copy())


def _samples(*batch: torch.Tensor) -> list[Sample]:
    return [Sample(x, torch.ones(x.shape[1:])) for x in batch]


@pytest.mark.parametrize("name", NETS)
def test_frozen_statistics_of_an_image_are_its_instance_norms(name: str) -> None:
    net, x = _net(name), noise(1, 3, 64, 96)
    values = _values(pool_together(fold(net), _samples(x[0])))
    frozen = fold(freeze_norms(net, values))
    assert not any(isinstance(m, nn.InstanceNorm2d | nn.BatchNorm2d) for m in frozen.modules())
    torch.testing.assert_close(frozen(x), net(x), rtol=0, atol=2e-5)


@pytest.mark.parametrize("name", NETS)
def test_pooling_is_what_one_batch_would_compute(name: str) -> None:
    x = noise(5, 3, 64, 64)
    x[1:] *= torch.tensor([0.2, 0.5, 1.5, 2.0]).view(4, 1, 1, 1)
    batched = _net(name, "batch").train()
    expected = batched(x.clone())
    net = batched.eval()
    values = _values(pool_together(net, _samples(*x)))
    made = freeze_norms(net, values)(x)
    torch.testing.assert_close(made, expected, rtol=0, atol=2e-5)


@pytest.mark.parametrize("name", NETS)
def test_layer_by_layer_gives_the_same_statistics(name: str) -> None:
    net, samples = _net(name), _samples(*noise(3, 3, 64, 64))
    together, by_layer = pool_together(net, samples), pool_by_layer(net, lambda: iter(samples))
    assert together == by_layer
    assert pool_together(net, samples) == together, "threads change nothing"


def test_only_what_counts_is_counted() -> None:
    net, x = _net("resnet"), noise(3, 64, 64)
    weight = torch.zeros(64, 64)
    weight[:, :32] = 1
    first = _values(pool_together(net, [Sample(x, weight)]))[:6]  # Means of the first norm.
    conv = net.body[:2]
    expected = conv(x[None])[0, :, :, :32].mean(dim=(1, 2))
    torch.testing.assert_close(first, expected, rtol=1e-5, atol=1e-6)
    nothing = Sample(x * 9, torch.zeros(64, 64))
    both = pool_together(net, [Sample(x, weight), nothing])
    assert both == pool_together(net, [Sample(x, weight)])


def test_a_failing_window_is_told_and_ends_the_others() -> None:
    samples = _samples(*noise(4, 3, 64, 64))
    samples[2] = Sample(noise(5, 64, 64), torch.ones(64, 64))
    with pytest.raises(RuntimeError, match="channels"):
        pool_together(_net("resnet"), samples)


def test_batch_norms_keep_their_scale_by_image() -> None:
    net = _net("resnet", "batch")
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.5, 0.5)
    x = noise(1, 3, 64, 64)
    torch.testing.assert_close(use_image_norms(net)(x), net.train()(x), rtol=0, atol=1e-5)
