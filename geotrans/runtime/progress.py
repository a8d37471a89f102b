"""Progress of work, and durations as text."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

# `progress("translating", n)` returns a context manager; its value is called with the number of px,
# places, scenes or patches done since the last call.
Progress = Callable[[str, int], AbstractContextManager[Callable[[int], None]]]


def show_nothing(label: str, total: int) -> AbstractContextManager[Callable[[int], None]]:
    """The `Progress` that shows nothing."""
    return nullcontext(lambda done: None)


def format_duration(seconds: float) -> str:
    """A duration as text, such as `2 h 5 min` or `1 min 3 s`; whole seconds, rounded up."""
    minutes, seconds = divmod(math.ceil(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {seconds} s" if minutes else f"{seconds} s"
