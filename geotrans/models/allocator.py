"""Memory that is kept instead of handed back.

glibc gives every large array its own pages and returns them when it is freed, so that each layer
pays for page faults again: elementwise layers ran 5 times faster without them on a virtual machine.
"""

from __future__ import annotations

import ctypes
import functools
import itertools
import sys
from typing import Any

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
_LARGEST_KEPT = 1 << 30  # bytes
_LARGEST_INT = (1 << 31) - 1

# Windows between two times that free memory is handed back all the same.
_ROUND = 16
_windows = itertools.count(1)


def hand_back_now_and_then() -> None:
    """Hand back what is free once in a while; called after every window.

    Pieces of freed blocks that fit nothing add up: a whole city took a tenth more than its part.
    """
    if next(_windows) % _ROUND == 0 and (libc := _glibc()) is not None:
        libc.malloc_trim(0)


@functools.cache
def keep_freed_memory() -> bool:
    """Have the process reuse large freed blocks; for long runs on a CPU.

    Returns:
        Whether the C library could be told; only glibc can.
    """
    if (libc := _glibc()) is None:
        return False
    kept = libc.mallopt(_M_MMAP_THRESHOLD, _LARGEST_KEPT)
    kept = kept and libc.mallopt(_M_TRIM_THRESHOLD, _LARGEST_INT)
    # A pool of a thread's own grows to 64 MB only: threads started from now on share the main one.
    return bool(kept and libc.mallopt(_M_ARENA_MAX, 1))


@functools.cache
def _glibc() -> Any:
    """The C library; None if it is another one."""
    if not sys.platform.startswith("linux"):
        return None
    try:
        libc = ctypes.CDLL("libc.so.6")
        libc.malloc_trim.argtypes = [ctypes.c_size_t]
        libc.mallopt.argtypes = [ctypes.c_int, ctypes.c_int]
    except (OSError, AttributeError):
        return None
    return libc
