import numpy as np
import pytest
import torch

from geotrans.training.augment import DiffAugment
from tests.helpers.networks import noise

CPU = torch.device("cpu")
POLICIES = ("color", "translation", "cutout")


def _change(policies, *, seed=0, batch=4):
    return DiffAugment(policies, np.random.default_rng(seed), batch=batch, device=CPU)


def test_real_and_fake_are_changed_alike():
    change = _change(POLICIES)
    source, target = noise(4, 3, 32, 32), noise(4, 2, 32, 32).flip(-1)
    real, fake = change(source, target), change(source, target)
    assert all(torch.equal(a, b) for a, b in zip(real, fake, strict=True))
    assert not torch.equal(_change(POLICIES, seed=1)(source, target)[1], real[1])


def test_a_pair_stays_a_pair():
    where = torch.arange(1.0, 32 * 32 + 1).reshape(1, 1, 32, 32).expand(4, 1, 32, 32)
    source, target = _change(("translation", "cutout"))(where, where)
    assert torch.equal(source, target)
    assert not torch.equal(source, where)


def test_colour_changes_the_target_alone():
    source, target = noise(4, 3, 16, 16), noise(4, 3, 16, 16)
    seen, changed = _change(("color",))(source, target)
    assert torch.equal(seen, source)
    assert float((changed - target).abs().amin(dim=(1, 2, 3)).max()) > 0
    # A linear change of each patch: what is grey stays grey, what is flat stays flat.
    flat = torch.full((4, 3, 16, 16), 0.25)
    _, changed = _change(("color",))(flat, flat)
    assert float(changed.std(dim=(1, 2, 3)).max()) < 1e-6


def test_shifts_fill_with_zeros():
    class Fixed:
        def uniform(self, low, high, size):
            return np.array([[3 / 16, -2 / 16]])

    x = noise(1, 2, 16, 16)
    moved, _ = DiffAugment(("translation",), Fixed(), batch=1, device=CPU)(x, x)
    assert torch.equal(moved[..., 3:, :-2], x[..., :-3, 2:])
    assert not torch.any(moved[..., :3, :])
    assert not torch.any(moved[..., -2:])


def test_cutout_takes_a_square_of_half_the_edge_at_most():
    ones = torch.ones(64, 1, 32, 32)
    cut, _ = _change(("cutout",), batch=64)(ones, ones)
    missing = (cut == 0).sum(dim=(1, 2, 3))
    assert int(missing.max()) == 16 * 16
    assert int(missing.min()) >= 8 * 8


@pytest.mark.parametrize("policies", [(), POLICIES])
def test_gradients_come_back(policies):
    target = noise(4, 3, 32, 32).requires_grad_()
    _change(policies)(noise(4, 3, 32, 32), target)[1].sum().backward()
    assert torch.any(target.grad)


def test_no_policy_changes_nothing():
    source, target = noise(4, 3, 8, 8), noise(4, 3, 8, 8)
    assert _change(())(source, target) == (source, target)
