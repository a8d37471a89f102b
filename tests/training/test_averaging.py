import pytest
import torch
from torch import nn

from geotrans.training.averaging import AveragedWeights, freeze_norms, recompute_norms
from tests.helpers.networks import noise


def _net():
    return nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.LeakyReLU(0.2))


def test_the_average_is_warmed_up():
    net = nn.Linear(1, 1, bias=False)
    net.weight.data.fill_(0)
    average = AveragedWeights(net, decay=0.5)
    expected = 0.0
    for n in range(20):
        net.weight.data.fill_(n + 1.0)
        average.update(net)
        decay = min(0.5, (1 + n) / (10 + n))
        expected = decay * expected + (1 - decay) * (n + 1.0)
        assert float(average.net.weight) == pytest.approx(expected, rel=1e-6)
        if n == 0:
            assert expected == pytest.approx(0.9)  # the first step counts for nine tenths
    assert not average.net.weight.requires_grad


def test_statistics_are_taken_as_they_are():
    net = _net().train()
    average = AveragedWeights(net, decay=0.99)
    net(noise(4, 2, 8, 8))
    average.update(net)
    assert torch.equal(average.net[1].running_mean, net[1].running_mean)
    assert int(average.net[1].num_batches_tracked) == 1


def test_recomputed_norms_are_those_of_a_big_batch():
    net, x = _net(), noise(16, 2, 12, 12)
    before = net[1].momentum
    recompute_norms(net, [x])
    seen = net[0](x)
    torch.testing.assert_close(net[1].running_mean, seen.mean(dim=(0, 2, 3)))
    torch.testing.assert_close(net[1].running_var, seen.var(dim=(0, 2, 3)))
    assert net[1].momentum == before


def test_several_batches_count_alike_whatever_came_before():
    net, x = _net(), noise(16, 2, 12, 12)
    net.train()(5 * x)
    net.eval()
    parts = x.split(4)
    recompute_norms(net, iter(parts))
    means = torch.stack([net[0](part).mean(dim=(0, 2, 3)) for part in parts])
    torch.testing.assert_close(net[1].running_mean, means.mean(dim=0))
    torch.testing.assert_close(net[1].running_mean, net[0](x).mean(dim=(0, 2, 3)))
    variances = torch.stack([net[0](part).var(dim=(0, 2, 3)) for part in parts])
    torch.testing.assert_close(net[1].running_var, variances.mean(dim=0))
    assert not net.training


def test_frozen_norms_keep_their_statistics():
    net = _net().train()
    freeze_norms(net)
    before = net[1].running_mean.clone()
    net(noise(4, 2, 8, 8))
    assert torch.equal(net[1].running_mean, before)
    assert net.training
    assert net.train()[1].training
