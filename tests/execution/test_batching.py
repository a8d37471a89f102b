"""Cells that go to a cluster together: none twice, none forgotten, and no slow ones."""

from __future__ import annotations

from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geotrans.execution import batching as module
from geotrans.execution.batching import CellBatches, run_batch
from geotrans.execution.work import Cell

SLOW_S = 2.0


class _Clock:
    """Time that passes while cells are worked on."""

    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> _Clock:
    found = _Clock()
    monkeypatch.setattr(module, "time", found)
    return found


@given(
    costs=st.lists(st.sampled_from([0.0, 1e-4, 0.05, 0.3, SLOW_S]), max_size=60),
    n_workers=st.integers(1, 5),
)
def test_every_cell_is_worked_on_once(clock: _Clock, costs: list[float], n_workers: int) -> None:
    cells: list[Cell] = [(i // 7, i % 7) for i in range(len(costs))]
    cost, worked = dict(zip(cells, costs, strict=True)), []

    def work(cell: Cell) -> Cell:
        clock.now += cost[cell]
        worked.append(cell)
        return cell

    turns, running, firsts = CellBatches(cells), deque[list[Cell]](), []
    while True:
        while len(running) < n_workers and (some := turns.take()) is not None:
            firsts.append(some[0])
            running.append(some)
        if not running:
            break
        some = running.popleft()
        results, seconds = run_batch(work, some)
        assert results == some[: len(results)]
        assert seconds - cost[results[-1]] < 0.5, "a turn is short, or ends with its slow cell"
        turns.finish(some, len(results), seconds)
    assert sorted(worked) == cells
    assert len(set(firsts)) == len(firsts), "a task is named by its first cell"


def test_quick_cells_share_turns_and_slow_ones_have_their_own() -> None:
    turns = CellBatches((0, i) for i in range(100))
    assert turns.take() == [(0, 0)], "nothing is known of the first"
    turns.finish([(0, 0)], 1, seconds=0.05)
    some = turns.take() or []
    assert len(some) == 10
    turns.finish(some, 3, seconds=6.0)
    assert turns.take() == [some[3]], "the next in line, alone"
    turns.finish([some[3]], 1, seconds=0.0)
    assert len(turns.take() or []) == 16
