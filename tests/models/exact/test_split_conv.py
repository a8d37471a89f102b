"""Long sums over channels keep their order, whatever the number of threads."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import nn

from geotrans import models
from geotrans.models.exact.split_conv import LONGEST, SplitConv, split_long_sums
from tests.helpers.networks import noise


@pytest.mark.parametrize("channels", [(240, 40), (480, 112), (672, 24)])
@pytest.mark.parametrize("bias", [True, False])
def test_is_the_convolution_it_stands_for(channels: tuple[int, int], bias: bool) -> None:
    conv = nn.Conv2d(*channels, 1, bias=bias).requires_grad_(False)
    x = noise(1, channels[0], 20, 24)
    torch.testing.assert_close(SplitConv(conv)(x), conv(x), rtol=0, atol=1e-5)


def test_only_long_sums_are_shortened() -> None:
    net = nn.Sequential(
        nn.Conv2d(LONGEST, 8, 1), nn.Conv2d(8, 2 * LONGEST, 3), nn.Conv2d(2 * LONGEST, 8, 1)
    )
    split_long_sums(net)
    assert [type(layer) for layer in net] == [nn.Conv2d, nn.Conv2d, SplitConv]


def test_an_encoder_gives_the_same_bits_in_every_window_and_number_of_threads() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        net = models.build("liteunet", 3, 8, stages=5, width=8, head_width=8)
    net = models.fold(net).to(memory_format=torch.channels_last)
    assert any(isinstance(module, SplitConv) for module in net.modules())
    border, size = 208, 512  # a pixel sees 201 px
    x = noise(1, 3, size, size)
    n_threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        whole = net(x.contiguous(memory_format=torch.channels_last))
        for threads, (height, width) in itertools.product(
            (1, 2, 3), ((432, 432), (432, 448), (448, 512))
        ):
            torch.set_num_threads(threads)
            part = net(x[..., :height, :width].contiguous(memory_format=torch.channels_last))
            inside = (..., slice(height - border), slice(width - border))
            assert torch.equal(part[inside], whole[inside]), (threads, height, width)
    finally:
        torch.set_num_threads(n_threads)
