"""Those who do the work are on their way while it is planned, and leave whatever happens."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from geotrans.errors import SceneError
from geotrans.execution.cluster import Cluster
from geotrans.execution.connect import connect
from geotrans.execution.local import start_workers
from tests.helpers.cluster import real_cluster

pytestmark = pytest.mark.xdist_group("serial")


def _workers() -> list[psutil.Process]:
    children = psutil.Process().children(recursive=True)
    return [one for one in children if "spawn_main" in " ".join(one.cmdline())]


@pytest.mark.slow
def test_processes_come_with_what_they_need_and_leave() -> None:
    def look() -> tuple[int, bool]:
        return os.getpid(), "geotrans.inference" in sys.modules

    with start_workers(None, 2, imports=["geotrans.inference"]) as hands:
        cluster = hands()
        assert cluster is not None
        seen = cluster.call_on_workers(look)
        assert hands() is cluster
        assert all(is_ready for _, is_ready in seen.values())
        assert {pid for pid, _ in seen.values()} <= {one.pid for one in _workers()}
    assert len(seen) == 2
    assert not _workers()


def test_processes_leave_when_the_plan_fails() -> None:
    with pytest.raises(SceneError, match="no such scene"), start_workers(None, 2):
        raise SceneError("no such scene")
    assert not _workers()


@pytest.mark.slow
def test_workers_that_are_there_bring_in_what_they_need_meanwhile(tmp_path: Path) -> None:
    def look() -> bool:
        return "geotrans.inference" in sys.modules

    with real_cluster(tmp_path / "cluster") as real, connect(real.address) as cluster:
        assert not any(cluster.call_on_workers(look).values())
        with start_workers(cluster, 1, imports=["geotrans.inference"]) as hands:
            assert hands() is cluster
            until = time.monotonic() + 60
            while not all(cluster.call_on_workers(look).values()):
                assert time.monotonic() < until


def test_a_cluster_that_is_there_does_the_work_and_one_worker_is_this_process() -> None:
    given: Any = object.__new__(Cluster)
    with start_workers(given, 1) as hands:
        assert hands() is given
    with start_workers(None, 1) as hands:
        assert hands() is None
    assert not _workers()
