"""Progress of an archive: counts, failures with reasons, throughput, time left."""

from __future__ import annotations

import os
import time
from collections.abc import Collection
from dataclasses import asdict, dataclass
from typing import Any

from geotrans.archive.journal import Journal, Row, RunRecord
from geotrans.archive.location import Location
from geotrans.errors import spell
from geotrans.runtime.progress import format_duration


@dataclass(frozen=True)
class Failure:
    """A scene that failed.

    Attributes:
        scene: Where it would be opened from.
        name: Name of its product without the task.
        kind: Class of the error.
        reason: What the error says.
        tries: How often it was tried.
    """

    scene: str
    name: str
    kind: str
    reason: str
    tries: int


@dataclass(frozen=True)
class Status:
    """How far an archive is.

    Attributes:
        out: Folder of the products, or the URL that theirs begin with.
        folder: Where the journal is; of products that are uploaded, tiles under way as well.
        task: The task.
        counts: Scenes by state: waiting, running, done, failed.
        failures: Those that failed.
        running: Scenes that are being translated.
        held_by: Processes that work on it.
        n_new: Scenes that the last run has done.
        n_px: Pixels of all products.
        n_bytes: Size of all products.
        px_per_s: Pixels the last run has made in a second; None if it has made none.
        seconds_left: Time until all are done at the last run's pace; None if it has none.
    """

    out: str
    folder: str
    task: str
    counts: dict[str, int]
    failures: tuple[Failure, ...]
    running: tuple[str, ...]
    held_by: tuple[str, ...]
    n_new: int
    n_px: int
    n_bytes: int
    px_per_s: float | None
    seconds_left: float | None

    @property
    def is_complete(self) -> bool:
        """Whether all scenes are done."""
        return self.counts["done"] == sum(self.counts.values())

    def to_dict(self) -> dict[str, Any]:
        """The same, for JSON."""
        return asdict(self)

    def __str__(self) -> str:
        """A line of counts, and one for each failure."""
        n = sum(self.counts.values())
        items = [f"{self.counts['done']} of {n} scenes done ({self.n_new} by the last run)"]
        others = ("running", "waiting", "failed")
        items += [f"{self.counts[state]} {state}" for state in others if self.counts[state]]
        if self.px_per_s is not None:
            items.append(f"{self.px_per_s / 1e6:.2f} Mpx/s")
        if self.seconds_left:
            items.append(f"about {format_duration(self.seconds_left)} left")
        lines = [f"{self.out}: {', '.join(items)}"]
        if self.folder != self.out:
            lines.append(f"journal {self.folder}")
        lines += [f"worked on by {holder}" for holder in self.held_by]
        width = max((len(f.name) for f in self.failures), default=0)
        lines += [f"failed  {f.name:<{width}}  {f.reason}" for f in self.failures]
        return "\n".join(lines)


def read_status(out: str | os.PathLike[str]) -> Status:
    """Read how far an archive is, also while a run is active.

    Args:
        out: The folder of its journal, or in the directory it was begun in the URL of its products.

    Raises:
        OutputError: If there is no journal.
    """
    journal = Journal(Location.parse(out).folder, read_only=True)
    try:
        return read_progress(journal)
    finally:
        journal.close()


def read_progress(journal: Journal, keys: Collection[str] | None = None) -> Status:
    """Progress of the scenes of a journal, or of some of them."""
    rows = [row for row in journal.read_rows().values() if keys is None or row.key in keys]
    runs, terms = journal.read_runs(), journal.read_terms()
    counts = {
        state: sum(row.state == state for row in rows)
        for state in ("waiting", "running", "done", "failed")
    }
    new = [row for row in rows if row.state == "done" and runs and row.run == runs[-1].id]
    seconds = _compute_worked_s(runs[-1], new) if new else 0.0
    n_left = counts["waiting"] + counts["running"]
    return Status(
        out=terms.get("target") or str(journal.folder),
        folder=str(journal.folder),
        task=terms.get("task", ""),
        counts=counts,
        failures=tuple(
            Failure(row.key, row.name, row.kind or "", spell(row.reason or ""), row.tries)
            for row in rows
            if row.state == "failed"
        ),
        running=tuple(row.key for row in rows if row.state == "running"),
        held_by=tuple(str(run) for run in runs if run.is_alive),
        n_new=len(new),
        n_px=sum(row.n_px or 0 for row in rows if row.state == "done"),
        n_bytes=sum(row.n_bytes or 0 for row in rows if row.state == "done"),
        px_per_s=sum(row.n_px or 0 for row in new) / seconds if seconds else None,
        seconds_left=n_left * seconds / len(new) if seconds else None,
    )


def _compute_worked_s(run: RunRecord, new: list[Row]) -> float:
    """Time a run has worked, s: from its start to now or, if it is over, to its last product."""
    if run.is_alive:
        return time.time() - run.started
    return max(row.ended or run.started for row in new) - run.started
