import pytest
import torch

from geotrans.errors import ConfigError, SamplingError
from geotrans.training.domains import UnpairedPatches
from tests.helpers.patches import toy_config

CPU = torch.device("cpu")


@pytest.fixture
def patches(make_domains):
    def make(**overrides):
        config = toy_config(training__method="cyclegan", without=("loss",), **overrides)
        return UnpairedPatches(make_domains(), "train", config, device=CPU)

    return make


def test_each_step_is_its_own_draw_of_both_domains(patches):
    one, again, other = patches(), patches(), patches(training__seed=1)
    for step in (0, 7):
        for a, b, c in zip(one.draw(step), again.draw(step), other.draw(step), strict=True):
            assert torch.equal(a.values, b.values)
            assert not torch.equal(a.values, c.values)
    assert not torch.equal(one.draw(0)[0].values, one.draw(0, rank=1)[0].values)


def test_crops_are_real_pixels_where_they_are_valid(patches):
    found = patches(augment={"dihedral": False})
    for side, drawn in zip((found.source, found.target), found.draw(3), strict=True):
        values = ((drawn.values + 1) * 127.5).round().byte()
        assert values.shape == (2, 3, 32, 32)
        assert drawn.extra.shape == (2, 0, 32, 32)
        for crop, valid in zip(values, drawn.valid, strict=True):
            places = side.values.unfold(2, 32, 1).unfold(3, 32, 1).permute(0, 2, 3, 1, 4, 5)
            same = (places == crop).flatten(3).all(-1)
            assert same.sum() == 1
            index, row, col = (int(i[0]) for i in same.nonzero(as_tuple=True))
            expected = side.valid[index, row : row + 32, col : col + 32].float()
            assert torch.equal(valid[0], expected)


def test_domains_do_not_move_together(patches):
    found = patches(training__batch=32)
    source, target = found.draw(0)
    assert not torch.equal(source.valid, target.valid)


def test_turns_and_zooms_mark_what_comes_from_beyond(patches):
    source, _ = patches(augment={"rotate": 30}).draw(0)
    assert 0.5 < float(source.valid.mean()) < 1


def test_jitter_changes_the_source_and_the_target_only_if_asked(patches):
    plain = patches().draw(0)
    alone = patches(augment={"jitter": {"brightness": 0.2}}).draw(0)
    both = patches(augment={"jitter": {"brightness": 0.2, "both": True}}).draw(0)
    assert not torch.equal(alone[0].values, plain[0].values)
    assert not torch.equal(both[1].values.mean(), plain[1].values.mean())
    shift = both[1].values.mean() - plain[1].values.mean()
    assert shift.abs() > 1e-3


def test_noise_and_coordinates_are_extra_channels(patches):
    source, target = patches(task={"noise": [1, 8], "coordinates": ["latitude"]}).draw(0)
    assert source.extra.shape == target.extra.shape == (2, 3, 32, 32)
    assert float(source.extra[:, 0].std()) < 1e-3
    assert not torch.equal(source.extra[:, 1], target.extra[:, 1])


def test_pairs_are_drawn_as_two_domains(make_cache):
    config = toy_config(training__method="cyclegan", without=("loss",), augment={"dihedral": False})
    found = UnpairedPatches(make_cache(drawn=None), "train", config, device=CPU)
    source, target = found.draw(0)
    assert len(found.source) == len(found.target) == 3
    same = [
        (side.values.unfold(2, 32, 1).unfold(3, 32, 1).permute(0, 2, 3, 1, 4, 5)
         == ((drawn.values[0] + 1) * 127.5).round().byte()).flatten(3).all(-1)
        for side, drawn in ((found.source, source), (found.target, target))
    ]  # fmt: skip
    turned = [int(places.sum()) for places in same]
    assert turned == [1, 1]
    assert not torch.equal(*same)


def test_what_does_not_fit_is_told(patches):
    with pytest.raises(SamplingError, match="crop is 64 px, but patches are 48 x 48 px"):
        patches(training__crop=64).draw(0)
    with pytest.raises(ConfigError, match=r"task\.target asks for band 'swir'; the data has red,"):
        patches(task__target=["swir"])
