"""Processes of the command: how they begin and end."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

_ENDING = """
import atexit, sys
from geotrans.cli import main, start

class Late:
    def __del__(self):
        print("late")

def run(words):
    if words:
        import torch
    main.late = Late()
    atexit.register(print, "in time")
    print("told", end=" ")
    return 3

main.run = run
start.main()
"""

_BEGINNING = """
import os
from geotrans.cli import main, start

main.run = lambda words: print(os.environ.get("GLIBC_TUNABLES"), *words)
start.main()
"""


def _run(script: str, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", script, *words],
        capture_output=True, text=True, check=False, env={**os.environ, **env},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("words", "said"), [([], "told in time\nlate\n"), (["torch"], "told in time\n")]
)
def test_a_process_with_torch_ends_at_once(words: list[str], said: str) -> None:
    ended = _run(_ENDING, *words)
    assert (ended.returncode, ended.stdout, ended.stderr) == (3, said, "")


@pytest.mark.skipif(sys.platform != "linux", reason="glibc is Linux's")
def test_a_long_command_has_memory_that_does_not_fray(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
    told = _run(_BEGINNING, "-q", "translate", "a scene.tif")
    tunables, words = told.stdout.split(maxsplit=1)
    assert "glibc.malloc.tcache_count=0" in tunables
    assert words == "-q translate a scene.tif\n"
    assert _run(_BEGINNING, "tasks").stdout == "None tasks\n"
    mine = _run(_BEGINNING, "translate", GLIBC_TUNABLES="glibc.malloc.tcache_max=64")
    assert mine.stdout == "glibc.malloc.tcache_max=64 translate\n"
