"""What a process keeps between pieces of work, and how it lets go of all of it."""

from __future__ import annotations

from collections.abc import Callable

_clearers: list[Callable[[], object]] = []


def clears_cache[F: Callable[[], object]](function: F) -> F:
    """Register a function that empties a cache; a decorator."""
    _clearers.append(function)
    return function


def clear_caches() -> None:
    """Empty every cache of this process: networks, open files, work that came from a scheduler."""
    for clear in _clearers:
        clear()
