"""Memory of a process: freed blocks kept for reuse, its peak, sizes as text.

glibc gives every large array its own pages and returns them when it is freed, so that each layer
pays for page faults again: elementwise layers ran 5 times faster without them on a virtual machine.
"""

from __future__ import annotations

import ctypes
import functools
import itertools
import re
import sys
import threading
from types import TracebackType
from typing import Any, Self

from geotrans.errors import UsageError

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
_LARGEST_KEPT = 1 << 30  # bytes
_LARGEST_INT = (1 << 31) - 1

# Windows after which free memory is returned to the system all the same.
_TRIM_INTERVAL = 16
_windows = itertools.count(1)


def trim_heap_periodically() -> None:
    """Return free memory to the system after some windows; called after every window.

    Pieces of freed blocks that fit nothing add up: a whole city, 117 Mpx, took a tenth more than
    its part. On 17 Mpx it shows nothing yet: 1,100 MB with it and 1,094 without by map2aerial, at
    the same speed (`benchmarks/process.py --without trim --task map2aerial --size 4096`, float32,
    two shared cores, one run each).
    """
    if next(_windows) % _TRIM_INTERVAL == 0 and (libc := _glibc()) is not None:
        libc.malloc_trim(0)


@functools.cache
def keep_freed_memory() -> bool:
    """Have the process reuse large freed blocks; for long runs on a CPU.

    It saves a quarter of the processor's time and costs 6 % of memory: 17 Mpx by map2aerial took
    23.8 s and 1,100 MB with it, 30.8 s and 1,038 MB without (`benchmarks/process.py --without
    mallopt --task map2aerial --size 4096`, float32, two shared cores, one run each). Workers of a
    cluster had 0.85 million page faults for a city of 117 Mpx instead of 3.0 million.

    Returns:
        Whether that is possible; only with glibc.
    """
    if (libc := _glibc()) is None:
        return False
    is_set = libc.mallopt(_M_MMAP_THRESHOLD, _LARGEST_KEPT)
    is_set = is_set and libc.mallopt(_M_TRIM_THRESHOLD, _LARGEST_INT)
    # An arena of a thread grows to 64 MB only: threads started from now on share the main one.
    return bool(is_set and libc.mallopt(_M_ARENA_MAX, 1))


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


_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}


class PeakMemory:
    """Peak memory of this process while a block of code runs, sampled every millisecond."""

    def __init__(self) -> None:
        self.n_bytes = 0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        self.n_bytes = resident_bytes()
        while not self._done.wait(0.001):
            self.n_bytes = max(self.n_bytes, resident_bytes())


def resident_bytes() -> int:
    """Memory this process holds, bytes."""
    import psutil

    return int(psutil.Process().memory_info().rss)


def parse_bytes(text: str | int) -> int:
    """Parse a size: `"1.5GB"`, `"800m"` or a plain number of bytes.

    Raises:
        UsageError: If it is none of these.
    """
    match = re.fullmatch(r"\s*([0-9.]+)\s*([kmgt]?)i?b?\s*", str(text).lower())
    try:
        n_bytes = int(float(match[1]) * _UNITS[match[2]]) if match else 0
    except ValueError:
        n_bytes = 0
    if n_bytes <= 0:
        raise UsageError(f"memory '{text}' is no size; give one such as 1.5GB")
    return n_bytes
