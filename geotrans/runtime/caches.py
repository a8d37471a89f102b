"""Registry of the caches of a process, by which all are emptied."""

from __future__ import annotations

from collections.abc import Callable

_clearers: list[Callable[[], object]] = []


def clears_cache[F: Callable[[], object]](function: F) -> F:
    """Register a function that empties a cache; a decorator."""
    _clearers.append(function)
    return function


def clear_caches() -> None:
    """Empty every cache of this process: networks, open files, work of a cluster."""
    for clear in _clearers:
        clear()
