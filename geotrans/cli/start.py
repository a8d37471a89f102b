"""How a process of the `geotrans` command begins and ends."""

from __future__ import annotations

import atexit
import gc
import os
import sys

# Commands that hold the same few large blocks for minutes.
_LONG = {"translate", "batch"}

# What glibc is told before a process begins, and cannot be told later. torch wants its blocks
# aligned; what is cut off their ends goes into a cache of the thread, something small is put there
# for good, and the next block of 80 MB needs new memory instead of the place of the last one. Pools
# of threads of their own have no room for such a block at all.
_TUNABLES = "glibc.malloc.tcache_count=0:glibc.malloc.arena_max=1"


def main() -> None:
    """Entry point of the `geotrans` script."""
    if not _LONG.isdisjoint(sys.argv[1:]):
        _begin_again()
    from geotrans.cli.main import app, run

    if "_GEOTRANS_COMPLETE" in os.environ:
        app(prog_name="geotrans")
    codes: list[int] = []
    atexit.register(_leave, codes)  # Registered before those of the command, it is called after.
    # Imports make a hundred thousand objects and no garbage.
    gc.set_threshold(100_000, 20, 20)
    codes.append(run(sys.argv[1:]))
    sys.exit(codes[0])


def _begin_again() -> None:
    """Become the same process with memory that does not fray, if it is glibc's."""
    if sys.platform == "linux" and sys.executable and "GLIBC_TUNABLES" not in os.environ:
        os.environ["GLIBC_TUNABLES"] = _TUNABLES
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def _leave(codes: list[int]) -> None:
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
