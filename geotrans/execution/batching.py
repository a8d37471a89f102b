"""Batches of cells that go to a cluster as one task, so that scheduling costs little.

Dask's overhead is milliseconds a task: much beside a tile without a valid pixel or on a GPU. A task
is therefore a batch of cells, as long as it takes no more than a fraction of a second. Cells that a
slow batch did not reach are returned and go into later ones.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence

from geotrans.execution.work import Cell

# Longest time of a batch, s, unless one cell takes longer: what is lost with a worker, and what
# the others may wait for at the end. And the most cells of a batch.
_BATCH_S, _MAX_CELLS = 0.5, 16


class CellBatches:
    """Pending cells, and how many of them make a batch.

    Args:
        cells: All of them.
    """

    def __init__(self, cells: Iterable[Cell]) -> None:
        self._pending = deque(cells)
        self._batch_size = 1

    def take(self) -> list[Cell] | None:
        """Remove the next batch; None if no cell is pending now."""
        size = min(self._batch_size, len(self._pending))
        return [self._pending.popleft() for _ in range(size)] or None

    def finish(self, cells: Sequence[Cell], n_done: int, seconds: float) -> None:
        """Adapt the size of batches to one that is over, and put back what it did not reach.

        Args:
            cells: The batch.
            n_done: How many of its cells are done, from the first.
            seconds: Time they took, s.
        """
        self._pending.extendleft(reversed(cells[n_done:]))
        size = int(n_done * _BATCH_S / max(seconds, 1e-6))
        self._batch_size = max(1, min(_MAX_CELLS, size))


def run_batch[Result](
    work: Callable[[Cell], Result], cells: Iterable[Cell]
) -> tuple[list[Result], float]:
    """Work on the first cell, and on those after it while there is time.

    Returns:
        What `work` returned, and the time it took, s.
    """
    start, results = time.perf_counter(), []
    for cell in cells:
        results.append(work(cell))
        if time.perf_counter() - start >= _BATCH_S:
            break
    return results, time.perf_counter() - start
