"""A small task and its bundle."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from geotrans.models import build, receptive_halo
from geotrans.tasks import BandSpec, GeneratorSpec, TaskSpec, save_bundle

RGB = tuple(BandSpec(name=name, common_name=name) for name in ("red", "green", "blue"))
ARGS = {"depth": 2, "width": 8, "max_width": 16, "head_width": 4}


@pytest.fixture(scope="session")
def small_net() -> torch.nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return build("unet", 3, 3, **ARGS)


@pytest.fixture(scope="session")
def small_spec(small_net: torch.nn.Module) -> TaskSpec:
    return TaskSpec(
        name="small",
        title="A small task for tests",
        source=RGB,
        target=RGB,
        gsd_m=(0.5, 1.0),
        generator=GeneratorSpec(arch="unet", args=ARGS),
        halo=receptive_halo(small_net, 3),
        align=4,
        licence="CC0-1.0",
    )


@pytest.fixture
def make_bundle(
    tmp_path: Path, small_spec: TaskSpec, small_net: torch.nn.Module
) -> Callable[..., Path]:
    """Write the small bundle, with fields of its task changed."""

    def make(file: str = "small.safetensors", /, **changes: Any) -> Path:
        spec = small_spec.model_copy(update=changes)
        return save_bundle(tmp_path / file, spec, small_net.state_dict())

    return make
