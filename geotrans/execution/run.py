"""Handing out cells of a plan, a few at a time: to threads, or to the workers of a cluster."""

from __future__ import annotations

from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

from geotrans.execution.work import Cell, Work, submit_items

if TYPE_CHECKING:
    from geotrans.execution.cluster import Cluster


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
    with ThreadPoolExecutor(work.concurrency, "tile") as pool:
        submit_items(
            lambda cell: pool.submit(work, cell),
            partial(next, iter(cells), None),
            room=lambda: work.concurrency + 1,
            done=lambda cell, future: done(future.result()),
        )
