"""Jobs over small scenes that come out as they went in."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from geotrans.mosaicking import Job
from geotrans.pipeline import plan_job
from geotrans.scene import open_scene
from geotrans.tasks import open_bundle
from tests.helpers.bundles import identity_bundle


@pytest.fixture
def make_job(make_scene: Callable[..., Path], tmp_path: Path) -> Callable[..., Job]:
    """`make_job(tile=16, ...)`: a job of the identity task over a coded scene."""

    def make(*, tile: int = 16, halo: int = 3, seed: int = 0, **scene: Any) -> Job:
        bundle = identity_bundle(
            tmp_path / "same.safetensors", dtype=scene.get("dtype", "uint8"), halo=halo, align=2
        )
        source = open_scene(make_scene(**scene))
        return plan_job(source, open_bundle(bundle), tile=tile, seed=seed)

    return make
