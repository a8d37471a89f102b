"""What `pytest` alone leaves to `.ci/run`: cases of a parameter, and examples of a property."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

import pytest
from hypothesis import settings


def slow(*values: Any, **more: Any) -> Any:
    """A case of a parametrized test that is marked slow."""
    return pytest.param(*values, marks=pytest.mark.slow, **more)


def quick(names: Collection[Any], among: Iterable[Any]) -> list[Any]:
    """Cases, values or tuples of them, of which those of these names are quick, the others slow."""
    cases = list(among)
    assert set(names) <= set(cases), "no such case"
    return [
        case if case in names else slow(*(case if isinstance(case, tuple) else (case,)))
        for case in cases
    ]


def examples(n: int) -> settings:
    """So many examples of a property whose examples cost much; fewer where `pytest` is alone."""
    share = settings.default.max_examples / 100
    return settings(max_examples=max(min(n, 5), round(n * share)))
