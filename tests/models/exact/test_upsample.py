import itertools

import pytest
import torch
from torch import nn

from geotrans.models.exact.upsample import PhaseUpsample
from tests.helpers.networks import noise


def transposed(channels_in, channels_out, taps):
    return nn.ConvTranspose2d(
        channels_in, channels_out, taps, stride=2, padding=1, output_padding=4 - taps
    ).requires_grad_(False)


@pytest.mark.parametrize("taps", [3, 4])
@pytest.mark.parametrize("shape", [(1, 8, 9, 11), (2, 1, 1, 1), (3, 5, 1, 6), (1, 4, 7, 1)])
@pytest.mark.parametrize("order", [torch.channels_last, torch.contiguous_format])
def test_is_a_transposed_convolution(taps, shape, order):
    layer, x = transposed(shape[1], 3, taps), noise(*shape).to(memory_format=order)
    made = PhaseUpsample(layer.weight, layer.bias)(x)
    torch.testing.assert_close(made, layer(x), rtol=0, atol=1e-5)
    assert made.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("channels", [(16, 16), (48, 24), (192, 96)])
def test_gives_the_same_bits_in_every_shape_and_number_of_threads(dtype, channels):
    layer = transposed(*channels, 4)
    up = PhaseUpsample(layer.weight, layer.bias).to(dtype, memory_format=torch.channels_last)
    x = noise(1, channels[0], 60, 64).to(dtype).to(memory_format=torch.channels_last)
    n_threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        whole = up(x)
        for threads, size in itertools.product((1, 2, 3), ((25, 29), (30, 48), (18, 15))):
            torch.set_num_threads(threads)
            height, width = size
            part = up(x[:, :, 3 : 3 + height, 5 : 5 + width])
            inside = part[:, :, 2:-2, 2:-2]
            assert torch.equal(inside, whole[:, :, 8 : 4 + 2 * height, 12 : 8 + 2 * width]), (
                threads,
                size,
            )
    finally:
        torch.set_num_threads(n_threads)
