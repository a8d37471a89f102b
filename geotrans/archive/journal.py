"""The journal of an archive: one SQLite file beside the products, written around every scene.

A scene is waiting, running, done or failed. What a run that died left running is waiting again for
the next one; what is done is never computed twice.
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

# A run on another machine that has not been heard of for so long is over, s.
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


@dataclass(frozen=True)
class Row:
    """What the journal knows of a scene; see the schema."""

    key: str
    name: str
    state: State = "waiting"
    ours: bool = False
    tries: int = 0
    run: int | None = None
    began: float | None = None
    ended: float | None = None
    witness: str | None = None
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
    seen: float
    ended: float | None

    @property
    def is_alive(self) -> bool:
        """Whether it still works, as far as can be seen from here."""
        if self.ended is not None:
            return False
        if self.host != platform.node():
            return time.time() - self.seen < _SILENCE_S
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
        read_only: Only look; the journal must be there.

    Raises:
        OutputError: If it is not there, is no journal, or cannot be written.
    """

    def __init__(self, folder: Path, *, read_only: bool = False) -> None:
        self.folder, self.path = folder, folder / NAME
        self._run: int | None = None
        if read_only and not self.path.is_file():
            raise OutputError(f"{folder} has no {NAME}: geotrans batch has not written there")
        # A reader of a folder it may not write to must do without what a writer has not merged yet.
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

    def terms(self) -> dict[str, Any]:
        """What decides the pixels of all products, as it was settled by the first run."""
        rows = self._db.execute("SELECT name, value FROM term").fetchall()
        return {name: json.loads(value) for name, value in rows}

    def rows(self) -> dict[str, Row]:
        """Every scene by its key."""
        return {row.key: row for row in self._select()}

    def runs(self) -> list[RunRecord]:
        """Every run, oldest first."""
        return [RunRecord(*row) for row in self._db.execute("SELECT * FROM run ORDER BY id")]

    def counts(self, keys: Collection[str] | None = None) -> Counter[str]:
        """Scenes in each state, of all or of some."""
        rows = self._db.execute("SELECT key, state FROM scene")
        return Counter(state for key, state in rows if keys is None or key in keys)

    def begin(
        self,
        terms: Mapping[str, Any],
        entries: Sequence[Entry],
        *,
        again: Collection[str],
        join: bool,
        overwrite: bool,
    ) -> None:
        """Take up work: no other run does, or it is shared.

        Args:
            terms: What decides the pixels of all products.
            entries: The scenes of this run.
            again: Keys of those that are done or failed and must be done anew.
            join: Whether work is shared with a run that is at it.
            overwrite: Forget a journal of other terms, and do all scenes anew.

        Raises:
            OutputError: If another run holds the folder, or it has products of other terms.
        """
        with self.alone():
            holders = [run for run in self.runs() if run.is_alive]
            if holders and not join:
                raise OutputError(
                    f"{self.folder} is being worked on by {holders[0]}; wait for it, or share its "
                    f"work with {option('join', True)}"
                )
            self._settle(terms, overwrite=overwrite and not holders)
            if overwrite and not holders:
                again = [entry.key for entry in entries]
            now, me = time.time(), psutil.Process()
            self._run = self._db.execute(
                "INSERT INTO run (host, pid, born, started, seen) VALUES (?, ?, ?, ?, ?)",
                (platform.node(), me.pid, me.create_time(), now, now),
            ).lastrowid
            self._free([run.id for run in holders])
            self._add(entries)
            for key in again:
                self._db.execute(
                    "UPDATE scene SET state = 'waiting', tries = 0 WHERE key = ? AND state IN "
                    "('done', 'failed')", (key,),
                )  # fmt: skip

    def claim(self, key: str) -> Row | None:
        """Take a scene that waits, before it is begun; None if it does not.

        Returns:
            The scene as it was before.
        """
        with self.alone():
            row = next(self._select("key = ? AND state = 'waiting'", key), None)
            if row is not None:
                self._db.execute(
                    "UPDATE scene SET state = 'running', ours = 1, tries = tries + 1, run = ?, "
                    "began = ?, ended = NULL, kind = NULL, reason = NULL WHERE key = ?",
                    (self._run, time.time(), key),
                )  # fmt: skip
        return row

    def settle(self, key: str, state: State, **fields: Any) -> None:
        """Write down what became of a scene.

        Args:
            key: Which.
            state: Done, failed, or waiting to be tried again.
            fields: Further columns.
        """
        fields = {"state": state, "ended": time.time(), **fields}
        columns = ", ".join(f"{name} = ?" for name in fields)
        with self.alone():
            self._db.execute(
                f"UPDATE scene SET {columns} WHERE key = ? AND run = ?",
                (*fields.values(), key, self._run),
            )

    def remember(self, name: str, value: Any) -> None:
        """Keep something that was settled on the way, for later runs."""
        with self.alone():
            self._db.execute("REPLACE INTO term VALUES (?, ?)", (name, json.dumps(value)))

    def free(self) -> set[int]:
        """Take back what runs that have died had begun.

        Returns:
            Numbers of those that are alive.
        """
        with self.alone():
            alive = {run.id for run in self.runs() if run.is_alive}
            self._free(alive)
        return alive

    @contextmanager
    def alone(self) -> Iterator[None]:
        """One change, whole or not at all; other runs wait with theirs."""
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
    def alive(self) -> Iterator[None]:
        """Say every now and then that this run is alive, for those who cannot see its process."""
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
        """End this run: what it has not finished waits for the next."""
        if self._run is not None:
            with self.alone():
                self._db.execute("UPDATE run SET ended = ? WHERE id = ?", (time.time(), self._run))
                self._free([run.id for run in self.runs() if run.is_alive])
        self._run = None

    def close(self) -> None:
        """Let go of the file."""
        try:
            self.end()
        finally:
            self._db.close()

    def _select(self, where: str = "TRUE", *values: Any) -> Iterator[Row]:
        columns = ", ".join(asdict(Row("", "")))
        for row in self._db.execute(f"SELECT {columns} FROM scene WHERE {where}", values):
            yield Row(*row)

    def _settle(self, terms: Mapping[str, Any], *, overwrite: bool) -> None:
        found, asked = self.terms(), json.loads(json.dumps(terms))
        if found and found.get("target") != asked.get("target"):
            whose = found.get("target") or "the products beside it"
            raise OutputError(
                f"{self.path} is the journal of {whose}; for {asked.get('target') or 'others'} "
                f"choose another {option('out')}, or another directory to run in"
            )
        different = [name for name in asked if found and found.get(name) != asked[name]]
        if different and not overwrite:
            told = "; ".join(
                f"{name} {_shorten(found.get(name))}, now {_shorten(asked[name])}"
                for name in different
            )
            raise OutputError(
                f"{self.folder} holds the products of another job ({told}); choose another "
                f"{option('out')}, or do all of it anew with {option('overwrite', True)}"
            )
        if different:
            self._db.execute("DELETE FROM scene")
        self._db.executemany("REPLACE INTO term VALUES (?, ?)", _encode_terms(asked))

    def _free(self, alive: Collection[int]) -> None:
        """What runs that are over left running waits again."""
        for row in list(self._select("state = 'running'")):
            if row.run not in alive:
                self._db.execute("UPDATE scene SET state = 'waiting' WHERE key = ?", (row.key,))

    def _add(self, entries: Sequence[Entry]) -> None:
        known = {key for (key,) in self._db.execute("SELECT key FROM scene")}
        new = [entry for entry in entries if entry.key not in known]
        wanted = Counter(entry.name.casefold() for entry in new)
        taken = {name.casefold() for (name,) in self._db.execute("SELECT name FROM scene")}
        for entry in new:
            folded = entry.name.casefold()
            alone = wanted[folded] == 1 and folded not in taken
            name = entry.name if alone else f"{entry.name}-{_hash_key(entry.key)}"
            self._db.execute("INSERT INTO scene (key, name) VALUES (?, ?)", (entry.key, name))


def _hash_key(key: str) -> str:
    """What tells two scenes of one name apart, the same in every run."""
    return hashlib.sha256(key.encode()).hexdigest()[:8]


def _encode_terms(terms: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [(name, json.dumps(value)) for name, value in terms.items()]


def _shorten(value: Any) -> str:
    text = "unset" if value is None else str(value)
    return text if len(text) <= 48 else f"{text[:20]}…"
