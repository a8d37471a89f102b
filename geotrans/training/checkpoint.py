"""Checkpoints: everything a run needs to resume exactly."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError

from geotrans.errors import BundleError, ConfigError, OutputError
from geotrans.runtime.files import write_atomically
from geotrans.training.config import TrainConfig, resolve_config

# Settings a run may be continued under with another value: how long it lasts, where it runs, how
# it is watched, and what its bundle says in words.
_FREE = {
    "data.cache",
    "data.root",
    "task.data",
    "task.licence",
    "task.limits",
    "task.place",
    "task.title",
    "training.accelerator",
    "training.devices",
    "training.evaluate_every",
    "training.max_minutes",
    "training.precision",
    "training.steps",
}


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint atomically."""
    try:
        with write_atomically(path) as part, part.open("wb") as file:
            torch.save(state, file)
    except (OSError, RuntimeError) as error:  # torch raises RuntimeError on a full disk
        raise OutputError(f"cannot write checkpoint {path}: {error}") from error


def load_checkpoint(path: Path, *, config: dict[str, Any]) -> dict[str, Any]:
    """Read a checkpoint of the same configuration; executes no code from the file.

    Raises:
        BundleError: If the file is damaged or no checkpoint.
        ConfigError: If it belongs to another configuration; names the first difference.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, ValueError, EOFError, pickle.UnpicklingError, KeyError) as error:
        raise BundleError(
            f"checkpoint {path} is damaged ({type(error).__name__}); "
            "delete it to start anew, or give another output folder"
        ) from error
    if not isinstance(state, dict) or "config" not in state:
        raise BundleError(f"{path} is no checkpoint of geotrans; give another output folder")
    differences = _list_differences(_complete_config(state["config"]), config)
    if differences:
        key, old, new = differences[0]
        raise ConfigError(
            f"checkpoint {path} was written with {key} = {old}, this run has {new}; "
            "use the same configuration or another output folder"
        )
    return state


def _complete_config(config: dict[str, Any]) -> dict[str, Any]:
    """The configuration of a checkpoint; what an older version did not know has its default."""
    try:
        return resolve_config(TrainConfig.model_validate(config))
    except ValidationError:
        return config


def _list_differences(old: Any, new: Any, key: str = "") -> list[tuple[str, Any, Any]]:
    if isinstance(old, dict) and isinstance(new, dict):
        differences = []
        for name in sorted({*old, *new}):
            path = f"{key}.{name}" if key else name
            if path in _FREE:
                continue
            differences += _list_differences(old.get(name), new.get(name), path)
        return differences
    return [] if old == new else [(key, old, new)]
