import pytest
import torch

from geotrans import models
from geotrans.errors import ConfigError
from tests.helpers.networks import noise

OF = {"arch": "unet", "args": {"depth": 2, "width": 6, "head_width": 5}}


def ensemble(n, *, of=OF):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        return models.build("ensemble", 3, 2, n=n, of=of, out_activation="none")


def test_members_are_averaged_and_differ():
    net, x = ensemble(3).eval(), noise(2, 3, 16, 16)
    each = [member(x) for member in net.members]
    assert not torch.allclose(each[0], each[1], atol=1e-3)
    torch.testing.assert_close(net(x), torch.stack(each).mean(dim=0))


def test_each_member_learns_from_patches_of_its_own():
    net, x = ensemble(2).train(), noise(5, 3, 16, 16)
    y = net(x)
    assert y.shape == (5, 2, 16, 16)
    y[:3].square().sum().backward()  # 3 patches of 5 are the first one's
    first, second = net.members
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in list(first.parameters())[:1])
    assert not any(p.grad is not None and p.grad.any() for p in second.parameters())


def test_it_starts_where_one_member_would():
    body = {"arch": "ensemble", "args": {"of": OF, "n": 2, "out_activation": "none"}}
    net = models.build("residual", 3, 3, body=body).eval()
    net.set_linear(torch.eye(3).numpy(), torch.zeros(3).numpy())
    x = noise(1, 3, 16, 16)
    torch.testing.assert_close(net(x), x)


def test_every_member_gets_what_was_learned_elsewhere():
    of = {"arch": "liteunet", "args": {"stages": 2, "width": 4}}
    net = ensemble(2, of=of)
    models.load_pretrained(net, "ensemble")
    stems = [member.stem.conv_stem.weight for member in net.members]
    assert torch.equal(*stems)
    assert not torch.equal(net.members[0].head[-1].weight, net.members[1].head[-1].weight)
    with pytest.raises(ConfigError, match=r"no pretrained encoder.* body or members, to liteunet"):
        models.load_pretrained(ensemble(2), "ensemble")


def test_rounded_members_are_averaged_exactly():
    net = ensemble(2).eval().bfloat16()
    x = noise(1, 3, 16, 16).bfloat16()
    a, b = (member(x).double() for member in net.members)
    made = net(x)
    assert made.dtype == torch.float32
    torch.testing.assert_close(made.double(), (a + b) / 2, rtol=1e-6, atol=1e-7)


def test_what_cannot_be_shared_out_is_refused():
    with pytest.raises(ConfigError, match=r"at least 3 patches; got 2: raise training\.batch"):
        ensemble(3).train()(noise(2, 3, 16, 16))
    with pytest.raises(ConfigError, match="an ensemble of no networks"):
        ensemble(0)
