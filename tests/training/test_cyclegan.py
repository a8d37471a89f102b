import itertools

import numpy as np
import pytest
import torch

from geotrans.errors import ConfigError, TrainingError
from geotrans.grid import Window
from geotrans.inference import Translator
from geotrans.tasks import open_bundle
from geotrans.training import cyclegan, loop
from geotrans.training.data import ResidentPatches
from geotrans.training.evaluation import HeldOut
from geotrans.training.export import TrainedGenerator, export_bundle
from tests.helpers.runs import assert_same, killed_at, read_losses, read_state
from tests.helpers.thorough import slow

BODY = {"arch": "unet", "args": {"depth": 2, "width": 6, "max_width": 8, "head_width": 6}}
RESIDUAL = {"arch": "residual", "args": {"body": BODY, "carry": ["red", "green"]}}
# Everything at once, so that a resumed run has everything to remember.
FULL = {
    "task": {"noise": [1, 8], "coordinates": ["latitude"]},
    "critic": {"scales": 2},
    "loss": {"gan": 1, "cycle": 10, "identity": 5, "known": 2},
    "augment": {"critic": ["color", "translation", "cutout"], "jitter": {"gamma": 0.2}},
    "training": {
        "steps": 8,
        "evaluate_every": 4,
        "freeze_norm_from": 0.75,
        "decay_from": 0.25,
        "pool": 5,
    },
}


@pytest.mark.parametrize("step", [6, slow(7)])
def test_killed_and_resumed_equals_unbroken(start_unpaired, monkeypatch, step):
    monkeypatch.setattr(loop, "LOG_EVERY", 1)
    unbroken, killed = (start_unpaired("cyclegan", n, FULL) for n in ("unbroken", "killed"))
    best = unbroken.run()
    killed_at(killed, step)
    state = read_state(killed)
    assert state["step"] == 4
    assert len(state["pools"]["source"]) == 5
    resumed = start_unpaired("cyclegan", "killed", FULL)
    again = resumed.run()
    assert_same(read_state(resumed), read_state(unbroken))
    assert [row["step"] for row in read_losses(resumed)] == [str(i) for i in range(1, 9)]
    assert read_losses(resumed) == read_losses(unbroken)
    assert again["scores"] == best["scores"]
    assert_same(again["inverse"], best["inverse"])


def test_every_loss_has_its_name(start_unpaired):
    run = start_unpaired("cyclegan", changes=FULL)
    losses = run.step(0, 0.0)
    assert set(losses) == {
        "critic_source", "critic_target", "gan", "cycle", "identity", "known",
    }  # fmt: skip
    usual = start_unpaired("cyclegan", "usual")
    assert usual.weights == {"gan": 1.0, "cycle": 10.0}
    assert set(usual.step(0, 0.0)) == {"critic_source", "critic_target", "gan", "cycle"}
    for net in usual.networks.values():
        assert all(p.requires_grad for p in net.parameters())


def test_all_four_networks_learn(start_unpaired):
    run = start_unpaired("cyclegan")
    before = {n: [p.detach().clone() for p in net.parameters()] for n, net in run.networks.items()}
    run.step(0, 0.0)
    for name, net in run.networks.items():
        moved = [not torch.equal(a, b) for a, b in zip(before[name], net.parameters(), strict=True)]
        assert all(moved), name


def test_cycle_loss_falls_on_one_draw(start_unpaired):
    run = start_unpaired("cyclegan", loss={"gan": 0, "cycle": 1}, training__lr_generator=0.01)
    drawn = run.patches.draw(0)
    run.patches.draw = lambda step, rank=0: drawn
    first = float(run.step(0, 0.0)["cycle"])
    for step in range(1, 60):
        last = float(run.step(step, 0.0)["cycle"])
    assert last < 0.5 * first


