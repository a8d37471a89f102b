"""Health of a Dask cluster: whether it still has workers, and a scheduler that answers."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from geotrans.errors import ClusterError, GeotransError, option
from geotrans.runtime.threads import run_in_thread

_log = logging.getLogger(__name__)

# How long a list of workers is used before it is refreshed, s.
_REFRESH_S = 5.0

# How long to wait for a worker once all are lost, s, unless Dask's configuration says it.
_NO_WORKERS_S = 60.0
_NO_WORKERS_KEY = "distributed.scheduler.no-workers-timeout"

# How long a scheduler may not answer, s. For one that is stopped or unreachable Dask itself waits
# without end.
_SILENCE_S = 60.0


class WorkerRegistry:
    """The workers of a cluster, as of a few seconds ago.

    Args:
        client: Connection to its scheduler.
    """

    def __init__(self, client: Any) -> None:
        self._client = client
        self._n_threads: dict[str, int] = {}
        self._refreshed = -_REFRESH_S
        self._empty_since: float | None = None

    def get_workers(self) -> dict[str, int]:
        """Threads of each worker by its address.

        Raises:
            ClusterError: If there has been none for too long, or the scheduler is gone or silent.
        """
        if time.monotonic() - self._refreshed >= _REFRESH_S:
            try:
                n_threads = dict(call_with_timeout(self._client, self._client.nthreads))
            except GeotransError:
                raise
            except Exception as error:
                raise _make_lost_error(self._client) from error
            self._refreshed = time.monotonic()
            self._check_workers(n_threads)
            self._n_threads = n_threads
        return self._n_threads

    def _check_workers(self, n_threads: dict[str, int]) -> None:
        address, timeout_s = get_address(self._client), no_workers_timeout_s(_NO_WORKERS_S)
        if n_threads:
            self._empty_since = None
        elif self._empty_since is None:
            self._empty_since = time.monotonic()
            _log.warning(
                "the cluster at %s has lost all its workers; waiting up to %.0f s for new ones",
                address, timeout_s,
            )  # fmt: skip
        elif time.monotonic() - self._empty_since >= timeout_s:
            raise ClusterError(
                f"the cluster at {address} has lost all its workers, and none came within "
                f"{timeout_s:.0f} s; start some"
            )


def call_with_timeout[T](client: Any, function: Callable[[], T], *, extra_s: float = 0.0) -> T:
    """Call something that waits for the scheduler, with a time limit.

    Args:
        client: Connection to the scheduler.
        function: What to call.
        extra_s: How long it may take beyond the limit, s.

    Raises:
        ClusterError: If the scheduler does not answer for a minute.
    """
    future, limit_s = run_in_thread(function), _SILENCE_S + extra_s
    try:
        return future.result(limit_s)
    except TimeoutError as error:
        if future.done():
            raise
        raise ClusterError(
            f"the scheduler at {get_address(client)} has said nothing for {limit_s:.0f} s; see "
            "that it runs and can be reached"
        ) from error


def no_workers_timeout_s(default: float) -> float:
    """How long Dask's configuration says to wait for a worker, or `default` if it does not, s."""
    import dask
    from dask.utils import parse_timedelta

    timeout = dask.config.get(_NO_WORKERS_KEY, None)
    return default if timeout is None else float(parse_timedelta(timeout))


@contextmanager
def translate_dask_errors(client: Any) -> Iterator[None]:
    """Turn what Dask raises when it has lost something into an error that says what.

    Raises:
        ClusterError: If the scheduler is gone, has cancelled the work, or has no worker for it.
    """
    from distributed import KilledWorker
    from distributed.client import FutureCancelledError
    from distributed.comm import CommClosedError

    try:
        yield
    except GeotransError:
        raise
    except KilledWorker as error:
        raise ClusterError(
            "worker processes were killed one after another, most likely for want of memory; "
            f"give fewer workers or a smaller {option('memory')}"
        ) from error
    except (FutureCancelledError, CommClosedError) as error:
        raise _make_lost_error(client) from error
    except Exception as error:
        if type(error).__name__ == "NoWorkerError":  # The scheduler's own limit.
            raise ClusterError(
                f"the cluster at {get_address(client)} has lost all its workers; start some"
            ) from error
        if client.status != "running":
            raise _make_lost_error(client) from error
        raise


def _make_lost_error(client: Any) -> ClusterError:
    return ClusterError(
        f"the scheduler at {get_address(client)} is gone, or somebody cancelled what it was given"
    )


def get_address(client: Any) -> str:
    """Address of a client's scheduler."""
    return str(client.scheduler.address)
