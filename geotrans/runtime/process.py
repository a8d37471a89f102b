"""Start and end of a process, and the cores it may use."""

from __future__ import annotations

import os
import sys

# Settings of glibc that only apply from the start of a process. torch aligns its blocks; what is
# cut off their ends goes into a cache of the thread, a small object stays there, and the next block
# of 80 MB needs new memory instead of that of the last one. Arenas of threads are too small for
# such a block.
_TUNABLES = "glibc.malloc.tcache_count=0:glibc.malloc.arena_max=1"


def restart_with_malloc_settings() -> None:
    """Replace this process by itself with settings of glibc against fragmentation."""
    if sys.platform == "linux" and sys.executable and "GLIBC_TUNABLES" not in os.environ:
        os.environ["GLIBC_TUNABLES"] = _TUNABLES
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def exit_at_once(codes: list[int]) -> None:
    """End a process that has torch in it, at once.

    Everything else has ended by now. Cleanup by Python and the CUDA libraries would take a tenth of
    a second and 140 MB, for nothing.
    """
    if not codes or "torch" not in sys.modules:
        return
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError:
        return  # Python reports a closed pipe.
    os._exit(codes[0])


def n_cores() -> int:
    """Cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
