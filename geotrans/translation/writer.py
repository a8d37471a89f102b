"""A scene and a task as one piece of work per tile, each reading its own window.

A piece has no inputs but the job, and what it leaves behind is a part on disk and a receipt. The
same as chunks of an array is in `lazy.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from geotrans.grid import Tile
from geotrans.parts.writer import Writer
from geotrans.scene import Patch
from geotrans.translation.budget import tiles_in_flight
from geotrans.translation.job import Job, translate_tile
from geotrans.translation.translators import get_translator


@dataclass(frozen=True)
class TileWriter(Writer):
    """Translates the tiles of a job and writes them."""

    job: Job

    @property
    def name(self) -> str:
        """Task and scene."""
        return f"{self.job.spec.name} {self.job.scene.name}"

    @property
    def concurrency(self) -> int:
        """Tiles read, computed or written at a time in one process."""
        return tiles_in_flight(self.job.device, self.job.precision)

    @property
    def network_s(self) -> float:
        """Time the network has worked in this process, s."""
        return get_translator(self.job.settings).network_s

    def for_worker(self, n_threads: int, *, claim: Path) -> Self:
        """The same in a worker that may use so many threads; wanted while `claim` is there."""
        threads = n_threads if self.job.threads is None else self.job.threads
        job = replace(self.job, threads=threads)
        return replace(super().for_worker(n_threads, claim=claim), job=job)

    def check(self) -> None:
        """See that scene and bundle are here, and load the bundle."""
        super().check()
        get_translator(self.job.settings)

    def make(self, tile: Tile) -> Patch | None:
        """Translate a tile."""
        return translate_tile(self.job, tile)
