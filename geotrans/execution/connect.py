"""Ways to a Dask cluster: any that is reached by its address, or one of this machine's processes.

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

# How long an address may take to answer, and a batch system to start the first worker unless Dask's
# configuration says it, s.
_CONNECT_S, _FIRST_WORKER_S = 10, 120

_ADDRESS = re.compile(r"(\w+://)?(\[[^\]]+\]|[^/:\s]+):\d+/?")


@contextmanager
def open_cluster(
    asked: str | os.PathLike[str] | Cluster | None, *, workers: int, is_budgeted: bool = False
) -> Iterator[Cluster | None]:
    """A cluster that is open already, one by its address as `connect` takes it, or none.

    With a budget, which is divided among the workers there are, no more of them get any work.
    """
    if asked is not None and workers != 1:
        raise UsageError(f"a cluster has workers of its own; leave out {option('workers')}")
    if asked is None:
        yield None
        return
    with nullcontext(asked) if isinstance(asked, Cluster) else connect(asked) as cluster:
        yield cluster.closed() if is_budgeted else cluster


@contextmanager
def connect(address: str | os.PathLike[str]) -> Iterator[Cluster]:
    """Any Dask cluster, checked; left as it was found.

    Args:
        address: `tcp://host:8786` and the like, or a scheduler file.

    Yields:
        The cluster, with at least one worker, each of which has this geotrans.

    Raises:
        UsageError: If the address is none.
        ClusterError: If it does not answer within 10 s, has no workers, or they do not fit.
    """
    where = os.fspath(address)
    given = _parse_address(where)
    with _silence_dask():
        try:
            client = _make_client(given)
        except (OSError, ValueError, RuntimeError, ImportError, MemoryError) as error:
            raise ClusterError(
                f"no Dask scheduler answers at {where} within {_CONNECT_S} s; see that it runs and "
                "that the address is right"
            ) from error
        cluster = Cluster(client)
        try:
            with translate_dask_errors(client):
                _wait_for_workers(client, where)
                _check_python(client)
            _check_versions(cluster)
            yield cluster
        finally:
            cluster.forget()
            client.close(timeout=2)


def _make_client(given: dict[str, str]) -> Any:
    """A client, or an error in time: Dask waits for ever for what answers and says nothing."""
    from distributed import Client

    made = run_in_thread(partial(Client, **given, timeout=_CONNECT_S, set_as_default=False))
    return made.result(_CONNECT_S + 1)


def _parse_address(where: str) -> dict[str, str]:
    if _ADDRESS.fullmatch(where):
        return {"address": where}
    if Path(where).is_file():
        return {"scheduler_file": where}
    raise UsageError(
        f"cluster '{where}' is neither an address such as tcp://host:8786 nor a scheduler file "
        "that exists"
    )


def _wait_for_workers(client: Any, where: str) -> None:
    if call_with_timeout(client, client.nthreads):
        return
    patience_s = no_workers_timeout_s(_FIRST_WORKER_S)
    _log.warning("the cluster at %s has no workers yet; waiting up to %.0f s", where, patience_s)
    try:
        come = partial(client.wait_for_workers, 1, timeout=patience_s)
        call_with_timeout(client, come, beside_s=patience_s)
    except TimeoutError as error:
        raise ClusterError(
            f"the cluster at {where} has no workers, and none came within {patience_s:.0f} s; "
            f"start some, with dask worker {get_address(client)} say"
        ) from error


def _check_python(client: Any) -> None:
    """Code cannot be sent to another Python."""
    here = "{}.{}".format(*sys.version_info)
    for worker, facts in call_with_timeout(client, client.get_versions)["workers"].items():
        there = ".".join(facts["host"]["python"].split(".")[:2])
        if there != here:
            raise ClusterError(
                f"worker {worker} runs Python {there}, and this is {here}; give it the same"
            )


def _check_versions(cluster: Cluster) -> None:
    # Defined here, so that it is sent whole and does not need the package it looks for.
    def look() -> tuple[str | None, str]:
        try:
            from geotrans import __version__ as found
        except Exception as error:
            return None, f"{type(error).__name__}: {error}"
        return found, ""

    for worker, (found, error) in cluster.ask(look).items():
        if found != __version__:
            state = f"has geotrans {found}" if found else f"cannot import geotrans ({error})"
            raise ClusterError(
                f"worker {worker} {state}, and {__version__} runs here; install the same there"
            )


def _keep_client_record(record: logging.LogRecord) -> bool:
    """Of Dask's client: its attempts to connect again go on when all is over, and fail."""
    translate_dask_errors = (asyncio.CancelledError, OSError)
    failed = record.exc_info and isinstance(record.exc_info[1], translate_dask_errors)
    return not (failed or record.getMessage().startswith("Failed to reconnect to scheduler"))


def _keep_loop_record(record: logging.LogRecord) -> bool:
    """Of the loop: after Ctrl-C Dask's client may cancel what it has not begun, and stumble."""
    return "sync.<locals>.cancel" not in record.getMessage()


@contextmanager
def _silence_dask() -> Iterator[None]:
    """What Dask says of a lost connection is told by our errors."""
    import distributed  # noqa: F401  # Sets the levels of its loggers once, when it is imported.

    logging.getLogger("distributed.client").addFilter(_keep_client_record)
    logging.getLogger("tornado.application").addFilter(_keep_loop_record)
    # Dask gives both a level of their own.
    talkers = [logging.getLogger(name) for name in ("distributed", "distributed.client")]
    levels = [talker.level for talker in talkers]
    for talker in talkers:
        talker.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for talker, level in zip(talkers, levels, strict=True):
            talker.setLevel(level)
