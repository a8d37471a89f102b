"""How a process begins and ends, and what it may use."""

from __future__ import annotations

import os
import sys

# What glibc is told before a process begins, and cannot be told later. torch wants its blocks
# aligned; what is cut off their ends goes into a cache of the thread, something small is put there
# for good, and the next block of 80 MB needs new memory instead of the place of the last one. Pools
# of threads of their own have no room for such a block at all.
_TUNABLES = "glibc.malloc.tcache_count=0:glibc.malloc.arena_max=1"


def restart_with_malloc_settings() -> None:
    """Become the same process with memory that does not fray, if it is glibc's."""
    if sys.platform == "linux" and sys.executable and "GLIBC_TUNABLES" not in os.environ:
        os.environ["GLIBC_TUNABLES"] = _TUNABLES
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def exit_at_once(codes: list[int]) -> None:
    """End a process that has torch in it, at once.

    Everything else has ended by now. What Python and the CUDA libraries tidy up takes a tenth of a
    second and 140 MB, for nothing.
    """
    if not codes or "torch" not in sys.modules:
        return
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError:
        return  # A reader that has gone away is Python's to tell.
    os._exit(codes[0])


def n_cores() -> int:
    """Cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
