"""Open files: a few for each thread, because a GDAL dataset serves one thread at a time."""

from __future__ import annotations

import atexit
import os
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any

from geotrans.runtime.caches import clears_cache

# A collection may hold thousands of scenes; a thread closes its oldest datasets first.
MAX_OPEN = 32


class _ThreadDatasets:
    """The open datasets of one thread, least recently used first."""

    def __init__(self) -> None:
        self.datasets: OrderedDict[Hashable, Any] = OrderedDict()


_local = threading.local()
_thread_datasets: weakref.WeakSet[_ThreadDatasets] = weakref.WeakSet()
_lock = threading.Lock()


def acquire(key: Hashable, opener: Callable[[], Any]) -> Any:
    """The calling thread's dataset for `key`, opened if it is not yet."""
    datasets = _own_datasets().datasets
    if key in datasets:
        datasets.move_to_end(key)
        return datasets[key]
    dataset = datasets[key] = opener()
    while len(datasets) > MAX_OPEN:
        datasets.popitem(last=False)[1].close()
    return dataset


def discard(key: Hashable) -> None:
    """Close the calling thread's dataset for `key`."""
    dataset = _own_datasets().datasets.pop(key, None)
    if dataset is not None:
        dataset.close()


def release(key: Hashable) -> None:
    """Close the datasets of every thread for `key`; no thread may be reading them."""
    with _lock:
        threads = list(_thread_datasets)
    for thread in threads:
        dataset = thread.datasets.pop(key, None)
        if dataset is not None:
            dataset.close()


@atexit.register
@clears_cache
def close_all() -> None:
    """Close every open dataset, at the latest before the interpreter unloads rasterio."""
    for thread in list(_thread_datasets):
        while thread.datasets:
            thread.datasets.popitem()[1].close()


def _own_datasets() -> _ThreadDatasets:
    # A forked process must not share the file positions of its parent: it opens its own.
    if getattr(_local, "pid", None) != os.getpid():
        thread = _ThreadDatasets()
        _local.pid, _local.datasets = os.getpid(), thread
        with _lock:
            _thread_datasets.add(thread)
    result: _ThreadDatasets = _local.datasets
    return result
