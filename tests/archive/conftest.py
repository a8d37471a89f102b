"""An archive of small scenes, and a task that changes nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.helpers.bundles import identity_bundle
from tests.helpers.scenes import write_scene


@pytest.fixture(scope="session")
def same_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return identity_bundle(tmp_path_factory.mktemp("bundle") / "same.safetensors")


@pytest.fixture
def scenes(tmp_path: Path) -> Any:
    """`scenes(n)` writes `n` scenes into one folder and says which."""
    folder = tmp_path / "scenes"
    folder.mkdir()

    def write(n: int, **options: Any) -> list[Path]:
        return [
            write_scene(folder / f"scene{i}.tif", **{"shape": (24 + i, 32), **options})
            for i in range(n)
        ]

    return write
