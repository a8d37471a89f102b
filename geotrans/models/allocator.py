"""Memory that is kept instead of handed back.

glibc gives every large array its own pages and returns them when it is freed, so that each layer
pays for page faults again: elementwise layers ran 5 times faster without them on a virtual machine.
"""

from __future__ import annotations

import ctypes
import functools
import sys

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
_LARGEST_KEPT = 1 << 30  # bytes
_LARGEST_INT = (1 << 31) - 1


@functools.cache
def keep_freed_memory() -> bool:
    """Have the process reuse large freed blocks; for long runs on a CPU.

    Returns:
        Whether the C library could be told; only glibc can.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):  # another C library
        return False
    kept = mallopt(_M_MMAP_THRESHOLD, _LARGEST_KEPT) and mallopt(_M_TRIM_THRESHOLD, _LARGEST_INT)
    # A pool of a thread's own grows to 64 MB only: threads started from now on share the main one.
    return bool(kept and mallopt(_M_ARENA_MAX, 1))
