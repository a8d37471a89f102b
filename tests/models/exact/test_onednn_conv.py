"""The same bits for the same pixels, in small windows and on one thread, too."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from geotrans.models.exact.onednn_conv import OneDnnConv, use_onednn_conv
from tests.helpers.networks import noise


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="this torch has no oneDNN")
@pytest.mark.parametrize("kernel", [1, 2, 3])
@pytest.mark.parametrize("channels", [3, 8, 32, 64])
def test_windows_and_threads_give_the_same_bits(kernel: int, channels: int) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        net = nn.Sequential(nn.Conv2d(channels, 2 * channels, kernel))
    net = net.to(memory_format=torch.channels_last).requires_grad_(False)
    x = noise(1, channels, 160, 160).contiguous(memory_format=torch.channels_last)
    plain = net(x)
    use_onednn_conv(net)
    assert type(net[0]) is OneDnnConv
    whole, n_threads = net(x), torch.get_num_threads()
    torch.testing.assert_close(whole, plain, rtol=0, atol=1e-5)
    try:
        for n in (1, 2):
            torch.set_num_threads(n)
            assert torch.equal(net(x), whole)
            for edge in (8, 12, 25, 60, 90):
                part = net(x[..., 20 : 20 + edge, 40 : 40 + edge].clone())
                stop = edge - kernel + 1
                assert torch.equal(part, whole[..., 20 : 20 + stop, 40 : 40 + stop]), (n, edge)
    finally:
        torch.set_num_threads(n_threads)


def test_what_torch_has_to_decide_is_left_to_it() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3, padding="same"), nn.Conv2d(4, 4, 3, padding=1))
    net[1].padding_mode = "reflect"
    net = net.double().requires_grad_(False)
    x = noise(1, 3, 16, 16).double()
    expected = net(x)
    use_onednn_conv(net)
    assert torch.equal(net(x), expected)
