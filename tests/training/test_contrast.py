import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from geotrans.training.contrast import Projections, contrast_loss, draw_positions, gather_positions


def test_the_loss_is_the_papers_equation():
    """Equation 3 written out: one positive against all other places of its patch."""
    rng = torch.Generator().manual_seed(0)
    query, key = (F.normalize(torch.randn(2, 5, 7, generator=rng), dim=-1) for _ in range(2))
    expected = []
    for n in range(2):
        for s in range(5):
            likeness = [math.exp(float(query[n, s] @ key[n, t]) / 0.07) for t in range(5)]
            expected.append(-math.log(likeness[s] / sum(likeness)))
    loss = contrast_loss([query], [key], temperature=0.07)
    assert float(loss) == pytest.approx(np.mean(expected), rel=1e-5)
    both = contrast_loss([query, key], [key, key], temperature=0.07)
    alike = contrast_loss([key], [key], temperature=0.07)
    assert float(both) == pytest.approx((float(loss) + float(alike)) / 2, rel=1e-5)
    assert float(alike) < 0.1


def test_only_the_output_is_moved():
    query, key = (torch.randn(1, 4, 3, requires_grad=True) for _ in range(2))
    contrast_loss([query], [key], temperature=0.1).backward()
    assert query.grad is not None
    assert key.grad is None


def test_places_are_those_that_are_counted():
    level = torch.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5).float()
    places = draw_positions([level, level[..., :1, :2]], 6, np.random.default_rng(0))
    assert [len(where) for where in places] == [6, 2]
    assert len(set(places[0].tolist())) == 6
    found = gather_positions([level], places[:1])[0]
    assert found.shape == (2, 6, 3)
    for s, where in enumerate(places[0].tolist()):
        assert torch.equal(found[:, s], level[:, :, where // 5, where % 5])


def test_projections_are_unit_vectors():
    made = Projections([3, 8], width=16)([torch.randn(2, 5, 3), torch.randn(2, 4, 8)])
    assert [each.shape for each in made] == [(2, 5, 16), (2, 4, 16)]
    for each in made:
        torch.testing.assert_close(each.norm(dim=-1), torch.ones(each.shape[:2]))