def test_domains_may_have_other_bands(start_unpaired):
    run = start_unpaired("cyclegan", cache={"source": ("nir", "red"), "target": ("blue",)})
    assert run.step(0, 0.0)["cycle"].isfinite()
    convolutions = {
        name: next(m for m in net.modules() if isinstance(m, torch.nn.Conv2d))
        for name, net in run.networks.items()
    }
    shapes = {name: first.in_channels for name, first in convolutions.items()}
    assert shapes == {
        "generator": 2, "inverse": 1, "critic_target": 1, "critic_source": 2,
    }  # fmt: skip
    with pytest.raises(ConfigError, match=r"the source has 2 bands, the target 1; set loss\.id"):
        start_unpaired(
            "cyclegan", "other", cache={"source": ("nir", "red"), "target": ("blue",)},
            loss={"identity": 1},
        )  # fmt: skip
    with pytest.raises(ConfigError, match=r"loss\.known compares bands that both sides have"):
        start_unpaired(
            "cyclegan", "third", cache={"source": ("nir", "red"), "target": ("blue",)},
            loss={"known": 1},
        )  # fmt: skip


@pytest.mark.slow
def test_carried_bands_are_exact_both_ways_and_blue_is_learned_without_pairs(start_unpaired):
    run = start_unpaired(
        "cyclegan",
        changes={"generator": RESIDUAL},
        loss={"gan": 0, "cycle": 100, "cycle_detached": True, "known": 1},
        training__steps=60,
        training__evaluate_every=20,
        training__lr_generator=5e-3,
        training__select="psnr:max",
        training__batch=4,
    )
    source, target = run.patches.draw(0)
    made = run.networks["generator"](source.values)
    assert torch.equal(made[:, [0, 1]], source.values[:, [1, 2]])
    back = run.networks["inverse"](target.values)
    assert torch.equal(back[:, [1, 2]], target.values[:, [0, 1]])
    assert float(run.step(0, 0.0)["known"]) == 0
    best = run.run()
    assert best["scores"]["psnr"] > best["fit"]["psnr"] + 0.5
    assert best["scores"]["psnr"] > 28


def test_a_linear_map_told_by_context_starts_ahead(start_unpaired):
    def fit(kind):
        args = {**RESIDUAL["args"], "fit": kind}
        run = start_unpaired("cyclegan", kind, {"generator": {"arch": "residual", "args": args}})
        return run.networks["generator"].module.weight

    known, context = fit("known"), fit("context")
    assert known.shape == context.shape == (1, 3)
    assert float(known[0, 0]) == 0
    assert float(context[0, 0]) != 0


def test_the_known_loss_teaches_what_is_not_carried(start_unpaired):
    run = start_unpaired(
        "cyclegan", loss={"gan": 0, "cycle": 0, "known": 1}, training__lr_generator=0.01
    )
    first = float(run.step(0, 0.0)["known"])
    for step in range(1, 40):
        last = float(run.step(step, 0.0)["known"])
    assert last < 0.5 * first


def test_a_detached_cycle_teaches_the_second_network_alone(start_unpaired):
    def gradient(detached):
        run = start_unpaired(
            "cyclegan", loss={"gan": 0, "cycle": 1, "cycle_detached": detached},
        )  # fmt: skip
        source, target = run.patches.draw(0)
        run.step(0, 0.0)
        return [p.grad.clone() for p in run.networks["inverse"].parameters()], source, target

    (one, *_), (other, *_) = gradient(True), gradient(False)
    assert any(not torch.allclose(a, b) for a, b in zip(one, other, strict=True))


def test_a_critic_does_not_see_where_scenes_end(start_unpaired):
    """Pixels that are not valid on one side are blank on both."""
    run = start_unpaired("cyclegan", training__crop=48)
    seen = []
    run.networks["critic_target"].register_forward_pre_hook(
        lambda _, given: seen.append(given[0].detach())
    )
    source, target = run.patches.draw(0)
    run.step(0, 0.0)
    blank = (source.valid * target.valid == 0).expand(-1, 3, -1, -1)
    assert len(seen) == 3
    assert blank.any()
    assert all((x[blank] == 0).all() for x in seen)


