import pytest
import torch

from geotrans.models import PatchGAN
from tests.helpers.networks import noise


def test_scores_and_features_of_two_scales():
    fine, coarse = PatchGAN(6, width=4, layers=3, scales=2)(noise(2, 6, 64, 64))
    assert fine.scores.shape == (2, 1, 6, 6)
    assert coarse.scores.shape == (2, 1, 2, 2)
    assert [f.shape[1] for f in fine.features] == [4, 8, 16, 32]
    assert [f.shape[-1] for f in fine.features] == [32, 16, 8, 7]
    assert [f.shape[-1] for f in coarse.features] == [16, 8, 4, 3]


@pytest.mark.parametrize(("layers", "seen"), [(1, 16), (3, 70)])
def test_a_score_sees_a_patch(layers, seen):
    critic = PatchGAN(1, width=2, layers=layers, norm="none")
    x = noise(1, 1, 128, 128).requires_grad_()
    scores = critic(x)[0].scores
    middle = scores.shape[-1] // 2
    scores[0, 0, middle, middle].backward()
    rows = torch.nonzero(x.grad[0, 0].abs().sum(dim=1)).flatten()
    assert int(rows.max() - rows.min()) + 1 == seen


def test_spectral_norm_bounds_every_layer():
    torch.manual_seed(0)  # how fast power iteration settles depends on the weights
    critic = PatchGAN(3, width=4, layers=2)
    with torch.no_grad():
        for weight in critic.parameters():
            weight.mul_(50)
    for _ in range(200):
        critic(noise(1, 3, 32, 32))
    critic.eval()
    for stages in critic.critics:
        for module in stages.modules():
            if isinstance(module, torch.nn.Conv2d):
                norm = torch.linalg.matrix_norm(module.weight.detach().flatten(1), ord=2)
                assert float(norm) == pytest.approx(1, abs=0.02)


def test_without_spectral_norm_weights_are_plain():
    assert not any("parametrizations" in name for name in PatchGAN(3, norm="none").state_dict())
