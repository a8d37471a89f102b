"""Calls in threads of their own, which keep no process from ending."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, wait

# How often a call that works without looking up lets Ctrl-C be heard, s.
_POLL_S = 0.2


def run_in_thread[T](function: Callable[[], T], *, name: str = "aside") -> Future[T]:
    """Call something, which may never return, while this thread goes on.

    Args:
        function: What to call.
        name: Of the thread.
    """
    called: Future[T] = Future()

    def call() -> None:
        try:
            called.set_result(function())
        except BaseException as error:  # It is raised in the thread that waits.
            called.set_exception(error)

    threading.Thread(target=call, name=name, daemon=True).start()
    return called


def wait_interruptibly[T](called: Future[T]) -> T:
    """What a call returns; Ctrl-C ends the waiting."""
    while wait([called], _POLL_S).not_done:
        pass
    return called.result()
