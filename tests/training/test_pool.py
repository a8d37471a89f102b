import numpy as np
import torch

from geotrans.training.pool import PatchPool


def _patches(*values):
    return torch.tensor(values, dtype=torch.float32)[:, None, None, None]


def test_a_pool_fills_then_swaps_about_half():
    pool, rng = PatchPool(50), np.random.default_rng(0)
    first = _patches(*range(50))
    assert torch.equal(pool.swap(first, rng), first)
    assert len(pool.patches) == 50
    old = 0
    for step in range(50):
        shown = pool.swap(_patches(1000 + step), rng)
        old += float(shown) != 1000 + step
    assert 15 <= old <= 35
    assert len(pool.patches) == 50


def test_what_goes_in_is_not_changed_from_outside():
    pool, rng = PatchPool(1), np.random.default_rng(0)
    patches = _patches(3.0)
    pool.swap(patches, rng)
    patches.zero_()
    assert float(pool.patches) == 3


def test_what_is_shown_is_swapped_for_what_is_new():
    pool = PatchPool(1)
    pool.swap(_patches(1.0), np.random.default_rng(0))
    rng = np.random.default_rng(3)
    for new in range(2, 20):
        held = float(pool.patches)
        shown = float(pool.swap(_patches(float(new)), rng))
        assert (shown, float(pool.patches)) in {(held, new), (new, held)}


def test_no_pool_shows_the_newest():
    pool, patches = PatchPool(0), _patches(1.0, 2.0)
    assert torch.equal(pool.swap(patches, np.random.default_rng(0)), patches)
    assert pool.patches is None
