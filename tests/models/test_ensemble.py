import pytest
import torch

from geotrans import models
from geotrans.errors import ConfigError
from tests.helpers.networks import noise

OF = {"arch": "unet", "args": {"depth": 2, "width": 6, "head_width": 5, "out_activation": "none"}}
RESIDUAL = {"body": OF, "n_bands": 3, "lock": [0, 0, 1, 2]}


def build(arch, args, *, seed=5):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return models.build(arch, 3, 3, **args).eval()


def trained(arch, args, *, seed):
    """A network that has learned something: no layer is at its start."""
    net = build(arch, args, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for value in net.state_dict().values():
            if value.is_floating_point():
                value.add_(0.1 * torch.rand(value.shape, generator=generator))
    return net


def test_members_are_averaged_and_differ():
    net, x = build("ensemble", {"n": 3, "of": OF}), noise(2, 3, 16, 16)
    each = [member(x) for member in net.members]
    assert not torch.allclose(each[0], each[1], atol=1e-3)
    torch.testing.assert_close(net(x), torch.stack(each).mean(dim=0))


def test_trained_networks_become_one():
    one, other = (trained(OF["arch"], OF["args"], seed=seed) for seed in (1, 2))
    arch, args, state = models.build_ensemble(
        OF["arch"], OF["args"], [one.state_dict(), other.state_dict()]
    )
    net, x = build(arch, args), noise(2, 3, 16, 16)
    net.load_state_dict(state)
    torch.testing.assert_close(net(x), (one(x) + other(x)) / 2)


def test_residuals_share_their_linear_map_and_their_lock():
    nets = [trained("residual", RESIDUAL, seed=seed) for seed in (1, 2, 3)]
    for net in nets:  # fitted to the same patches
        net.set_linear(0.5 * torch.eye(3).numpy(), torch.full((3,), 0.125).numpy())
    arch, args, state = models.build_ensemble("residual", RESIDUAL, [n.state_dict() for n in nets])
    net, x = build(arch, args), noise(2, 3, 16, 16)
    net.load_state_dict(state)
    assert (arch, args["lock"], net.align) == ("residual", [0, 0, 1, 2], nets[0].align)
    torch.testing.assert_close(net.weight, nets[0].weight)
    bodies = torch.stack([n.body(x) for n in nets]).mean(dim=0)
    torch.testing.assert_close(net.body(x), bodies)
    luma = torch.tensor([0.299, 0.587, 0.114])[:, None, None]
    torch.testing.assert_close((net(x) * luma).sum(dim=1), x[:, 0], atol=1e-5, rtol=0)


def test_rounded_members_are_averaged_exactly():
    net = build("ensemble", {"n": 2, "of": OF}).bfloat16()
    x = noise(1, 3, 16, 16).bfloat16()
    a, b = (member(x).double() for member in net.members)
    made = net(x)
    assert made.dtype == torch.float32
    torch.testing.assert_close(made.double(), (a + b) / 2, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("n", [0, 65, 10**9])
def test_a_number_nobody_means_is_refused(n):
    with pytest.raises(ConfigError, match=f"1 to 64 members; got n = {n}"):
        models.build("ensemble", 3, 2, n=n, of=OF)
