import numpy as np
import pytest
import torch

from geotrans.errors import ConfigError, SamplingError
from geotrans.sampling.cache import Manifest, PatchRecord, SideRecord
from geotrans.sampling.writing import CachedPatch, write_cache
from geotrans.training.augment import jitter_colors
from geotrans.training.channels import value_range
from geotrans.training.config import JitterConfig
from geotrans.training.data import ResidentPatches, crop_margin, step_rng
from tests.helpers.networks import noise
from tests.helpers.patches import PALETTE, toy_config

CPU = torch.device("cpu")
SIZE, MARGIN = 40, 8
EDGE = SIZE + 2 * MARGIN


def _patches(cache, split="train", **overrides):
    return ResidentPatches(cache, split, toy_config(**overrides), device=CPU)


def _code(border=0):
    """Where each pixel of a patch lies, counted from `MARGIN` px outside its top left."""
    row, col = np.mgrid[
        MARGIN - border : EDGE - MARGIN + border, MARGIN - border : EDGE - MARGIN + border
    ]
    return (row * EDGE + col).astype(np.uint16)


def _coded_cache(folder, drawn):
    """Patches whose values say where they lie, classes and valid with them."""
    code = _code()
    wide = _code(MARGIN)
    valid = code % 5 > 0
    record = PatchRecord(
        name="a", place="a", crs=None, transform=(1, 0, 0, 0, -1, 0), shape=(SIZE, SIZE),
        window=(0, 0, SIZE, SIZE),
    )  # fmt: skip
    sides = {"source": (wide, code), "target": (code, wide)}[drawn]
    patch = CachedPatch(record, sides[0][None], sides[1][None], valid, (code % 3).astype(np.uint8))
    side = SideRecord(bands=("place",), dtype="uint16")
    manifest = Manifest(source=side, target=side, margin=MARGIN, drawn=drawn, palette=PALETTE)
    return write_cache(folder, manifest, {"train": [patch], "val": [patch]})


def _read(x):
    """Codes of normalised uint16 values `(N, 1, H, W)`."""
    return torch.round((x + 1) * (65535 / 2)).long()


@pytest.fixture
def coded(tmp_path):
    return lambda drawn: _coded_cache(tmp_path / drawn, drawn)


def test_a_step_draws_the_same_in_any_order(make_cache):
    patches = _patches(
        make_cache(margin=8), task__noise=(1, 8), augment__jitter={"gamma": 0.2}, training__margin=8
    )
    first = [patches.draw(step) for step in (0, 1, 5)]
    again = [_patches(
        make_cache(margin=8), task__noise=(1, 8), augment__jitter={"gamma": 0.2}, training__margin=8
    ).draw(step) for step in (5, 0, 1)]  # fmt: skip
    for one, other in zip(first, [again[1], again[2], again[0]], strict=True):
        assert torch.equal(one.source, other.source)
        assert torch.equal(one.target, other.target)
        assert torch.equal(one.valid, other.valid)
    assert not torch.equal(first[0].source, first[1].source)
    assert not torch.equal(patches.draw(0, rank=1).source, first[0].source)


def test_random_sources_differ_by_seed_step_and_rank():
    keys = [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)]
    assert len({float(step_rng(*key).random()) for key in keys}) == 4


@pytest.mark.parametrize("margin", [0, 4, MARGIN])
def test_turned_patches_keep_source_and_target_in_line(coded, margin):
    patches = _patches(coded("source"), training__margin=margin, training__batch=4)
    turns = set()
    for step in range(12):
        batch = patches.draw(step)
        assert batch.source.shape == (4, 1, 32 + 2 * margin, 32 + 2 * margin)
        assert batch.margin == margin
        code = _read(batch.target)
        assert torch.equal(_read(crop_margin(batch.source, batch.margin)), code)
        assert torch.equal(batch.valid, (code % 5 > 0).float())
        steps = code[:, 0, :2, :2]
        turns |= {(int(c[0, 1] - c[0, 0]), int(c[1, 0] - c[0, 0])) for c in steps}
        # What surrounds the crop goes on as the ground does.
        whole = _read(batch.source)[:, 0]
        assert torch.equal(
            whole.diff(dim=1),
            whole.diff(dim=1)[:, :1, :1].expand(-1, len(whole[0]) - 1, len(whole[0])),
        )
    assert turns == {(a, b) for x, y in ((1, EDGE), (EDGE, 1)) for a in (x, -x) for b in (y, -y)}


