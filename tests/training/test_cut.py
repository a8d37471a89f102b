import itertools

import pytest
import torch

from geotrans.errors import ConfigError, TrainingError
from geotrans.training import cut, loop
from tests.helpers.runs import assert_same, killed_at, read_losses, read_state
from tests.helpers.thorough import slow

FULL = {
    "task": {"noise": [1, 8], "coordinates": ["latitude"]},
    "critic": {"scales": 2},
    "loss": {"gan": 1, "gan_kind": "hinge", "nce": 1, "nce_identity": 1, "known": 2},
    "contrast": {"patches": 16, "width": 8, "levels": [0, 2]},
    "augment": {"critic": ["color", "translation", "cutout"], "jitter": {"gamma": 0.2}},
    "training": {
        "steps": 8,
        "evaluate_every": 4,
        "freeze_norm_from": 0.75,
        "decay_from": 0.25,
        "pool": 5,
    },
}
REFERENCE = {"depth": 2, "width": 4}


@pytest.mark.parametrize("step", [6, slow(7)])
def test_killed_and_resumed_equals_unbroken(start_unpaired, monkeypatch, step):
    monkeypatch.setattr(loop, "LOG_EVERY", 1)
    unbroken, killed = (start_unpaired("cut", name, FULL) for name in ("unbroken", "killed"))
    best = unbroken.run()
    killed_at(killed, step)
    state = read_state(killed)
    assert state["step"] == 4
    assert len(state["pools"]["target"]) == 5
    resumed = start_unpaired("cut", "killed", FULL)
    again = resumed.run()
    assert_same(read_state(resumed), read_state(unbroken))
    assert read_losses(resumed) == read_losses(unbroken)
    assert_same(again["weights"], best["weights"])


def test_every_loss_has_its_name(start_unpaired):
    full = start_unpaired("cut", changes=FULL)
    assert set(full.step(0, 0.0)) == {"critic", "gan", "nce", "nce_identity", "known"}
    usual = start_unpaired("cut", "usual")
    assert usual.weights == {"gan": 1.0, "nce": 1.0, "nce_identity": 1.0}


def test_generator_projections_and_critic_learn(start_unpaired):
    run = start_unpaired("cut")
    before = {n: [p.detach().clone() for p in net.parameters()] for n, net in run.networks.items()}
    run.step(0, 0.0)
    for name, net in run.networks.items():
        moved = [not torch.equal(a, b) for a, b in zip(before[name], net.parameters(), strict=True)]
        assert all(moved), name


@pytest.mark.parametrize("arch", ["unet", slow("resnet"), slow("liteunet"), slow("residual")])
def test_outputs_come_to_be_recognised(start_unpaired, arch):
    body = {"arch": "unet", "args": {"depth": 2, "width": 8, "head_width": 8}}
    args = {
        "unet": body["args"],
        "resnet": {"blocks": 2, "width": 4},
        "liteunet": {"stages": 2, "width": 8},
        "residual": {"body": body, "carry": ["red"], "blind": ["nir"]},
    }[arch]
    run = start_unpaired(
        "cut",
        changes={"generator": {"arch": arch, "args": args}},
        loss={"gan": 0, "nce": 1, "nce_identity": 0},
        contrast={"patches": 32, "levels": [1, 2]},
        training__lr_generator=5e-3,
    )
    drawn = run.patches.draw(0)
    run.patches.draw = lambda step, rank=0: drawn
    first = float(run.step(0, 0.0)["nce"])
    for step in range(1, 60):
        last = float(run.step(step, 0.0)["nce"])
    assert last < 0.7 * first


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"cache": {"source": ("nir", "red"), "target": ("blue",)}},
            "source has 2 bands, the target 1; set training.method to cyclegan",
        ),
        (
            {"generator": {"arch": "unet_reference", "args": REFERENCE}},
            "unet_reference has no encoder",
        ),
        ({"contrast": {"levels": [7]}}, "asks for level 7; the encoder has levels 0 to 2"),
        ({"training__crop": 30}, "crop is 30 px; the generator needs a multiple of 4"),
    ],
)
def test_what_cannot_be_trained_is_told(start_unpaired, options, message):
    with pytest.raises(ConfigError, match=message):
        start_unpaired("cut", **options)


def test_a_loss_that_is_no_number_is_named(start_unpaired, monkeypatch):
    run = start_unpaired("cut", training__steps=6)
    calls = itertools.count()
    real = cut.contrast_loss

    def broken(*args, **options):
        return real(*args, **options) * (float("nan") if next(calls) >= 6 else 1)

    monkeypatch.setattr(cut, "contrast_loss", broken)
    with pytest.raises(TrainingError, match="loss 'nce' is nan at step 4; the last good check"):
        run.run()
    assert read_state(run)["step"] == 2


def test_half_precision_trains_whole_weights(start_unpaired):
    run = start_unpaired("cut", training__precision="bf16-mixed", training__steps=2)
    run.run()
    for net in run.networks.values():
        assert all(p.dtype == torch.float32 for p in net.parameters())


def test_a_run_without_any_pair(start_unpaired):
    run = start_unpaired(
        "cut", cache={"paired": False}, training__select="contrast:max", training__steps=2
    )
    assert "contrast" in run.run()["scores"]
