"""Runs whose generator adds to a linear fit."""

import csv

import numpy as np
import pytest
import torch

from geotrans.errors import ConfigError
from geotrans.grid import Window
from geotrans.inference import Translator
from geotrans.models import Residual
from geotrans.tasks import open_bundle
from geotrans.tasks.card import render_card
from geotrans.training.export import TrainedGenerator, export_bundle
from tests.helpers.runs import assert_same, killed_at, read_state

BODY = {
    "arch": "unet",
    "args": {"depth": 2, "width": 6, "max_width": 8, "head_width": 6, "norm": "none"},
}
CARRY = {
    "task": {"noise": [1]},
    "generator": {"arch": "residual", "args": {"body": BODY, "carry": ["red"]}},
    "loss": {"gan": 1, "l1": 10},
    "augment": {"jitter": {"gamma": 0.2, "band": 0.1, "both": True}},
    "training": {"steps": 8, "evaluate_every": 4, "select": "psnr:max", "lr_generator": 1e-3},
}


def test_the_fit_alone_is_scored_before_the_first_step_and_goes_into_the_bundle(start, tmp_path):
    run = start("run", CARRY)
    net = run.averages["generator"].net
    assert isinstance(net, Residual)
    best = run.run()
    with (run.out / "scores.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["step"] for row in rows] == ["0", "4", "8"]
    assert float(rows[0]["psnr"]) == pytest.approx(best["fit"]["psnr"], rel=1e-5)
    path = export_bundle(
        tmp_path / "toy.safetensors",
        run.config,
        run.cache.manifest,
        TrainedGenerator(best["weights"], run.generator_args, run.halo, run.align),
        scores=best["scores"],
        fit=best["fit"],
    )
    bundle = open_bundle(path)
    score = bundle.spec.metrics["psnr"]
    assert score.baselines == {"linear fit": round(best["fit"]["psnr"], 4)}
    assert bundle.spec.metrics["chroma"].better == "lower"
    assert "body unet" in render_card(bundle)

    data = np.random.default_rng(0).integers(0, 256, (3, 64, 64)).astype(np.uint8)
    made = Translator(bundle, device="cpu")(data, window=Window(0, 0, 64, 64), anchor=(0, 0))
    assert np.array_equal(made[0], data[0])
    assert not np.array_equal(made[1:], data[1:])


def test_killed_and_resumed_equals_unbroken(start):
    unbroken, killed = start("unbroken", CARRY), start("killed", CARRY)
    best = unbroken.run()
    killed_at(killed, 6)
    resumed = start("killed", CARRY)
    again = resumed.run()
    assert_same(read_state(resumed), read_state(unbroken))
    assert again["fit"] == best["fit"]
    assert torch.equal(again["weights"]["weight"], best["weights"]["weight"])


def test_other_networks_have_no_fit(start):
    best = start().run()
    assert best["fit"] == {}


def test_a_band_that_is_not_there_is_told_before_training(start):
    args = {"body": BODY, "carry": ["rad"]}
    with pytest.raises(ConfigError, match=r"target band 'rad'; did you mean 'red'\?"):
        start("run", CARRY, generator__args=args)
