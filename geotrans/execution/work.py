"""What is done cell by cell, and the handing out of it, a few at a time."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Protocol, Self

Cell = tuple[int, ...]


# How long to wait for a result before looking whether there is still anybody to give one, s.
_POLL_S = 2.0


class Work[Item, Result](Protocol):
    """What is done with each item, a cell of a plan say. It is pickled; its results are small."""

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
        """The same in a worker that may use so many threads; wanted while `claim` is there."""

    def check(self) -> None:
        """Raise what would go wrong here with every item, before the first one."""

    def __call__(self, item: Item, /) -> Result:
        """Do it."""


def submit_items[Item](
    submit: Callable[[Item], Any],
    take: Callable[[], Item | None],
    *,
    room: Callable[[], int],
    done: Callable[[Item, Any], None],
    cancel: Callable[[Collection[Any]], None] | None = None,
    stranded: Callable[[Collection[Any]], Collection[Any]] = lambda futures: (),
) -> None:
    """Work until there is nothing to take and nothing on its way, of which there is never much.

    Args:
        submit: Gives a future of an item.
        take: Gives the next item, or None if there is none now.
        room: How many may be on their way now.
        done: Called in this thread with each item and its future.
        cancel: Gives up futures that are still on their way when something goes wrong.
        stranded: Which of some futures nobody will finish; their items are submitted again.
    """
    finished: SimpleQueue[Any] = SimpleQueue()
    running: dict[Any, Item] = {}

    def begin(item: Item) -> None:
        running[future := submit(item)] = item
        future.add_done_callback(finished.put)

    try:
        while True:
            free = room() - len(running)
            while free > 0 and (item := take()) is not None:
                begin(item)
                free -= 1
            if not running:
                return
            try:
                future = finished.get(timeout=_POLL_S)
            except Empty:
                for future in stranded(running):
                    begin(running.pop(future))
                continue
            if future in running:  # Else it was stranded, and what it held was begun again.
                done(running.pop(future), future)
    finally:
        if cancel is not None:
            cancel(running)
        else:
            for future in running:
                future.cancel()
