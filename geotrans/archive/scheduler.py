"""One run over an archive: the order of its scenes, their retries, their records."""

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

# How often to check what the runs with which work is shared have done, s.
_POLL_S = 1.0

# The work of a cluster lies in a file whose name begins with this and the number of the run.
_WORK_FILE = ".errand-"


class Scheduler:
    """The scenes of one run, and their translation by its workers.

    Args:
        journal: Records their states.
        setup: Settings of all scenes.
        location: Where products go.
        entries: The scenes.
        names: Names of what was there at the start.
        max_retries: How often a scene is tried again.
        overwrite: Whether files of others are replaced.
    """

    def __init__(
        self,
        journal: Journal,
        setup: Setup,
        location: Location,
        entries: Collection[Entry],
        *,
        names: Collection[str],
        max_retries: int,
        overwrite: bool,
    ) -> None:
        self._journal, self._setup, self._location = journal, setup, location
        self._folder, self._names = location.folder.absolute(), names
        self._entries = {entry.key: entry for entry in entries}
        self._max_retries, self._overwrite = max_retries, overwrite
        self._pending: deque[str] = deque()
        self._report_progress: Callable[[int], None] = lambda done: None
        self._release_dead_runs()

    def list_waiting(self) -> list[str]:
        """Keys of the waiting scenes, in the order given."""
        rows = self._journal.read_rows()
        return [key for key in self._entries if rows[key].state == "waiting"]

    def is_unfinished(self) -> bool:
        """Whether a scene waits, or is running in a run that shares the work."""
        counts = self._journal.count_states(self._entries)
        return counts["waiting"] > 0 or counts["running"] > 0

    def run(
        self, workers: int, cluster: Cluster | None, memory: int | None, progress: Progress | None
    ) -> None:
        """Work until every scene is done or has failed, here or in a run that shares the work."""
        progress = progress or show_nothing
        self._pending.extend(self.list_waiting())
        if self._location.target is not None:
            with self._journal.transaction():
                write_model(self._location, self._setup.bundle)
            if problem := self._location.find_problem():
                raise OutputError(f"{problem}; choose another {option('out')}")
        with ExitStack() as stack:
            n_workers, threads = min(workers, len(self._pending)), None
            if cluster is None and n_workers > 1:
                cluster = stack.enter_context(
                    local_cluster(n_workers, imports=["geotrans.inference"])
                )
                threads = max(1, n_cores() // n_workers)
            self._report_progress = stack.enter_context(progress("scenes", len(self._pending)))
            setup = self._resolve_setup(replace(self._setup, threads=threads), cluster, memory)
            name = f"{_WORK_FILE}{self._journal.run}"
            translate_all = stack.enter_context(
                serve_scenes(
                    setup, cluster, folder=self._folder, name=name, sample=self._find_sample()
                )
            )
            while True:
                translate_all(self._claim_next, self._record)
                if not self.is_unfinished():
                    return
                time.sleep(_POLL_S)
                self._release_dead_runs()
                self._pending.extend(self.list_waiting())

    def _resolve_setup(self, setup: Setup, cluster: Cluster | None, memory: int | None) -> Setup:
        """Give the setup one process's share of memory, and the precision of the first run."""
        if memory is not None and cluster is not None:
            memory = max(1, (memory - resident_bytes()) // len(cluster.workers))
        precision = setup.pixels.precision
        if precision == "auto":
            precision = self._journal.read_terms().get("runs in", precision)
        pixels = replace(setup.pixels, precision=precision)
        run = replace(setup.run, memory=memory, workers=1, cluster=None)
        setup = resolve_settings(replace(setup, pixels=pixels, run=run), cluster)
        if precision == "auto" and setup.pixels.precision != "auto":
            # Which is faster is measured: a later run might measure otherwise.
            self._journal.store_term("runs in", setup.pixels.precision)
        return setup

    def _find_sample(self) -> str | None:
        """Find a file of this machine among the pending scenes, if there is one."""
        files = (self._entries[key].uri for key in self._pending if not self._entries[key].item)
        return next((file for file in files if Path(file).is_file()), None)

    def _release_dead_runs(self) -> None:
        """Have scenes of dead runs wait again, and withdraw the claims of their workers."""
        alive = self._journal.release_dead_runs()
        for path in self._folder.glob(f"{_WORK_FILE}*"):
            number = path.name.removeprefix(_WORK_FILE).partition("-")[0]
            if number.isdigit() and int(number) not in alive:
                path.unlink(missing_ok=True)

    def _claim_next(self) -> SceneTask | None:
        """Claim the next scene in the journal."""
        while self._pending:
            key = self._pending.popleft()
            row = self._journal.claim(key)
            if row is None:
                continue
            is_ours = bool(row.is_ours) or self._overwrite
            product = product_name(row.name, self._setup.bundle.spec.name)
            if not is_ours and (foreign := self._find_foreign(product)):
                reason = (
                    f"{foreign} exists and is not of this job; move it away or give "
                    f"{option('overwrite', True)}"
                )
                self._journal.record(
                    key, "failed", is_ours=False, kind="OutputError", reason=reason
                )
                self._report_progress(1)
                continue
            return SceneTask(self._entries[key], self._folder / product, tries=row.tries + 1)
        return None

    def _find_foreign(self, product: str) -> str | None:
        """Find a file in the place of a product or of one of its sidecar files."""
        for name in sidecar_names(product):
            if name in self._names:
                return f"{self._location}/{name}"
            if (self._folder / name).exists():
                return str(self._folder / name)
        return None

    def _record(self, task: SceneTask, result: SceneResult) -> None:
        """Record the result of a scene; have it tried again if that may succeed."""
        key = task.entry.key
        for note in result.notes:
            _log.warning("%s", note)
        if result.kind == "OutputError" and (problem := self._location.find_problem(result.reason)):
            self._journal.record(key, "waiting")
            raise OutputError(f"{problem}; make room or rights, and the same command goes on")
        if result.state == "failed" and not result.is_final and task.tries <= self._max_retries:
            _log.info("%s: %s; it is tried again", task.entry.name, spell(result.reason or ""))
            self._journal.record(key, "waiting", fingerprint=result.fingerprint)
            self._pending.append(key)
            return
        self._journal.record(
            key, result.state, fingerprint=result.fingerprint, kind=result.kind,
            reason=result.reason, n_px=result.n_px, n_bytes=result.n_bytes,
            facts=result.facts,
        )  # fmt: skip
        _log.info("%s: %s", task.entry.name, spell(result.reason or "done"))
        self._report_progress(1)
