"""A U-Net on the front of EfficientNet-Lite0."""

from __future__ import annotations

import pytest
import torch

from geotrans import models
from geotrans.errors import ConfigError
from geotrans.metrics.efficientnet import load_efficientnet
from geotrans.models.efficientnet import pretrained_state
from geotrans.models.residual import get_body
from tests.helpers.networks import noise


@pytest.mark.parametrize(("stages", "align"), [(1, 2), (2, 4), (3, 8), (4, 16), (5, 16), (6, 32)])
def test_stages_decide_the_stride(stages: int, align: int) -> None:
    net = models.build("liteunet", 4, 2, stages=stages, width=4)
    assert models.alignment(net) == align
    assert net(noise(2, 4, 64, 96)).shape == (2, 2, 64, 96)


def test_an_encoder_that_does_not_exist_is_told() -> None:
    with pytest.raises(ConfigError, match="no encoder of 8 stages; give 1 to 7"):
        models.build("liteunet", 3, 3, stages=8)


def test_the_pretrained_encoder_sees_what_the_classifier_sees() -> None:
    net = models.build("liteunet", 4, 3, stages=5)
    models.load_pretrained(net, "liteunet")
    x = noise(1, 4, 64, 64)
    judge = load_efficientnet()
    expected = judge.act(judge.bn0(judge.conv_stem(judge.pad(x[:, :3]))))
    encoder = net.eval()
    # The fourth channel starts silent.
    y = encoder.stem(x)
    torch.testing.assert_close(y, expected, rtol=1e-4, atol=1e-4)
    for own, other in zip(encoder.blocks, judge.blocks, strict=False):
        y, expected = own(y), other(expected)
    torch.testing.assert_close(y, expected, rtol=1e-3, atol=1e-3)


def test_every_weight_of_the_encoder_comes_from_the_wheel() -> None:
    net = models.build("liteunet", 3, 3, stages=5)
    models.load_pretrained(net, "liteunet")
    stored = pretrained_state()
    state = {key.removeprefix("stem."): value for key, value in net.state_dict().items()}
    own = [key for key in state if key.startswith(("conv_stem", "bn0", "blocks"))]
    assert own
    assert all(torch.equal(state[key], stored[key]) for key in own)


def test_an_encoder_of_one_channel_sees_a_grey_photograph() -> None:
    grey, color = (models.build("liteunet", n, 3, stages=2) for n in (1, 3))
    for net in (grey, color):
        models.load_pretrained(net, "liteunet")
        net.eval()
    x = noise(1, 1, 32, 32)
    torch.testing.assert_close(
        grey.stem(x), color.stem(x.expand(-1, 3, -1, -1)), rtol=1e-4, atol=1e-4
    )


def test_the_body_of_a_residual_is_what_is_pretrained() -> None:
    body = {"arch": "liteunet", "args": {"stages": 2, "out_activation": "none"}}
    net = models.build("residual", 3, 3, body=body, n_bands=3)
    models.load_pretrained(net, "residual")
    kernel = pretrained_state()["conv_stem.weight"]
    assert torch.equal(get_body(net).stem.conv_stem.weight, kernel)
    assert not net(noise(1, 3, 32, 32)).any()  # it still adds nothing


def test_a_network_without_such_an_encoder_says_so() -> None:
    net = models.build("unet", 3, 3)
    with pytest.raises(ConfigError, match=r"'unet' has no pretrained encoder; .* to liteunet"):
        models.load_pretrained(net, "unet")
