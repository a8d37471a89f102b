import copy

import pytest
import torch
from torch import nn

from geotrans import models
from tests.helpers.networks import SMALL, noise, small


@pytest.mark.parametrize("name", SMALL)
def test_a_folded_network_computes_the_same_with_less(name):
    net = small(name)
    folded = models.fold(net)
    x = noise(2, 3, 24, 32)
    torch.testing.assert_close(folded(x), net(x), rtol=0, atol=1e-5)
    assert not [m for m in folded.modules() if isinstance(m, nn.BatchNorm2d | models.layers.UpConv)]
    assert not folded.training
    assert not any(p.requires_grad for p in folded.parameters())


def test_the_network_itself_stays_as_it_is():
    net = small("unet").train()
    before = copy.deepcopy(net.state_dict())
    models.fold(net)
    assert net.training
    after = net.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(after[key], before[key]) for key in before)


def test_instance_norms_stay():
    net = models.build("resnet", 3, 3, blocks=1, width=4, norm="instance").eval()
    folded = models.fold(net)
    x = noise(1, 3, 16, 16)
    torch.testing.assert_close(folded(x), net(x), rtol=0, atol=1e-5)
    count = sum(isinstance(m, nn.InstanceNorm2d) for m in folded.modules())
    assert count == sum(isinstance(m, nn.InstanceNorm2d) for m in net.modules()) > 0
