"""Work that is done item by item, and its submission, a few items at a time."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Protocol, Self

Cell = tuple[int, ...]

# How long to wait for a result before checking that somebody still works on it, s.
_POLL_S = 2.0


class Work[Item, Result](Protocol):
    """A function of items, cells of a plan say. It is pickled; its results are small."""

    @property
    def name(self) -> str:
        """What a dashboard shows."""

    @property
    def folder(self) -> Path:
        """Where results are written; every worker must see it. It exists."""

    @property
    def concurrency(self) -> int:
        """Items one process works on at a time, as memory was planned."""

    def for_worker(self, n_threads: int, *, claim: Path) -> Self:
        """A copy for a worker of so many threads; its results are wanted while `claim` exists."""

    def check(self) -> None:
        """Raise what would go wrong here with every item, before the first one."""

    def __call__(self, item: Item, /) -> Result:
        """Do it."""


def submit_items[Item](
    submit: Callable[[Item], Any],
    take: Callable[[], Item | None],
    *,
    capacity: Callable[[], int],
    on_done: Callable[[Item, Any], None],
    cancel: Callable[[Collection[Any]], None] | None = None,
    cancel_stranded: Callable[[Collection[Any]], Collection[Any]] = lambda futures: (),
) -> None:
    """Submit items until there are no more and none is running, of which there are never many.

    Args:
        submit: Returns a future of an item.
        take: Returns the next item, or None if there is none now.
        capacity: Returns how many may be running now.
        on_done: Called in this thread with each item and its future.
        cancel: Cancels the futures that are still running when something goes wrong.
        cancel_stranded: Cancels and returns those of some futures that nobody will finish; their
            items are submitted again.
    """
    finished: SimpleQueue[Any] = SimpleQueue()
    running: dict[Any, Item] = {}

    def start(item: Item) -> None:
        running[future := submit(item)] = item
        future.add_done_callback(finished.put)

    try:
        while True:
            n_free = capacity() - len(running)
            while n_free > 0 and (item := take()) is not None:
                start(item)
                n_free -= 1
            if not running:
                return
            try:
                future = finished.get(timeout=_POLL_S)
            except Empty:
                for future in cancel_stranded(running):
                    start(running.pop(future))
                continue
            if future in running:  # Else it was stranded, and its item submitted again.
                on_done(running.pop(future), future)
    finally:
        if cancel is not None:
            cancel(running)
        else:
            for future in running:
                future.cancel()
