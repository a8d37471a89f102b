"""How work tells how far it is."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

# `progress("translating", n_px)` gives a context; its value is called with each number of px done.
Progress = Callable[[str, int], AbstractContextManager[Callable[[int], None]]]
