"""Small caches for the whole session, to which nobody writes, and runs on them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from geotrans.sampling.cache import PatchCache
from tests.helpers.patches import toy_cache, toy_config, toy_domains
from tests.helpers.runs import TrainingRun


@pytest.fixture(scope="session")
def make_cache(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., PatchCache]:
    """`make_cache(drawn=..., margin=..., ...)` as `toy_cache`, each written once."""
    folder, made = tmp_path_factory.mktemp("caches"), dict[str, PatchCache]()

    def make(**options: object) -> PatchCache:
        key = repr(sorted(options.items()))
        if key not in made:
            made[key] = toy_cache(Path(folder) / str(len(made)), **options)
        return made[key]

    return make


@pytest.fixture
def start(make_cache: Callable[..., PatchCache], tmp_path: Path) -> Callable[..., Any]:
    """`start("name", changes, cache=..., **overrides)` is a run in a folder of its own."""

    def make(
        name: str = "run",
        changes: dict[str, Any] | None = None,
        *,
        cache: dict[str, Any] | None = None,
        **overrides: Any,
    ) -> TrainingRun:
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        config = toy_config(changes, **overrides)
        margin = {"margin": config.training.margin} if config.training.margin else {}
        return TrainingRun(config, make_cache(**(cache or margin)), folder)

    return make


@pytest.fixture(scope="session")
def make_domains(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., PatchCache]:
    """`make_domains(source=..., target=..., ...)` as `toy_domains`, each written once."""
    folder, made = tmp_path_factory.mktemp("domains"), dict[str, PatchCache]()

    def make(**options: object) -> PatchCache:
        key = repr(sorted(options.items()))
        if key not in made:
            made[key] = toy_domains(Path(folder) / str(len(made)), **options)
        return made[key]

    return make


@pytest.fixture
def start_unpaired(make_domains: Callable[..., PatchCache], tmp_path: Path) -> Callable[..., Any]:
    """`start_unpaired("cut", "name", changes, cache=..., **overrides)` is an unpaired run."""

    def make(
        method: str,
        name: str = "run",
        changes: dict[str, Any] | None = None,
        *,
        cache: dict[str, Any] | None = None,
        **overrides: Any,
    ) -> Any:
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        without = ["loss", *(["generator"] if "generator" in overrides else [])]
        config = toy_config(changes, without=without, training__method=method, **overrides)
        return TrainingRun(config, make_domains(**(cache or {})), folder, quiet=True)

    return make
