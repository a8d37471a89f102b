"""One run over an archive: which scene is next, who gets it, and what is written down of it."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Collection
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from geotrans.archive.catalogue import write_model
from geotrans.archive.inputs import Entry
from geotrans.archive.journal import Journal
from geotrans.archive.location import Location, product_name, sidecar_names
from geotrans.archive.scene_task import SceneResult, SceneTask, Setup
from geotrans.archive.workers import resolve_settings, serve_scenes
from geotrans.errors import OutputError, option, spell
from geotrans.execution.cluster import Cluster
from geotrans.execution.local import local_cluster
from geotrans.runtime.memory import resident_bytes
from geotrans.runtime.process import n_cores
from geotrans.runtime.progress import Progress, show_nothing

_log = logging.getLogger(__name__)

# How often to look what those with whom work is shared have done, s.
_POLL_S = 1.0

# What workers of a cluster are told lies in a file of this name and the number of the run.
_WORK_FILE = ".errand-"


class Scheduler:
    """The scenes of one run on their way through a crew.

    Args:
        journal: Where it is written down.
        setup: What all scenes have in common.
        place: Where products go.
        entries: The scenes.
        names: What was there at the start.
        max_retries: How often a scene is tried again.
        overwrite: Whether what is not of our making is replaced.
    """

    def __init__(
        self,
        journal: Journal,
        setup: Setup,
        place: Location,
        entries: Collection[Entry],
        *,
        names: Collection[str],
        max_retries: int,
        overwrite: bool,
    ) -> None:
        self._journal, self._setup, self._place = journal, setup, place
        self._folder, self._names = place.folder.absolute(), names
        self._entries = {entry.key: entry for entry in entries}
        self._max_retries, self._overwrite = max_retries, overwrite
        self._pending: deque[str] = deque()
        self._advance: Callable[[int], None] = lambda done: None
        self._free()

    def waiting(self) -> list[str]:
        """Keys of the scenes that nobody has begun, in the order given."""
        rows = self._journal.read_rows()
        return [key for key in self._entries if rows[key].state == "waiting"]

    def is_unfinished(self) -> bool:
        """Whether a scene waits, or is being translated where work is shared."""
        counts = self._journal.count_states(self._entries)
        return counts["waiting"] > 0 or counts["running"] > 0

    def finish(
        self, workers: int, cluster: Cluster | None, memory: int | None, progress: Progress | None
    ) -> None:
        """Work until every scene is done or has failed, here or where work is shared."""
        progress = progress or show_nothing
        self._pending.extend(self.waiting())
        if self._place.target is not None:
            with self._journal.transaction():
                write_model(self._place, self._setup.bundle)
            if told := self._place.trouble():
                raise OutputError(f"{told}; choose another {option('out')}")
        with ExitStack() as stack:
            n_workers, threads = min(workers, len(self._pending)), None
            if cluster is None and n_workers > 1:
                cluster = stack.enter_context(
                    local_cluster(n_workers, imports=["geotrans.inference"])
                )
                threads = max(1, n_cores() // n_workers)
            self._advance = stack.enter_context(progress("scenes", len(self._pending)))
            setup = self._settled(replace(self._setup, threads=threads), cluster, memory)
            name = f"{_WORK_FILE}{self._journal.run}"
            work = stack.enter_context(
                serve_scenes(setup, cluster, folder=self._folder, name=name, sample=self._sample())
            )
            while True:
                work(self._take, self._done)
                if not self.is_unfinished():
                    return
                time.sleep(_POLL_S)
                self._free()
                self._pending.extend(self.waiting())

    def _settled(self, setup: Setup, cluster: Cluster | None, memory: int | None) -> Setup:
        """The setup with a process's share of memory, and the precision of the first run."""
        if memory is not None and cluster is not None:
            memory = max(1, (memory - resident_bytes()) // len(cluster.workers))
        precision = setup.pixels.precision
        if precision == "auto":
            precision = self._journal.read_terms().get("runs in", precision)
        pixels = replace(setup.pixels, precision=precision)
        run = replace(setup.run, memory=memory, workers=1, cluster=None)
        setup = resolve_settings(replace(setup, pixels=pixels, run=run), cluster)
        if precision == "auto" and setup.pixels.precision != "auto":
            # Which is faster is found by a clock: asked again, it might say the other.
            self._journal.store_term("runs in", setup.pixels.precision)
        return setup

    def _sample(self) -> str | None:
        """A file on this machine that is to be translated, if there is one."""
        files = (self._entries[key].uri for key in self._pending if not self._entries[key].item)
        return next((file for file in files if Path(file).is_file()), None)

    def _free(self) -> None:
        """Take back what runs that have died had begun, and say so to workers they may have."""
        alive = self._journal.release_dead_runs()
        for errand in self._folder.glob(f"{_WORK_FILE}*"):
            number = errand.name.removeprefix(_WORK_FILE).partition("-")[0]
            if number.isdigit() and int(number) not in alive:
                errand.unlink(missing_ok=True)

    def _take(self) -> SceneTask | None:
        """The next scene, written down as begun."""
        while self._pending:
            key = self._pending.popleft()
            row = self._journal.claim(key)
            if row is None:
                continue
            is_ours = bool(row.ours) or self._overwrite
            product = product_name(row.name, self._setup.bundle.spec.name)
            if not is_ours and (there := self._others(product)):
                told = (
                    f"{there} exists and is not of this job; move it away or give "
                    f"{option('overwrite', True)}"
                )
                self._journal.record(key, "failed", ours=0, kind="OutputError", reason=told)
                self._advance(1)
                continue
            return SceneTask(self._entries[key], self._folder / product, tries=row.tries + 1)
        return None

    def _others(self, product: str) -> str | None:
        """What is where a product would be, or something that belongs to it."""
        for name in sidecar_names(product):
            if name in self._names:
                return f"{self._place}/{name}"
            if (self._folder / name).exists():
                return str(self._folder / name)
        return None

    def _done(self, order: SceneTask, outcome: SceneResult) -> None:
        """Write down what became of a scene; try it again if that may help."""
        key = order.entry.key
        for note in outcome.notes:
            _log.warning("%s", note)
        if outcome.kind == "OutputError" and (told := self._place.trouble(outcome.reason)):
            self._journal.record(key, "waiting")
            raise OutputError(f"{told}; make room or rights, and the same command goes on")
        if outcome.state == "failed" and not outcome.is_final and order.tries <= self._max_retries:
            _log.info("%s: %s; it is tried again", order.entry.name, spell(outcome.reason or ""))
            self._journal.record(key, "waiting", witness=outcome.witness)
            self._pending.append(key)
            return
        self._journal.record(
            key, outcome.state, witness=outcome.witness, kind=outcome.kind,
            reason=outcome.reason, n_px=outcome.n_px, n_bytes=outcome.n_bytes,
            facts=outcome.facts,
        )  # fmt: skip
        _log.info("%s: %s", order.entry.name, spell(outcome.reason or "done"))
        self._advance(1)
