"""Work on the cells of a plan, a few at a time: in threads, or on the workers of a cluster."""

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
    on_done: Callable[[Result], None],
) -> None:
    """Work on cells until all are done.

    Args:
        work: What to do with each.
        cells: Rows and columns in a plan.
        cluster: Cluster whose workers do it; threads of this process unless given.
        on_done: Called in this thread with each result as it comes.
    """
    if not cells:
        return
    if cluster is not None:
        cluster.run(work, cells, on_done=on_done)
        return
    # Leaving the pool waits for running cells: a run that ends early keeps them.
    with ThreadPoolExecutor(work.concurrency, "tile") as pool:
        submit_items(
            lambda cell: pool.submit(work, cell),
            partial(next, iter(cells), None),
            capacity=lambda: work.concurrency + 1,
            on_done=lambda cell, future: on_done(future.result()),
        )
