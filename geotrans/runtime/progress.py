"""How work tells how far it is, and how long it takes."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

# `progress("translating", n)` gives a context; its value is called with each number of what is
# counted that is done: px, places, scenes, patches.
Progress = Callable[[str, int], AbstractContextManager[Callable[[int], None]]]


def show_nothing(label: str, total: int) -> AbstractContextManager[Callable[[int], None]]:
    """The `Progress` of work that nobody watches."""
    return nullcontext(lambda done: None)


def format_duration(seconds: float) -> str:
    """A time for people, such as `2 h 5 min` or `1 min 3 s`; whole seconds, rounded up."""
    minutes, rest = divmod(math.ceil(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
