"""Cells of a plan as parts on disk: what threads and workers are given to do."""

from __future__ import annotations

import os
import socket
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from geotrans.execution.work import Cell
from geotrans.grid import Tile
from geotrans.parts.parts import Parts
from geotrans.scene import Patch


@dataclass(frozen=True)
class Receipt:
    """What is left of a tile once its part is written.

    Attributes:
        row: Row of its cell in the plan.
        col: Column of its cell in the plan.
        n_px: Pixels of the product it covers.
        process: Machine and number of the process that made it.
        network_s: Time the network of that process had worked by then, s.
    """

    row: int
    col: int
    n_px: int
    process: str
    network_s: float


@dataclass(frozen=True)
class Writer(ABC):
    """Makes the tiles of a canvas and writes them: the `Work` of a run.

    Attributes:
        canvas: What they are tiles of, a `Canvas`.
        parts: Where they are written.
    """

    canvas: Any
    parts: Parts

    @property
    @abstractmethod
    def concurrency(self) -> int:
        """Tiles read, made or written at a time in one process."""

    @abstractmethod
    def make(self, tile: Tile) -> Patch | None:
        """The core of a tile as the product stores it; None if nothing in it is valid."""

    @property
    def name(self) -> str:
        """What a dashboard shows."""
        return str(self.canvas.scene.name)

    @property
    def folder(self) -> Path:
        """Where the parts are."""
        return self.parts.folder

    @property
    def network_s(self) -> float:
        """Time a network has worked in this process, s."""
        return 0.0

    def for_worker(self, n_threads: int, *, claim: Path) -> Self:
        """The same in a worker that may use so many threads; wanted while `claim` is there."""
        return replace(self, parts=Parts(claim.parent, claim=claim))

    def check(self) -> None:
        """See that the scene is here, the same as where the run began."""
        self.canvas.scene.verify()

    def __call__(self, cell: Cell) -> Receipt:
        """Make a tile and write it."""
        row, col = cell
        tile = self.canvas.plan.tile(row, col)
        self.parts.write(self.canvas, tile, self.make(tile))
        place = self.canvas.place(tile)
        return Receipt(
            row,
            col,
            n_px=place.height * place.width,
            process=f"{socket.gethostname()} {os.getpid()}",
            network_s=self.network_s,
        )
