import itertools
import logging

import numpy as np
import pytest

from geotrans.errors import ConfigError, TrainingError
from geotrans.training import loop, pix2pix
from geotrans.training.loop import set_rates
from tests.helpers.runs import read_losses, read_state
from tests.helpers.thorough import slow


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
    assert read_state(longer)["step"] == 4


def test_another_configuration_is_refused_and_nothing_is_lost(start):
    first = start()
    first.run()
    before = {p.name: p.read_bytes() for p in first.out.iterdir() if p.is_file()}
    with pytest.raises(ConfigError, match=r"with loss\.l1 = 10\.0, this run has 3\.0"):
        start(loss__l1=3).run()
    assert {p.name: p.read_bytes() for p in first.out.iterdir() if p.is_file()} == before


def test_rates_fall_linearly_to_nothing(start):
    run = start(training__lr_critic=1e-3)
    rates = []
    for share in (0.0, 0.5, 0.75, 1.0):
        set_rates(run.rates, share, decay_from=0.5)
        optimizers = run.optimizers.values()
        rates.append([o.param_groups[0]["lr"] for o in optimizers])
    expected = [[2e-4 * f, 1e-3 * f] for f in (1, 1, 0.5, 0)]
    np.testing.assert_allclose(rates, expected)


def test_minutes_stop_a_run(start, monkeypatch):
    ticks = itertools.count(step=3)
    monkeypatch.setattr(loop.time, "monotonic", lambda: float(next(ticks)))
    run = start(
        training__steps=1_000_000, training__max_minutes=1, training__evaluate_every=100_000
    )
    result = run.run()
    assert result["seconds"] >= 60
    assert 10 <= result["steps"] <= 20
    assert read_state(run)["step"] == result["steps"]


@pytest.mark.parametrize(("every", "step"), [(2, 3), slow(3, 3)])
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
    state = read_state(run)
    assert state["step"] == every
    assert all(value.isfinite().all() for value in state["networks"]["generator"].values())


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
    assert read_state(run)["step"] == 1


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


@pytest.mark.parametrize(
    ("select", "best"), [("l1:min", 3), slow("l1:max", 1), slow("contrast:max", 2)]
)
def test_the_best_held_out_weights_are_kept(start, monkeypatch, select, best):
    scores = iter(
        [{"l1": 5.0, "contrast": 1}, {"l1": 3.0, "contrast": 9}, {"l1": 2.0, "contrast": 9}]
    )
    monkeypatch.setattr(loop.HeldOut, "scores", lambda self, outputs: next(scores))
    run = start(training__steps=3, training__evaluate_every=1, training__select=select)
    assert run.run()["step"] == best


def test_sheets_and_curves_are_written_while_it_runs(start):
    run = start()
    run.run()
    assert sorted(p.name for p in (run.out / "sheets").iterdir()) == [
        "step_0000002.png",
        "step_0000004.png",
    ]
    assert [row["step"] for row in read_losses(run)] == ["2", "4"]


def test_going_on_is_logged(start, caplog):
    start(training__steps=2).run()
    with caplog.at_level(logging.INFO, logger="geotrans"):
        start(training__steps=4).run()
    assert "going on from step 2" in caplog.text
