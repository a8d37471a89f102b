"""Handing out cells of a plan, a few at a time: to threads, or to the workers of a cluster."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Protocol, Self

if TYPE_CHECKING:
    from geotrans.mosaicking.cluster import Cluster

Cell = tuple[int, ...]

# How long to wait for a result before looking whether there is still anybody to give one, s.
_PATIENCE_S = 2.0


class Work[Item, Result](Protocol):
    """What is done with each item, a cell of a plan say. It is pickled; its results are small."""

    @property
    def name(self) -> str:
        """What a dashboard shows."""

    @property
    def folder(self) -> Path:
        """Where results are written; every worker must see it. It exists."""

    @property
    def at_once(self) -> int:
        """Items one process works on at a time, as memory was planned."""

    def settled(self, n_threads: int, *, claim: Path) -> Self:
        """The same in a worker that may use so many threads; wanted while `claim` is there."""

    def check(self) -> None:
        """Raise what would go wrong here with every item, before the first one."""

    def __call__(self, item: Item, /) -> Result:
        """Do it."""


def run_cells[Result](
    work: Work[Cell, Result],
    cells: Collection[Cell],
    *,
    cluster: Cluster | None = None,
    done: Callable[[Result], None],
) -> None:
    """Work on cells until all are done.

    Args:
        work: What to do with each.
        cells: Places in a plan.
        cluster: Whose workers do it; threads of this process unless given.
        done: Called in this thread with each result as it comes.
    """
    if not cells:
        return
    if cluster is not None:
        cluster.run(work, cells, done=done)
        return
    # Leaving the pool waits for cells that are on their way: a run that ends early keeps them.
    with ThreadPoolExecutor(work.at_once, "tile") as pool:
        hand_out(
            lambda cell: pool.submit(work, cell),
            partial(next, iter(cells), None),
            room=lambda: work.at_once + 1,
            done=lambda cell, future: done(future.result()),
        )


def hand_out[Item](
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
                future = finished.get(timeout=_PATIENCE_S)
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


def n_cores() -> int:
    """Cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
