import copy

import numpy as np
import pytest
import torch

from geotrans import models
from geotrans.errors import ConfigError
from geotrans.models.residual import LUMA, restore_luminance
from tests.helpers.networks import noise

UNET = {"depth": 2, "width": 6, "max_width": 8, "head_width": 5, "out_activation": "none"}
BODIES = {
    "unet": {"arch": "unet", "args": UNET},
    "unet with tanh": {"arch": "unet", "args": {**UNET, "out_activation": "tanh"}},
    "resnet": {"arch": "resnet", "args": {"blocks": 1, "width": 4, "norm": "none"}},
}
WEIGHT = np.array([[0.2, 0.5, -0.1], [0.3, 0.1, 0.4], [0.1, 0.6, 0.2]])
BIAS = np.array([0.05, -0.1, 0.02])


def residual(*, n_noise=0, body=BODIES["unet"], stirred=False, **args):
    """A network over a known linear map of three bands; stirred, its body says something."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        net = models.build("residual", 3 + n_noise, 3, body=body, n_bands=3, **args)
        net.set_linear(WEIGHT, BIAS)
        if stirred:
            for parameter in net.body.parameters():
                parameter.data = torch.randn_like(parameter) * 0.3
    return net.eval().requires_grad_(False)


def luma(colors):
    return sum(w * band for w, band in zip(LUMA, colors.unbind(dim=1), strict=True))


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_it_starts_as_the_linear_map_whatever_the_noise(body):
    x = noise(2, 5, 16, 16)
    wanted = torch.einsum("kc,nchw->nkhw", torch.tensor(WEIGHT).float(), x[:, :3])
    wanted = wanted + torch.tensor(BIAS).float()[:, None, None]
    torch.testing.assert_close(residual(n_noise=2, body=body)(x), wanted)
    assert not torch.allclose(residual(n_noise=2, body=body, stirred=True)(x), wanted, atol=0.01)


def test_the_body_sees_the_noise_and_the_linear_map_does_not():
    x = noise(1, 5, 16, 16)
    other = x.clone()
    other[:, 3:] = 0
    still, stirred = residual(n_noise=2), residual(n_noise=2, stirred=True)
    assert torch.equal(still(x), still(other))
    assert not torch.equal(stirred(x), stirred(other))
    assert still.weight.shape == (3, 3)


def test_carried_bands_are_the_source_to_the_bit_and_the_others_are_not():
    net = residual(carry=[(2, 0), (0, 1)], stirred=True)
    x = noise(2, 3, 16, 16)
    y = net(x)
    assert torch.equal(y[:, 2], x[:, 0])
    assert torch.equal(y[:, 0], x[:, 1])
    assert net.weight.shape == (1, 3)
    torch.testing.assert_close(net.weight[0].double(), torch.tensor(WEIGHT[1]), rtol=1e-6, atol=0)
    made = torch.einsum("c,nchw->nhw", net.weight[0], x) + net.bias[0]
    assert float((y[:, 1] - made).abs().max()) > 0.01


def test_a_locked_luminance_is_that_of_the_source():
    net = residual(lock=(1, 0, 1, 2), stirred=True)
    x = noise(2, 3, 16, 16)
    y = net(x)
    torch.testing.assert_close(luma(y), x[:, 1], atol=1e-6, rtol=0)
    assert float(y.abs().max()) <= 1 + 1e-6
    assert float((y.amax(dim=1) - y.amin(dim=1)).mean()) > 0.05, "no chroma to speak of"


def test_what_leaves_the_range_fades_and_keeps_hue_and_luminance():
    colors = torch.tensor([[0.9, 0.7, 0.1], [0.5, 0.2, -0.3], [0.3, 0.3, 0.3]]).view(3, 3, 1, 1)
    light = torch.tensor([0.9, 0.25, 1.2]).view(3, 1, 1, 1)
    y = restore_luminance(colors, light)
    torch.testing.assert_close(luma(y), light[:, 0])
    before, after = (c[0] - luma(c)[0] for c in (colors, y))
    share = after / before
    torch.testing.assert_close(share, share[:1].expand(3, 1, 1))
    assert 0 < float(share[0]) < 1
    assert float(y[0].max()) == pytest.approx(1)
    torch.testing.assert_close(y[1] - y[1, 1], colors[1] - colors[1, 1])  # within: only shifted
    assert torch.equal(y[2], torch.full((3, 1, 1), 1.2))  # whiter than white is grey


def test_the_linear_map_is_kept_and_the_body_learns():
    net = residual(lock=(1, 0, 1, 2)).train().requires_grad_(True)
    before = net.weight.clone()
    assert not {"weight", "bias"} & {name for name, _ in net.named_parameters()}
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    x, wanted = noise(2, 3, 16, 16), noise(2, 3, 16, 16).flip(-1) / 4
    losses = []
    for _ in range(30):
        loss = (net(x) - wanted).abs().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.9 * losses[0]
    assert torch.equal(net.weight, before)


@pytest.mark.parametrize("args", [{}, {"carry": [(0, 1)]}, {"lock": (1, 0, 1, 2)}])
def test_folding_halo_and_size_are_those_of_the_body(args):
    net = residual(stirred=True, **args)
    x = noise(1, 3, 32, 32)
    torch.testing.assert_close(models.fold(net)(x), net(x), atol=1e-4, rtol=1e-4)
    assert models.alignment(net) == 4
    assert models.receptive_halo(net, 3) == models.receptive_halo(net.body, 3) > 0
    assert models.largest_layer(net, 3) >= models.largest_layer(net.body, 3)


def test_it_is_exact_in_a_lower_precision_around_the_body():
    net = residual(carry=[(0, 1)])
    exact = copy.deepcopy(net)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = net(noise(1, 3, 16, 16))
    assert y.dtype == torch.float32
    assert torch.equal(y, exact(noise(1, 3, 16, 16)))


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({"carry": [(0, 3)]}, r"carry \[\(0, 3\)\] and lock None name bands beyond the 3 of"),
        ({"carry": [(0, 0), (0, 1)]}, "carried or locked; carry or lock each once"),
        ({"carry": [(0, 0), (1, 1), (2, 2)]}, "leave the network one to write"),
        ({"carry": [(0, 0)], "lock": (1, 0, 1, 2)}, "carried or locked; carry or lock each once"),
        ({"lock": (0, 1, 2)}, "lock has 3 positions"),
        ({"body": {"arch": "identity"}}, "Identity has none"),
        ({"body": {"arch": "residual"}}, "the body of a residual is another network"),
        ({"body": {"arch": "unett"}}, r"did you mean 'unet'\?"),
    ],
)
def test_what_does_not_fit_is_told(args, message):
    with pytest.raises(ConfigError, match=message):
        residual(**args)


def test_the_body_does_not_see_what_it_is_blind_to():
    net = residual(n_noise=1, blind=[0], carry=[(0, 1)], stirred=True)
    x = noise(1, 4, 16, 16)
    other = x.clone()
    other[:, 0] += 0.5
    gone = net(other) - net(x)
    expected = torch.tensor(WEIGHT[1:, 0]).float()[:, None, None] * 0.5
    torch.testing.assert_close(gone[:, 1:], expected.expand_as(gone[:, 1:]))
    assert torch.equal(gone[:, 0], torch.zeros_like(gone[:, 0]))
    other = x.clone()
    other[:, 3] += 0.5
    assert not torch.equal(net(other), net(x))
    assert models.receptive_halo(net, 4) > 0
    with pytest.raises(ConfigError, match=r"blind \[0, 1, 2\] is to name some of the 3 bands"):
        residual(blind=[0, 1, 2])
