"""Cells that go to a cluster together, so that scheduling costs little beside quick ones.

What Dask does for a task costs milliseconds, whatever the task is: much beside a tile without a
valid pixel or on a GPU. A task is therefore a turn: several cells, as long as that takes no time
to speak of. Cells that turn out slow come back and go elsewhere.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence

from geotrans.execution.work import Cell

# How long a turn takes, s, unless one cell takes longer: what a worker that dies may lose, and what
# the others may have to wait for at the end. And its cells at most.
_BATCH_S, _MAX_CELLS = 0.5, 16


class CellBatches:
    """Cells that wait, and how many of them make a turn.

    Args:
        cells: All of them.
    """

    def __init__(self, cells: Iterable[Cell]) -> None:
        self._waiting = deque(cells)
        self._n = 1

    def take(self) -> list[Cell] | None:
        """The cells of the next turn; None if there are none now."""
        n = min(self._n, len(self._waiting))
        return [self._waiting.popleft() for _ in range(n)] or None

    def finish(self, cells: Sequence[Cell], n_done: int, seconds: float) -> None:
        """Learn from a turn that is over; what it did not come to waits again.

        Args:
            cells: What was taken.
            n_done: How many of them are done, from the first.
            seconds: How long that took.
        """
        self._waiting.extendleft(reversed(cells[n_done:]))
        self._n = max(1, min(_MAX_CELLS, int(n_done * _BATCH_S / max(seconds, 1e-6))))


def run_batch[Result](
    work: Callable[[Cell], Result], cells: Iterable[Cell]
) -> tuple[list[Result], float]:
    """Work on the first cell, and on those after it while there is time.

    Returns:
        What `work` returned, and the time it took, s.
    """
    started, results = time.perf_counter(), []
    for cell in cells:
        results.append(work(cell))
        if time.perf_counter() - started >= _BATCH_S:
            break
    return results, time.perf_counter() - started
