import pytest
import torch

from geotrans import models
from geotrans.errors import ConfigError
from tests.helpers.networks import SMALL, noise


@pytest.mark.parametrize(
    ("arch", "args", "message"),
    [
        (
            "unett",
            {},
            r"generator 'unett' is not known; did you mean 'unet'\?; there are ensemble, identity",
        ),
        (
            "unet",
            {"dept": 3},
            r"'unet' has no argument 'dept'; did you mean 'depth'\?; it has depth",
        ),
        ("identity", {"depth": 3}, "'identity' has no argument 'depth'; it has none"),
        ("resnet", {"upsample": "bicubic"}, "upsample 'bicubic' is not known; use nearest or"),
        ("resnet", {"norm": "layer"}, "norm 'layer' is not known"),
        ("unet", {"out_activation": "linear"}, "activation 'linear' is not known"),
        ("unet", {"depth": 0}, "depth 0 has no level 1"),
        ("unet", {"depth": 2, "blocks": [1]}, "depth 2 has no level 3"),
    ],
)
def test_what_is_not_known_is_told_with_the_nearest(arch, args, message):
    with pytest.raises(ConfigError, match=message):
        models.build(arch, 3, 3, **args)


def test_identity_cannot_change_the_number_of_channels():
    with pytest.raises(ConfigError, match="identity cannot turn 4 channels into 3"):
        models.build("identity", 4, 3)


@pytest.mark.parametrize(("arch", "args"), SMALL.values(), ids=SMALL)
def test_generators_keep_the_size_and_end_as_asked(arch, args):
    net = models.build(arch, 5, 2, **args)
    align = models.alignment(net)
    x = 100 * noise(2, 5, 4 * align, 6 * align)
    y = net(x)
    assert y.shape == (2, 2, 4 * align, 6 * align)
    assert float(y.detach().abs().max()) <= 1
    scores = models.build(arch, 5, 2, **args, out_activation="none")(x)
    assert float(scores.detach().abs().max()) > 1


@pytest.mark.parametrize(
    ("depth", "width", "max_width", "widths"), [(3, 4, 8, [4, 8, 8]), (1, 6, 9, [6])]
)
def test_depth_and_width_of_a_unet_are_free(depth, width, max_width, widths):
    net = models.build("unet", 3, 3, depth=depth, width=width, max_width=max_width)
    assert models.alignment(net) == 2**depth
    assert [down[0].out_channels for down in net.down] == widths


@pytest.mark.parametrize("blocks", [6, 9])
def test_resnets_of_the_papers(blocks):
    net = models.build("resnet", 3, 3, blocks=blocks, width=2)
    assert models.alignment(net) == 4
    assert sum(type(m).__name__ == "_ReflectBlock" for m in net.modules()) == blocks


def test_every_weight_of_a_generator_learns():
    for arch, args in SMALL.values():
        net = models.build(arch, 3, 3, **args)
        net(noise(2, 3, 16, 16)).square().sum().backward()
        still = [n for n, p in net.named_parameters() if p.grad is None or not torch.any(p.grad)]
        # A bias before an activation may be silent by chance, a whole weight may not.
        assert not [name for name in still if name.endswith("weight")], (arch, still)
