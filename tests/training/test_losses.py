import math

import pytest
import torch

from geotrans.models import CriticOutput
from geotrans.training.losses import (
    adversarial_loss,
    critic_loss,
    feature_loss,
    jaccard_loss,
    masked_cross_entropy,
    masked_l1,
    masked_l2,
)


def _map(*rows):
    return torch.tensor(rows, dtype=torch.float32)[None, None]


def test_l1_counts_valid_pixels_only():
    output, target = _map([1, 2], [3, 9]), _map([0, 0], [5, 0])
    valid = _map([1, 1], [1, 0])
    assert float(masked_l1(output, target, valid)) == pytest.approx((1 + 2 + 2) / 3)
    assert float(masked_l1(output, target, torch.zeros_like(valid))) == 0


def test_l2_counts_valid_pixels_only():
    output, target = _map([1, 2], [3, 9]), _map([0, 0], [5, 0])
    valid = _map([1, 1], [1, 0])
    assert float(masked_l2(output, target, valid)) == pytest.approx((1 + 4 + 4) / 3)
    assert float(masked_l2(output, target, torch.zeros_like(valid))) == 0


def test_l1_of_squares_compares_their_means():
    output, target = _map([1, -1, 5, 5], [1, -1, 5, 5]), _map([0, 0, 1, 1], [0, 0, 1, 1])
    valid = torch.ones_like(output)
    assert float(masked_l1(output, target, valid, pool=2)) == pytest.approx((0 + 4) / 2)
    valid[..., 2:] = 0
    assert float(masked_l1(output, target, valid, pool=2)) == 0


def test_critics_and_generators_by_hand():
    real, fake = [_map([2, 0.5])], [_map([-0.5, 0.25])]
    hinge = ((0 + 0.5) / 2 + (0.5 + 1.25) / 2) / 2
    assert float(critic_loss(real, fake, kind="hinge")) == pytest.approx(hinge)
    squares = ((1 + 0.25) / 2 + (0.25 + 0.0625) / 2) / 2
    assert float(critic_loss(real, fake, kind="least_squares")) == pytest.approx(squares)
    assert float(adversarial_loss(fake, kind="hinge")) == pytest.approx(0.125)
    wanted = (1.5**2 + 0.75**2) / 2
    assert float(adversarial_loss(fake, kind="least_squares")) == pytest.approx(wanted)


def test_every_scale_counts_alike_whatever_its_size():
    one, four = _map([1.0]), torch.zeros(1, 1, 2, 2)
    assert float(adversarial_loss([one, four], kind="hinge")) == pytest.approx(-0.5)


def test_features_are_matched_layer_by_layer():
    real = [CriticOutput(_map([0]), [_map([1, 2]), _map([0])])]
    fake = [CriticOutput(_map([0]), [_map([2, 4]), _map([3])])]
    assert float(feature_loss(real, fake)) == pytest.approx((1.5 + 3) / 2)


def test_real_features_teach_nothing():
    real, fake = _map([1.0]).requires_grad_(), _map([3.0]).requires_grad_()
    feature_loss([CriticOutput(real, [real])], [CriticOutput(fake, [fake])]).backward()
    assert real.grad is None
    assert float(fake.grad) == 1


def test_cross_entropy_by_hand():
    scores = torch.tensor([[0.0, 2.0], [1.0, 0.0]]).reshape(1, 2, 1, 2)  # (N, K, H, W)
    classes, valid = torch.tensor([[[1, 0]]]), _map([1, 1])
    first, second = math.log(1 + math.exp(-1)), math.log(1 + math.exp(-2))
    loss = masked_cross_entropy(scores, classes, valid)
    assert float(loss) == pytest.approx((first + second) / 2, rel=1e-6)
    assert float(masked_cross_entropy(scores, classes, _map([1, 0]))) == pytest.approx(first)


def test_jaccard_by_hand():
    # Sure of class 0 everywhere; half of the ground is class 1, class 2 is nowhere.
    scores = torch.zeros(1, 3, 2, 2)
    scores[:, 0] = 100
    classes, valid = torch.tensor([[[0, 0], [1, 1]]]), torch.ones(1, 1, 2, 2)
    assert float(jaccard_loss(scores, classes, valid)) == pytest.approx(1 - (2 / 4 + 0) / 2)
    valid[:, :, 1] = 0
    assert float(jaccard_loss(scores, classes, valid)) == pytest.approx(0)
    unsure = torch.zeros(1, 3, 2, 2)
    both, either = 2 / 3, 4 / 3 + 2 - 2 / 3
    loss = jaccard_loss(unsure, classes, torch.ones(1, 1, 2, 2))
    assert float(loss) == pytest.approx(1 - both / either)


def test_a_batch_without_valid_ground_teaches_nothing():
    scores = torch.zeros(1, 3, 2, 2, requires_grad=True)
    classes, valid = torch.zeros(1, 2, 2, dtype=torch.int64), torch.zeros(1, 1, 2, 2)
    for loss in (jaccard_loss, masked_cross_entropy):
        loss(scores, classes, valid).backward()
        assert not torch.any(scores.grad)