def test_a_critic_knows_where_what_it_judges_lies(start_unpaired):
    """Of a made patch that is where its source was; colours change, latitudes do not."""
    changes = {"task": {"coordinates": ["latitude"]}, "augment": {"critic": ["color"]}}
    run = start_unpaired("cyclegan", changes=changes)
    seen = []
    for domain in ("target", "source"):
        run.networks[f"critic_{domain}"].register_forward_pre_hook(
            lambda _, given: seen.append(given[0])
        )
    source, target = run.patches.draw(0)
    run.step(0, 0.0)
    valid = source.valid * target.valid
    real_target, fake_target, _, real_source, fake_source, _ = (x[:, -1:] for x in seen)
    assert not torch.equal(source.coordinates * valid, target.coordinates * valid)
    assert torch.equal(real_target, target.coordinates * valid)
    assert torch.equal(fake_target, source.coordinates * valid)
    assert torch.equal(real_source, source.coordinates * valid)
    assert torch.equal(fake_source, target.coordinates * valid)


@pytest.mark.parametrize("name", ["cycle", "gan"])
def test_a_loss_that_is_no_number_is_named(start_unpaired, monkeypatch, name):
    run = start_unpaired("cyclegan", training__steps=6)
    calls = itertools.count()
    function = {"cycle": "masked_l1", "gan": "adversarial_loss"}[name]
    real = getattr(cyclegan, function)

    def broken(*args, **options):
        return real(*args, **options) * (float("nan") if next(calls) >= 6 else 1)

    monkeypatch.setattr(cyclegan, function, broken)
    with pytest.raises(TrainingError, match=f"loss '{name}' is nan at step 4; the last good check"):
        run.run()
    assert read_state(run)["step"] == 2


def test_another_configuration_is_refused(start_unpaired):
    start_unpaired("cyclegan", training__steps=2).run()
    with pytest.raises(ConfigError, match=r"with loss\.cycle = 10\.0, this run has 5\.0"):
        start_unpaired("cyclegan", loss={"cycle": 5}).run()
    with pytest.raises(
        ConfigError, match=r"training\.method = cyclegan, this run has pix2pix|loss"
    ):
        start_unpaired("pix2pix", loss={"l1": 1}, cache={"paired": True}).run()


def test_half_precision_trains_whole_weights(start_unpaired):
    run = start_unpaired("cyclegan", training__precision="bf16-mixed", training__steps=2)
    run.run()
    for net in run.networks.values():
        assert all(p.dtype == torch.float32 for p in net.parameters())


def test_the_bundle_translates_as_the_run_did_and_carries_the_way_back(start_unpaired, tmp_path):
    run = start_unpaired(
        "cyclegan", changes={"generator": RESIDUAL}, task={"inverse": True}, training__steps=2
    )
    result = run.run()
    manifest = run.cache.manifest
    path = export_bundle(
        tmp_path / "toy.safetensors", run.config, manifest,
        TrainedGenerator(result["weights"], run.generator_args, run.halo, run.align),
        scores=result["scores"], inverse=TrainedGenerator(result["inverse"], run.inverse_args),
    )  # fmt: skip
    bundle = open_bundle(path)
    assert bundle.parts == ("generator", "inverse")
    assert bundle.spec.inverse.args["carry"] == [[1, 0], [2, 1]]
    state = bundle.state("inverse")
    net = run.averages["inverse"].net
    net.load_state_dict(result["inverse"])
    for key, value in state.items():
        torch.testing.assert_close(value, net.state_dict()[key], rtol=1e-3, atol=1e-4)
    net = run.averages["generator"].net
    net.load_state_dict(result["weights"])
    patches = ResidentPatches(run.cache, "val", run.config, device=torch.device("cpu"))
    held_out = HeldOut(patches, run.config, manifest, align=run.align, halo=run.halo)
    for i, picture in enumerate(held_out.outputs(net).images):
        batch = patches.read_patch(i, border=run.halo, align=run.align)
        seen = ((batch.source[0] + 1) * 127.5).round().byte().numpy()
        window = Window(-batch.margin, -batch.margin, seen.shape[2], seen.shape[1])
        product = Translator(bundle, device="cpu", precision="float32")(
            seen, window=window, anchor=(0, 0)
        )
        cut = slice(batch.margin, batch.margin + 48)
        difference = np.abs(product[:, cut, cut].astype(int) - picture)
        assert difference.max() <= 1
