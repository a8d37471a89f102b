"""Start and end of a process, and the cores it may use."""

from __future__ import annotations

import atexit
import gc
import os
import sys

# Settings of glibc that only apply from the start of a process. torch aligns its blocks; what is
# cut off their ends goes into a cache of the thread, a small object stays there, and the next block
# of 80 MB needs new memory instead of that of the last one. Arenas of threads are too small for
# such a block.
_TUNABLES = "glibc.malloc.tcache_count=0:glibc.malloc.arena_max=1"


def restart_with_malloc_settings() -> None:
    """Become the same process with memory that is used again, if it is glibc's.

    A city of 117 Mpx took 50.7 and 54.7 s with it, 55.2 and 57.4 s without, at the same peak of
    1,166 to 1,200 MB (`geotrans translate city.tif --task map2aerial --precision float32`, two idle
    cores without AVX-512, interleaved; without: `GLIBC_TUNABLES=glibc.malloc.check=0`). A scene of
    17 Mpx shows nothing.
    """
    if sys.platform == "linux" and sys.executable and "GLIBC_TUNABLES" not in os.environ:
        os.environ["GLIBC_TUNABLES"] = _TUNABLES
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def exit_at_once_after(codes: list[int]) -> None:
    """Have the process end at once when all handlers of its end have run.

    What Python and the CUDA libraries tidy up reads 130 MB of these, which is a small scene's peak:
    622 MB instead of 750, and 4.3 s of the processor instead of 5.8 (`benchmarks/process.py
    --without exit --task identity --size 256`, two shared cores, medians of 1 and 2 runs; 0.1 s of
    wall time on two idle ones).

    Args:
        codes: Holds the exit code when it is known. Handlers registered after this call are called
            before the process ends.
    """
    atexit.register(_exit_at_once, codes)


def collect_garbage_seldom() -> None:
    """Have garbage looked for once in 100,000 objects: imports make as many, and no garbage.

    4.3 s of the processor instead of 4.7 for a small scene (`benchmarks/process.py --without gc
    --task identity --size 256`, two shared cores, medians of 1 and 2 runs).
    """
    gc.set_threshold(100_000, 20, 20)


def _exit_at_once(codes: list[int]) -> None:
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
