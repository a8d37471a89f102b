"""Training runs: what they leave, and how they die."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
import torch

from geotrans.sampling.cache import PatchCache
from geotrans.training.config import TrainConfig
from geotrans.training.loop import CHECKPOINT, Loop
from geotrans.training.run import open_method


class TrainingRun:
    """A method and the loop it runs in; whatever else is asked for is the method's."""

    def __init__(
        self, config: TrainConfig, cache: PatchCache, out: Path, *, quiet: bool = False
    ) -> None:
        self.out, self.loop = out, Loop(config, cache, out, quiet=quiet)
        self.method = open_method(config, cache, self.loop.fabric)

    def run(self, *, resume: bool = True) -> dict[str, Any]:
        return self.loop.run(self.method, resume=resume)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.method, name)

    def __setattr__(self, name: str, value: Any) -> None:
        # What a test puts into the place of a step must be what the loop calls.
        is_own = "method" not in self.__dict__ or name in self.__dict__
        object.__setattr__(self if is_own else self.method, name, value)


def read_losses(run: Any) -> list[dict[str, str]]:
    """Rows of the losses of a run."""
    with (run.out / "losses.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def read_state(run: Any) -> dict[str, Any]:
    """Checkpoint of a run."""
    return torch.load(run.out / CHECKPOINT, weights_only=True)


def _leaves(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[tuple[Any, ...], Any]]:
    """Every tensor and number of a state, by where it stands."""
    if isinstance(value, dict):
        return [leaf for key in value for leaf in _leaves(value[key], (*path, key))]
    if isinstance(value, list | tuple):
        return [leaf for i, item in enumerate(value) for leaf in _leaves(item, (*path, i))]
    return [(path, value)]


def assert_same(one: Any, other: Any) -> None:
    """Every tensor and number of two states is the same, but for the time it took."""
    for (path, a), (where, b) in zip(_leaves(one), _leaves(other), strict=True):
        assert path == where
        if path[-1] != "seconds":
            same = torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b
            assert same, path


class Killed(BaseException):
    """The end of a process, as far as a test can have it."""


def killed_at(run: Any, step: int) -> None:
    """A run that dies in a step as by `kill -9`: nothing is tidied up."""
    real = run.step

    def dying(number: int, share: float) -> Any:
        if number == step:
            raise Killed
        return real(number, share)

    run.step = dying
    with pytest.raises(Killed):
        run.run()
