from __future__ import annotations

import subprocess
import sys

import pytest

# Freed pieces below one that is still held stay with the process, until they are handed back.
PROGRAM = """
import numpy, psutil
from geotrans.models import trim_heap_periodically, keep_freed_memory

assert keep_freed_memory()
held = lambda: psutil.Process().memory_info().rss / 2**20
before = held()
pieces = [numpy.ones(2**20) for _ in range(40)]
last = pieces.pop()
del pieces
kept = held() - before
for _ in range(15):
    trim_heap_periodically()
still = held() - before
trim_heap_periodically()
print(kept, still, held() - before)
"""


@pytest.mark.xdist_group("serial")
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only glibc can be told")
def test_memory_is_kept_between_windows_and_handed_back_once_in_a_while() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, timeout=60
    )
    kept, still, handed_back = map(float, ran.stdout.split())
    assert kept > 300, "MB of the 312 that are free"
    assert still > 300, "reused by the next window"
    assert handed_back < 40, "the piece that is still held, and little else"