def test_classes_turn_with_the_patch_and_a_drawn_target_has_no_margin(coded):
    patches = _patches(coded("target"), task__palette=True, loss={"l1": 0, "cross_entropy": 1})
    assert patches.target.shape[-2:] == (SIZE, SIZE)
    for step in range(6):
        batch = patches.draw(step)
        code = _read(batch.target)
        assert torch.equal(_read(batch.source), code)
        seen = batch.valid > 0
        assert torch.equal(batch.classes[:, None][seen], (code % 3)[seen])


def test_without_turning_patches_lie_as_they_are(coded):
    patches = _patches(coded("source"), augment__dihedral=False)
    code = _read(patches.draw(0).target)
    assert int(code[0, 0, 0, 1] - code[0, 0, 0, 0]) == 1


def test_a_whole_patch_shows_its_surroundings_and_mirrors_beyond(coded):
    patches = _patches(coded("source"))
    batch = patches.read_patch(0, border=12, align=8)
    assert batch.margin == 16
    assert batch.source.shape[-2:] == (72, 72)
    known = np.pad(_code(MARGIN), 8, mode="reflect")
    np.testing.assert_array_equal(_read(batch.source)[0, 0].numpy(), known)
    np.testing.assert_array_equal(_read(batch.target)[0, 0].numpy(), _code())


def test_a_patch_smaller_than_what_is_asked_for_is_mirrored_as_often_as_it_takes(coded):
    patches = _patches(coded("source"))
    batch = patches.read_patch(0, border=100, align=8)
    assert batch.source.shape[-2:] == (SIZE + 2 * 104, SIZE + 2 * 104)
    middle = _read(crop_margin(batch.source, batch.margin))[0, 0, :SIZE, :SIZE].numpy()
    np.testing.assert_array_equal(middle, _code())


def test_noise_is_appended_and_each_whole_patch_has_its_own(make_cache):
    patches = _patches(make_cache(), task__noise=(1, 8))
    assert patches.draw(0).source.shape[1] == 5
    a, b = (patches.read_patch(i, border=0, align=8).source[:, 3:] for i in (0, 1))
    assert not torch.equal(a, b)
    assert torch.equal(a, patches.read_patch(0, border=0, align=8).source[:, 3:])
    assert torch.equal(patches.draw(0).critic_source[:, :3], patches.draw(0).source[:, :3])


def test_values_are_normalised_by_their_type_and_come_back(make_cache):
    patches = _patches(make_cache(dtype="uint16"))
    assert value_range(SideRecord(bands=("a",), dtype="uint16")) == (0, 65535)
    assert value_range(SideRecord(bands=("a",), dtype="int16")) == (-32768, 32767)
    assert value_range(SideRecord(bands=("a",), dtype="float32")) == (-1, 1)
    batch = patches.read_patch(0, border=0, align=4)
    back = patches.denormalize(batch.target)
    torch.testing.assert_close(back, patches.target[:1].float(), rtol=0, atol=0.01)
    assert float(batch.target.abs().max()) <= 1


def test_bands_are_chosen_by_name(make_cache):
    cache = make_cache(target=("red", "green", "blue", "nir"))
    patches = _patches(cache, task__target=("nir", "red"))
    stored = cache.load("train").target
    np.testing.assert_array_equal(patches.target.numpy(), stored[:, [3, 0]])
    with pytest.raises(
        ConfigError, match=r"task\.target asks for band 'swir'; the data has red, gr"
    ):
        _patches(cache, task__target=("swir",))


def test_groups_are_drawn_by_their_shares(make_cache):
    cache = make_cache(groups=("2016", "2018", "2020"))
    patches = _patches(cache, augment__groups={"2020": 3, "2016": 1})
    by_group = {g: sum(p for p, h in zip(patches.probabilities, patches.groups, strict=True)
                     if g == h)
                for g in ("2016", "2018", "2020")}  # fmt: skip
    assert by_group == pytest.approx({"2016": 0.25, "2018": 0, "2020": 0.75})
    assert len(set(_patches(cache).probabilities)) == 1
    with pytest.raises(ConfigError, match=r"augment\.groups names '2022'; the data has 2016, 2018"):
        _patches(cache, augment__groups={"2022": 1})


