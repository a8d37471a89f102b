import pytest
import torch

from geotrans import models
from tests.helpers.networks import SMALL, noise, small
from tests.helpers.thorough import quick


def _reach(net, size):
    """Farthest output pixel that a changed input pixel changes, over every phase."""
    net = net.double()
    x = noise(1, 3, size, size).double()
    before = net(x)
    reach = 0
    for phase in range(models.alignment(net)):
        at = size // 2 + phase
        other = x.clone()
        other[..., at, at] += 1
        changed = torch.nonzero((net(other) != before).any(dim=1)[0])
        reach = max(reach, int((changed - at).abs().max()))
    assert reach < size // 2 - models.alignment(net), "the picture is too small to tell"
    return reach


@pytest.mark.parametrize("name", quick({"unet", "unet of depth 1, no norm", "resnet"}, SMALL))
def test_the_halo_is_what_a_changed_pixel_reaches(name):
    net = small(name)
    assert models.receptive_halo(net, 3) == _reach(net, 160)


@pytest.mark.parametrize("name", SMALL)
def test_a_crop_agrees_beyond_the_halo_and_not_before(name):
    net = small(name).double()
    align, halo = models.alignment(net), models.receptive_halo(net, 3)
    x = noise(1, 3, 224, 224).double()
    first, size = 8 * align, 128
    whole = net(x)[..., first : first + size, first : first + size]
    crop = net(x[..., first : first + size, first : first + size])
    difference = (whole - crop).abs().amax(dim=(0, 1))

    def worst(border):
        return float(difference[border : size - border, border : size - border].max())

    assert size > 2 * halo
    assert worst(halo) < 1e-12
    assert worst(max(0, halo - align)) > 1e-12


def test_a_crop_off_the_stride_does_not_agree():
    net = small("unet").double()
    x = noise(1, 3, 160, 160).double()
    whole, crop = (
        net(x)[..., 41:121, 41:121],
        net(x[..., 1:161, 1:161][..., :156, :156])[..., 40:120, 40:120],
    )
    assert float((whole - crop).abs().max()) > 1e-3


def test_looking_by_stride_finds_hardly_less():
    net = small("unet")
    exact, quick = (models.receptive_halo(net, 3, by_stride=flag) for flag in (False, True))
    assert exact - models.alignment(net) < quick <= exact


def test_measuring_leaves_network_and_random_state_alone():
    net = small("resnet")
    before = {key: value.clone() for key, value in net.state_dict().items()}
    state = torch.random.get_rng_state()
    models.receptive_halo(net, 3)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())


def test_identity_sees_only_its_pixel():
    assert models.receptive_halo(models.build("identity", 3, 3), 3) == 0
