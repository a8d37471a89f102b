import pytest
import torch
from torch import nn

from geotrans.errors import ConfigError
from geotrans.models.layers import ResidualBlock, UpConv, activation, conv_norm, normalisation
from tests.helpers.networks import noise


@pytest.mark.parametrize("bias", [True, False])
def test_upconv_is_nearest_upsampling_and_a_convolution(bias):
    up = UpConv(5, 3, bias=bias)
    x = noise(2, 5, 6, 9)
    plain = nn.functional.conv2d(
        nn.functional.interpolate(x, scale_factor=2, mode="nearest"), up.weight, up.bias, padding=1
    )
    assert up(x).shape == (2, 3, 12, 18)
    torch.testing.assert_close(up(x), plain, rtol=0, atol=1e-5)


def test_upconv_learns_like_the_convolution_it_stands_for():
    up = UpConv(2, 3)
    x = noise(1, 2, 5, 5)
    up(x).square().sum().backward()
    found = up.weight.grad.clone()
    up.weight.grad = None
    upsampled = nn.functional.interpolate(x, scale_factor=2, mode="nearest")
    nn.functional.conv2d(upsampled, up.weight, up.bias, padding=1).square().sum().backward()
    torch.testing.assert_close(found, up.weight.grad, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("kernel", "stride", "dilation", "size"),
    [(3, 1, 1, 12), (3, 1, 3, 12), (7, 1, 1, 12), (4, 2, 1, 6)],
)
def test_a_layer_keeps_or_halves_the_size(kernel, stride, dilation, size):
    layer = conv_norm(3, 4, kernel=kernel, stride=stride, dilation=dilation)
    assert layer(noise(2, 3, 12, 12)).shape == (2, 4, size, size)


def test_a_residual_block_adds_to_its_input():
    block = ResidualBlock(4, dilation=2, norm="none")
    x = noise(1, 4, 8, 8)
    torch.testing.assert_close(block(x) - x, block.body(x))


def test_names_of_parts():
    assert isinstance(normalisation("instance", 3), nn.InstanceNorm2d)
    assert isinstance(activation("relu"), nn.ReLU)
    with pytest.raises(ConfigError, match="norm 'group' is not known; use batch, instance or none"):
        normalisation("group", 3)
    with pytest.raises(ConfigError, match="activation 'gelu' is not known; use tanh, relu"):
        activation("gelu")