def test_a_group_is_given_the_light_of_another(tmp_path, make_cache):
    cache = make_cache(groups=("2016", "2020"))
    patches = _patches(cache, augment__like_group="2020")
    groups = np.array(patches.groups)
    stored = cache.load("train").target
    here, there = (patches.target.numpy()[groups == g].astype(float) for g in ("2016", "2020"))
    np.testing.assert_array_equal(there, stored[groups == "2020"])
    np.testing.assert_allclose(here.mean((0, 2, 3)), there.mean((0, 2, 3)), atol=0.5)
    np.testing.assert_allclose(here.std((0, 2, 3)), there.std((0, 2, 3)), atol=1)
    with pytest.raises(
        ConfigError, match=r"augment\.like_group is '2022'; the data has 2016, 2020"
    ):
        _patches(cache, augment__like_group="2022")


def test_ground_the_style_leaves_blank_is_not_valid(tmp_path):
    code = _code()
    classes = np.where(code % 7 == 0, 255, code % 3).astype(np.uint8)
    record = PatchRecord(
        name="a", place="a", crs=None, transform=(1, 0, 0, 0, -1, 0), shape=(SIZE, SIZE),
        window=(0, 0, SIZE, SIZE),
    )  # fmt: skip
    patch = CachedPatch(record, code[None], code[None], np.ones((SIZE, SIZE), bool), classes)
    side = SideRecord(bands=("place",), dtype="uint16")
    manifest = Manifest(source=side, target=side, drawn="target", palette=PALETTE)
    cache = write_cache(tmp_path / "blank", manifest, {"train": [patch]})
    patches = _patches(cache, task__palette=True, loss={"l1": 0, "cross_entropy": 1})
    batch = patches.draw(0)
    assert int(batch.classes.max()) < len(PALETTE)
    assert torch.equal(batch.valid > 0, _read(batch.target) % 7 > 0)


@pytest.mark.parametrize(
    ("options", "overrides", "message"),
    [
        ({"drawn": None}, {"training__margin": 8}, "training.margin is 8 px, but the data shows 0"),
        ({"margin": 4}, {"training__margin": 8}, "training.margin is 8 px, but the data shows 4"),
        ({"drawn": None}, {"task__palette": True}, "target drawn from vectors; the data has none"),
        ({}, {"task__palette": True}, "target drawn from vectors; the data has a source"),
    ],
)
def test_what_does_not_fit_the_data_is_told(make_cache, options, overrides, message):
    with pytest.raises(ConfigError, match=message):
        _patches(make_cache(**options), **overrides)


def test_a_crop_larger_than_a_patch_is_told(make_cache):
    with pytest.raises(SamplingError, match=r"training\.crop is 64 px, but patches are 48 x 48 px"):
        _patches(make_cache(), training__crop=64).draw(0)


@pytest.mark.parametrize("change", ["gamma", "contrast", "band", "brightness"])
def test_jitter_changes_each_patch_its_own_way_within_the_range(change):
    x = noise(4, 3, 16, 16)
    y = jitter_colors(x, JitterConfig(**{change: 0.9}), np.random.default_rng(0))
    assert float(y.abs().max()) <= 1
    assert not torch.equal(x, y)
    moved = (y - x).mean(dim=(1, 2, 3))
    assert len(set(moved.tolist())) == 4
    assert torch.equal(jitter_colors(x, JitterConfig(), np.random.default_rng(0)), x)


@pytest.mark.parametrize("margin", [0, 8])
def test_both_sides_change_alike_if_asked(make_cache, margin):
    cache = make_cache(margin=margin)
    common = {"training__margin": margin, "training__crop": 24}
    jitter = {"brightness": 0.2, "contrast": 0.3, "gamma": 0.3}
    plain = _patches(cache, **common).draw(3)
    alone = _patches(cache, **common, augment__jitter=jitter).draw(3)
    both = _patches(cache, **common, augment__jitter={**jitter, "both": True}).draw(3)
    assert torch.equal(alone.target, plain.target)
    assert not torch.equal(both.target, plain.target)
    source = crop_margin(both.source, margin)
    assert source.shape[-2:] == both.target.shape[-2:]
    # One curve for both: equal values of a patch become equal values.
    for i in range(2):
        before = torch.cat(
            [crop_margin(plain.source, margin)[i].flatten(), plain.target[i].flatten()]
        )
        after = torch.cat([source[i].flatten(), both.target[i].flatten()])
        order = torch.argsort(before)
        assert torch.all(after[order].diff() >= -1e-5)


def test_values_of_a_said_range_become_minus_one_and_one():
    side = SideRecord(bands=("a",), dtype="uint16")
    assert value_range(side) == (0, 65535)
    assert value_range(side.model_copy(update={"value_range": (200.0, 3000.0)})) == (200, 3000)
