"""Calls in daemon threads, which keep no process from ending."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, wait

# How often Ctrl-C is handled while waiting, s.
_POLL_S = 0.2


def run_in_thread[T](function: Callable[[], T], *, name: str = "call") -> Future[T]:
    """Call a function, which may never return, in a daemon thread.

    Args:
        function: What to call.
        name: Name of the thread.
    """
    future: Future[T] = Future()

    def call() -> None:
        try:
            future.set_result(function())
        except BaseException as error:  # Raised in the thread that waits.
            future.set_exception(error)

    threading.Thread(target=call, name=name, daemon=True).start()
    return future


def wait_interruptibly[T](future: Future[T]) -> T:
    """Wait for the result of a call; Ctrl-C ends the waiting."""
    while wait([future], _POLL_S).not_done:
        pass
    return future.result()
