"""Cells of a plan written as parts on disk: the work of threads and workers."""

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
    """Report on a tile whose part is written.

    Attributes:
        row: Row of its cell in the plan.
        col: Column of its cell in the plan.
        n_px: Pixels of the product it covers.
        process: Host and number of the process that wrote it.
        network_s: Time the network of that process has run so far, s.
    """

    row: int
    col: int
    n_px: int
    process: str
    network_s: float


@dataclass(frozen=True)
class Writer(ABC):
    """Computes the tiles of a product and writes them: the `Work` of a run.

    Attributes:
        job: The product, a `RasterJob`.
        parts: Folder they are written to.
    """

    job: Any
    parts: Parts

    @property
    @abstractmethod
    def concurrency(self) -> int:
        """Tiles read, computed or written at a time in one process."""

    @abstractmethod
    def make(self, tile: Tile) -> Patch | None:
        """Compute the core of a tile as the product stores it; None if nothing in it is valid."""

    @property
    def name(self) -> str:
        """What a dashboard shows."""
        return str(self.job.scene.name)

    @property
    def folder(self) -> Path:
        """Folder of the parts."""
        return self.parts.folder

    @property
    def network_s(self) -> float:
        """Time a network has run in this process, s."""
        return 0.0

    def for_worker(self, n_threads: int, *, claim: Path) -> Self:
        """A copy for a worker of so many threads; its results are wanted while `claim` exists."""
        return replace(self, parts=Parts(claim.parent, claim=claim))

    def check(self) -> None:
        """Check that this process sees the same scene as the one that began the run."""
        self.job.scene.verify()

    def __call__(self, cell: Cell) -> Receipt:
        """Compute a tile and write it."""
        row, col = cell
        tile = self.job.plan.tile(row, col)
        self.parts.write(self.job, tile, self.make(tile))
        core = self.job.product_window(tile)
        return Receipt(
            row,
            col,
            n_px=core.height * core.width,
            process=f"{socket.gethostname()} {os.getpid()}",
            network_s=self.network_s,
        )
