"""Connection to a Dask cluster by its address.

A cluster is checked before any work: that it answers, and that its workers have this geotrans.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

from geotrans import __version__
from geotrans.errors import ClusterError, UsageError, option
from geotrans.execution.cluster import Cluster
from geotrans.execution.health import (
    call_with_timeout,
    get_address,
    no_workers_timeout_s,
    translate_dask_errors,
)
from geotrans.runtime.threads import run_in_thread

_log = logging.getLogger(__name__)

# How long a scheduler may take to answer, and a batch system to start the first worker unless
# Dask's configuration says it, s.
_CONNECT_S, _FIRST_WORKER_S = 10, 120

_ADDRESS = re.compile(r"(\w+://)?(\[[^\]]+\]|[^/:\s]+):\d+/?")


@contextmanager
def open_cluster(
    cluster: str | os.PathLike[str] | Cluster | None, *, workers: int, is_budgeted: bool = False
) -> Iterator[Cluster | None]:
    """Use a cluster that is open already, connect to one by its address, or use none.

    A memory budget is divided among the workers there are now, so no more of them are used then.
    """
    if cluster is not None and workers != 1:
        raise UsageError(f"a cluster has workers of its own; leave out {option('workers')}")
    if cluster is None:
        yield None
        return
    with nullcontext(cluster) if isinstance(cluster, Cluster) else connect(cluster) as opened:
        yield opened.limit_workers() if is_budgeted else opened


@contextmanager
def connect(address: str | os.PathLike[str]) -> Iterator[Cluster]:
    """Connect to any Dask cluster and check it; it is left as it was found.

    Args:
        address: `tcp://host:8786` and the like, or a scheduler file.

    Yields:
        The cluster, with at least one worker, each of which has this geotrans.

    Raises:
        UsageError: If the address is neither.
        ClusterError: If it does not answer within 10 s, has no workers, or they do not fit.
    """
    text = os.fspath(address)
    client_options = _parse_address(text)
    with _silence_dask():
        try:
            client = _make_client(client_options)
        except (OSError, ValueError, RuntimeError, ImportError, MemoryError) as error:
            raise ClusterError(
                f"no Dask scheduler answers at {text} within {_CONNECT_S} s; see that it runs and "
                "that the address is right"
            ) from error
        cluster = Cluster(client)
        try:
            with translate_dask_errors(client):
                _wait_for_workers(client, text)
                _check_python(client)
            _check_versions(cluster)
            yield cluster
        finally:
            cluster.clear_worker_caches()
            client.close(timeout=2)


def _make_client(options: dict[str, str]) -> Any:
    """Connect with a time limit: Dask waits for ever for a server that is no scheduler."""
    from distributed import Client

    future = run_in_thread(partial(Client, **options, timeout=_CONNECT_S, set_as_default=False))
    return future.result(_CONNECT_S + 1)


def _parse_address(text: str) -> dict[str, str]:
    if _ADDRESS.fullmatch(text):
        return {"address": text}
    if Path(text).is_file():
        return {"scheduler_file": text}
    raise UsageError(
        f"cluster '{text}' is neither an address such as tcp://host:8786 nor a scheduler file "
        "that exists"
    )


def _wait_for_workers(client: Any, address: str) -> None:
    if call_with_timeout(client, client.nthreads):
        return
    timeout_s = no_workers_timeout_s(_FIRST_WORKER_S)
    _log.warning("the cluster at %s has no workers yet; waiting up to %.0f s", address, timeout_s)
    try:
        wait_for_workers = partial(client.wait_for_workers, 1, timeout=timeout_s)
        call_with_timeout(client, wait_for_workers, extra_s=timeout_s)
    except TimeoutError as error:
        raise ClusterError(
            f"the cluster at {address} has no workers, and none came within {timeout_s:.0f} s; "
            f"start some, with dask worker {get_address(client)} say"
        ) from error


def _check_python(client: Any) -> None:
    """Compare versions of Python: code cannot be sent to another one."""
    version = "{}.{}".format(*sys.version_info)
    for worker, facts in call_with_timeout(client, client.get_versions)["workers"].items():
        worker_version = ".".join(facts["host"]["python"].split(".")[:2])
        if worker_version != version:
            raise ClusterError(
                f"worker {worker} runs Python {worker_version}, and this is {version}; "
                "give it the same"
            )


def _check_versions(cluster: Cluster) -> None:
    # Defined here, so that it is sent whole and does not need the package it looks for.
    def find_version() -> tuple[str | None, str]:
        try:
            from geotrans import __version__ as version
        except Exception as error:
            return None, f"{type(error).__name__}: {error}"
        return version, ""

    for worker, (version, error) in cluster.call_on_workers(find_version).items():
        if version != __version__:
            state = f"has geotrans {version}" if version else f"cannot import geotrans ({error})"
            raise ClusterError(
                f"worker {worker} {state}, and {__version__} runs here; install the same there"
            )


def _keep_client_record(record: logging.LogRecord) -> bool:
    """Drop messages of Dask's client on reconnecting, which fails once the work is over."""
    errors = (asyncio.CancelledError, OSError)
    is_failure = record.exc_info and isinstance(record.exc_info[1], errors)
    return not (is_failure or record.getMessage().startswith("Failed to reconnect to scheduler"))


def _keep_loop_record(record: logging.LogRecord) -> bool:
    """Drop messages on a cancellation of Dask's client that fails after Ctrl-C."""
    return "sync.<locals>.cancel" not in record.getMessage()


@contextmanager
def _silence_dask() -> Iterator[None]:
    """Silence Dask's messages on a lost connection, which our errors report."""
    import distributed  # noqa: F401  # Sets the levels of its loggers once, when it is imported.

    logging.getLogger("distributed.client").addFilter(_keep_client_record)
    logging.getLogger("tornado.application").addFilter(_keep_loop_record)
    # Dask sets a level for each of the two.
    loggers = [logging.getLogger(name) for name in ("distributed", "distributed.client")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
