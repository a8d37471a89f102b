"""The journal: who has what, and what is left when somebody dies."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from geotrans.archive.inputs import Entry
from geotrans.archive.journal import NAME, Journal
from geotrans.errors import OutputError

TERMS = {"task": "same", "weights": "abc", "seed": 0}
ENTRIES = [Entry(f"/in/{name}.tif", name, f"/in/{name}.tif") for name in ("a", "b", "c")]


def _begin(folder: Path, entries: list[Entry] = ENTRIES, **options: object) -> Journal:
    journal = Journal(folder)
    words = {"stale": (), "join": False, "overwrite": False, **options}
    journal.begin(options.pop("terms", TERMS), entries, **{  # type: ignore[arg-type]
        k: v for k, v in words.items() if k != "terms"
    })  # fmt: skip
    return journal


def _died(folder: Path, key: str) -> None:
    """Another process claims a scene and is killed."""
    code = (
        "import os, sys\nfrom pathlib import Path\n"
        "from tests.archive.test_journal import _begin\n"
        "journal = _begin(Path(sys.argv[1]))\n"
        "assert journal.claim(sys.argv[2])\nos.kill(os.getpid(), 9)"
    )
    root = str(Path(__file__).parents[2])
    subprocess.run(
        [sys.executable, "-c", code, str(folder), key], env={**os.environ, "PYTHONPATH": root},
        check=False, timeout=60,
    )  # fmt: skip


def test_a_scene_is_claimed_once(tmp_path: Path) -> None:
    journal = _begin(tmp_path)
    row = journal.claim("/in/a.tif")
    assert row is not None
    assert not row.is_ours, "before this nothing of it was ours"
    assert journal.claim("/in/a.tif") is None
    journal.record("/in/a.tif", "done", n_px=12)
    assert journal.read_rows()["/in/a.tif"].n_px == 12
    assert journal.count_states() == {"done": 1, "waiting": 2}
    journal.close()
    assert [p.name for p in tmp_path.iterdir()] == [NAME]


def test_what_a_killed_run_had_begun_waits_for_the_next(tmp_path: Path) -> None:
    _died(tmp_path, "/in/b.tif")
    look = Journal(tmp_path, read_only=True)
    assert look.read_rows()["/in/b.tif"].state == "running"
    assert not look.read_runs()[0].is_alive
    look.close()
    journal = _begin(tmp_path)
    row = journal.claim("/in/b.tif")
    assert row is not None
    assert row.is_ours, "a product of that name may be half ours"
    journal.close()


def test_a_second_run_is_told_who_holds_the_folder(tmp_path: Path) -> None:
    first = _begin(tmp_path)
    with pytest.raises(OutputError, match=rf"worked on by process {os.getpid()} on .*join=True"):
        _begin(tmp_path)
    second = _begin(tmp_path, join=True)
    assert first.claim("/in/a.tif")
    assert second.claim("/in/a.tif") is None, "work is shared, never doubled"
    assert second.claim("/in/b.tif")
    first.close()
    second.release_dead_runs()
    assert second.claim("/in/a.tif"), "what the first left undone"
    second.close()


def test_another_job_is_refused_and_named(tmp_path: Path) -> None:
    journal = _begin(tmp_path)
    assert journal.claim("/in/a.tif")
    journal.record("/in/a.tif", "done")
    journal.close()
    other = {**TERMS, "seed": 7}
    with pytest.raises(OutputError, match=r"another job \(seed 0, now 7\)"):
        _begin(tmp_path, terms=other)
    journal = _begin(tmp_path, terms=other, overwrite=True)
    assert journal.count_states() == {"waiting": 3}
    assert journal.read_terms()["seed"] == 7
    journal.close()


def test_scenes_of_one_name_are_kept_apart_and_keep_their_names(tmp_path: Path) -> None:
    twins = [Entry(f"/{d}/x.tif", n, f"/{d}/x.tif") for d, n in (("a", "x"), ("b", "X"))]
    journal = _begin(tmp_path, twins[:1])
    journal.close()
    journal = _begin(tmp_path, twins)
    names = {key: row.name for key, row in journal.read_rows().items()}
    assert names["/a/x.tif"] == "x"
    assert names["/b/x.tif"].startswith("X-"), "file systems may not tell x from X"
    journal.close()
    both = tmp_path / "both"
    both.mkdir()
    journal = _begin(both, twins[::-1])
    assert {row.name[:2].lower() for row in journal.read_rows().values()} == {"x-"}
    journal.close()


def test_what_is_no_journal(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="has not written there"):
        Journal(tmp_path, read_only=True)
    (tmp_path / NAME).write_text("no database, but long enough to be looked at as one")
    with pytest.raises(OutputError, match="cannot be used as a journal"):
        Journal(tmp_path)
