"""The journal of an archive: one SQLite file beside the products, written around every scene.

A scene is waiting, running, done or failed. Scenes that a dead run left running are waiting again
for the next one; what is done is never computed twice.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import psutil

from geotrans.archive.inputs import Entry
from geotrans.errors import OutputError, option

NAME = "journal.sqlite"

State = Literal["waiting", "running", "done", "failed"]

# A run on another machine without a heartbeat for so long is over, s.
_SILENCE_S = 120.0
_HEARTBEAT_S = 20.0

_SCHEMA = """
CREATE TABLE IF NOT EXISTS term (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS run (
    id INTEGER PRIMARY KEY, host TEXT NOT NULL, pid INTEGER NOT NULL, born REAL NOT NULL,
    started REAL NOT NULL, seen REAL NOT NULL, ended REAL
);
CREATE TABLE IF NOT EXISTS scene (
    key TEXT PRIMARY KEY,        -- where it was opened from
    name TEXT NOT NULL UNIQUE COLLATE NOCASE,  -- its product's file, without suffix
    state TEXT NOT NULL DEFAULT 'waiting',
    ours INTEGER NOT NULL DEFAULT 0,   -- whether a product of that name is of our making
    tries INTEGER NOT NULL DEFAULT 0,
    run INTEGER,                 -- which run has or had it
    began REAL, ended REAL,
    witness TEXT,                -- JSON: each of its files, and what tells when it changes
    kind TEXT, reason TEXT,      -- class of the error, and what it says
    n_px INTEGER, n_bytes INTEGER,
    facts TEXT                   -- JSON: bbox and time, for the collection
);
"""

# Columns whose name is not that of their field.
_COLUMNS = {"is_ours": "ours", "fingerprint": "witness"}


@dataclass(frozen=True)
class Row:
    """A scene in the journal; see the schema."""

    key: str
    name: str
    state: State = "waiting"
    is_ours: bool = False
    tries: int = 0
    run: int | None = None
    began: float | None = None
    ended: float | None = None
    fingerprint: str | None = None
    kind: str | None = None
    reason: str | None = None
    n_px: int | None = None
    n_bytes: int | None = None
    facts: str | None = None


@dataclass(frozen=True)
class RunRecord:
    """A process that works or worked on an archive; times in s since 1970."""

    id: int
    host: str
    pid: int
    born: float
    started: float
    last_seen: float
    ended: float | None

    @property
    def is_alive(self) -> bool:
        """Whether it still runs, by its process or, on another machine, by its heartbeat."""
        if self.ended is not None:
            return False
        if self.host != platform.node():
            return time.time() - self.last_seen < _SILENCE_S
        try:
            process = psutil.Process(self.pid)
            is_same = abs(process.create_time() - self.born) < 1
            return is_same and process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False

    def __str__(self) -> str:
        since = time.strftime("%Y-%m-%d %H:%M", time.localtime(self.started))
        return f"process {self.pid} on {self.host}, since {since}"


class Journal:
    """The journal of a folder of products. Used by one thread.

    Args:
        folder: Where the products are.
        read_only: Whether only to read; the journal must exist.

    Raises:
        OutputError: If it is not there, is no journal, or cannot be written.
    """

    def __init__(self, folder: Path, *, read_only: bool = False) -> None:
        self.folder, self.path = folder, folder / NAME
        self._run: int | None = None
        if read_only and not self.path.is_file():
            raise OutputError(f"{folder} has no {NAME}: geotrans batch has not written there")
        # Without permission to write, what a writer has not merged yet cannot be read.
        mode = "rw" if os.access(folder, os.W_OK) else "ro&immutable=1"
        mode = mode if read_only else "rwc"
        try:
            self._db = sqlite3.connect(
                f"{self.path.absolute().as_uri()}?mode={mode}", uri=True, timeout=60.0,
                isolation_level=None,
            )  # fmt: skip
            if not read_only:
                self._db.execute("PRAGMA journal_mode=WAL")
                self._db.execute("PRAGMA synchronous=NORMAL")
                self._db.executescript(_SCHEMA)
            self._db.execute("SELECT count(*) FROM scene").fetchone()
        except sqlite3.Error as error:
            raise OutputError(f"{self.path} cannot be used as a journal: {error}") from error

    @property
    def run(self) -> int | None:
        """Number of the run that writes here; None before it begins."""
        return self._run

    def read_terms(self) -> dict[str, Any]:
        """Read what determines the pixels of all products, as the first run recorded it."""
        rows = self._db.execute("SELECT name, value FROM term").fetchall()
        return {name: json.loads(value) for name, value in rows}

    def read_rows(self) -> dict[str, Row]:
        """Read every scene, by its key."""
        return {row.key: row for row in self._select()}

    def read_runs(self) -> list[RunRecord]:
        """Read every run, oldest first."""
        return [RunRecord(*row) for row in self._db.execute("SELECT * FROM run ORDER BY id")]

    def count_states(self, keys: Collection[str] | None = None) -> Counter[str]:
        """Count the scenes in each state, of all or of some."""
        rows = self._db.execute("SELECT key, state FROM scene")
        return Counter(state for key, state in rows if keys is None or key in keys)

    def begin(
        self,
        terms: Mapping[str, Any],
        entries: Sequence[Entry],
        *,
        stale: Collection[str],
        join: bool,
        overwrite: bool,
    ) -> None:
        """Begin a run; no other one may be active unless work is shared.

        Args:
            terms: What determines the pixels of all products.
            entries: The scenes of this run.
            stale: Keys of those that are done or failed and must be done again.
            join: Whether to share work with a run that is active.
            overwrite: Whether to discard a journal of other terms, and do all scenes again.

        Raises:
            OutputError: If another run holds the folder, or it has products of other terms.
        """
        with self.transaction():
            active = [run for run in self.read_runs() if run.is_alive]
            if active and not join:
                raise OutputError(
                    f"{self.folder} is being worked on by {active[0]}; wait for it, or share its "
                    f"work with {option('join', True)}"
                )
            self._store_terms(terms, overwrite=overwrite and not active)
            if overwrite and not active:
                stale = [entry.key for entry in entries]
            now, process = time.time(), psutil.Process()
            self._run = self._db.execute(
                "INSERT INTO run (host, pid, born, started, seen) VALUES (?, ?, ?, ?, ?)",
                (platform.node(), process.pid, process.create_time(), now, now),
            ).lastrowid
            self._requeue_except([run.id for run in active])
            self._add_scenes(entries)
            for key in stale:
                self._db.execute(
                    "UPDATE scene SET state = 'waiting', tries = 0 WHERE key = ? AND state IN "
                    "('done', 'failed')", (key,),
                )  # fmt: skip

    def claim(self, key: str) -> Row | None:
        """Mark a waiting scene as running; None if it is not waiting.

        Returns:
            The scene before that.
        """
        with self.transaction():
            row = next(self._select("key = ? AND state = 'waiting'", key), None)
            if row is not None:
                self._db.execute(
                    "UPDATE scene SET state = 'running', ours = 1, tries = tries + 1, run = ?, "
                    "began = ?, ended = NULL, kind = NULL, reason = NULL WHERE key = ?",
                    (self._run, time.time(), key),
                )  # fmt: skip
        return row

    def record(self, key: str, state: State, **fields: Any) -> None:
        """Record the result of a scene.

        Args:
            key: The scene.
            state: Done, failed, or waiting for another try.
            fields: Further fields of its row.
        """
        fields = {"state": state, "ended": time.time(), **fields}
        columns = ", ".join(f"{_COLUMNS.get(name, name)} = ?" for name in fields)
        with self.transaction():
            self._db.execute(
                f"UPDATE scene SET {columns} WHERE key = ? AND run = ?",
                (*fields.values(), key, self._run),
            )

    def store_term(self, name: str, value: Any) -> None:
        """Record a choice for later runs."""
        with self.transaction():
            self._db.execute("REPLACE INTO term VALUES (?, ?)", (name, json.dumps(value)))

    def release_dead_runs(self) -> set[int]:
        """Have scenes of dead runs wait again.

        Returns:
            Numbers of the runs that are alive.
        """
        with self.transaction():
            alive = {run.id for run in self.read_runs() if run.is_alive}
            self._requeue_except(alive)
        return alive

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Make one atomic change; other runs wait with theirs."""
        try:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            raise OutputError(f"{self.path} cannot be written: {error}") from error

    @contextmanager
    def heartbeat(self) -> Iterator[None]:
        """Record regularly that this run is alive; other machines cannot see its process."""
        done = threading.Event()

        def beat() -> None:
            while not done.wait(_HEARTBEAT_S):
                with suppress(sqlite3.Error), closing(sqlite3.connect(self.path)) as db, db:
                    db.execute("UPDATE run SET seen = ? WHERE id = ?", (time.time(), self._run))

        thread = threading.Thread(target=beat, name="journal", daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()

    def end(self) -> None:
        """End this run; its unfinished scenes wait for the next one."""
        if self._run is not None:
            with self.transaction():
                self._db.execute("UPDATE run SET ended = ? WHERE id = ?", (time.time(), self._run))
                self._requeue_except([run.id for run in self.read_runs() if run.is_alive])
        self._run = None

    def close(self) -> None:
        """Close the file."""
        try:
            self.end()
        finally:
            self._db.close()

    def _select(self, where: str = "TRUE", *values: Any) -> Iterator[Row]:
        columns = ", ".join(_COLUMNS.get(name, name) for name in asdict(Row("", "")))
        for row in self._db.execute(f"SELECT {columns} FROM scene WHERE {where}", values):
            yield Row(*row)

    def _store_terms(self, terms: Mapping[str, Any], *, overwrite: bool) -> None:
        old, new = self.read_terms(), json.loads(json.dumps(terms))
        if old and old.get("target") != new.get("target"):
            owner = old.get("target") or "the products beside it"
            raise OutputError(
                f"{self.path} is the journal of {owner}; for {new.get('target') or 'others'} "
                f"choose another {option('out')}, or another directory to run in"
            )
        different = [name for name in new if old and old.get(name) != new[name]]
        if different and not overwrite:
            differences = "; ".join(
                f"{name} {_shorten(old.get(name))}, now {_shorten(new[name])}" for name in different
            )
            raise OutputError(
                f"{self.folder} holds the products of another job ({differences}); choose another "
                f"{option('out')}, or do all of it anew with {option('overwrite', True)}"
            )
        if different:
            self._db.execute("DELETE FROM scene")
        self._db.executemany("REPLACE INTO term VALUES (?, ?)", _encode_terms(new))

    def _requeue_except(self, alive: Collection[int]) -> None:
        """Have scenes that other runs than these left running wait again."""
        for row in list(self._select("state = 'running'")):
            if row.run not in alive:
                self._db.execute("UPDATE scene SET state = 'waiting' WHERE key = ?", (row.key,))

    def _add_scenes(self, entries: Sequence[Entry]) -> None:
        known = {key for (key,) in self._db.execute("SELECT key FROM scene")}
        added = [entry for entry in entries if entry.key not in known]
        n_same = Counter(entry.name.casefold() for entry in added)
        taken = {name.casefold() for (name,) in self._db.execute("SELECT name FROM scene")}
        for entry in added:
            folded = entry.name.casefold()
            is_unique = n_same[folded] == 1 and folded not in taken
            name = entry.name if is_unique else f"{entry.name}-{_hash_key(entry.key)}"
            self._db.execute("INSERT INTO scene (key, name) VALUES (?, ?)", (entry.key, name))


def _hash_key(key: str) -> str:
    """A suffix that distinguishes scenes of the same name, the same in every run."""
    return hashlib.sha256(key.encode()).hexdigest()[:8]


def _encode_terms(terms: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [(name, json.dumps(value)) for name, value in terms.items()]


def _shorten(value: Any) -> str:
    text = "unset" if value is None else str(value)
    return text if len(text) <= 48 else f"{text[:20]}…"
