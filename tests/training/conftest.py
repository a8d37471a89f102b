"""A small cache for the whole session: nobody writes to it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from geotrans.sampling.cache import PatchCache
from tests.helpers.patches import toy_cache


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
