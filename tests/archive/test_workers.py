"""Archives on a real scheduler with real workers, some of which die, see nothing, or never come."""

from __future__ import annotations

import shutil
import signal
import sqlite3
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import geotrans
from geotrans.archive import Status
from geotrans.archive.inputs import Entry
from geotrans.archive.scene_task import SceneTask, SceneWork, Setup, translate_scene
from geotrans.errors import ClusterError, OutputError, SceneError, UsageError
from geotrans.execution import health
from geotrans.execution.connect import connect
from geotrans.tasks import open_bundle
from geotrans.translation.options import PixelOptions, RunOptions
from tests.helpers.bundles import random_bundle
from tests.helpers.cluster import RealCluster, is_left_empty, real_cluster
from tests.helpers.products import digests
from tests.helpers.scenes import write_scene
from tests.helpers.store import Bucket

pytestmark = pytest.mark.xdist_group("serial")

N_SCENES = 6

# What a run passes on to every scene.
OPTIONS = PixelOptions(precision="float32"), RunOptions(tile=40, device="cpu")


@pytest.fixture(scope="module")
def small_archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a bundle, some scenes, and their products by this process alone."""
    folder = tmp_path_factory.mktemp("place")
    random_bundle(folder / "noisy.safetensors", noise=(1, 8))
    (folder / "in").mkdir()
    for i in range(N_SCENES):
        write_scene(folder / "in" / f"scene{i}.tif", shape=(160, 200 + 8 * i))
    _batch(folder, folder / "whole")
    return folder


def _batch(place: Path, out: Path | str, **options: Any) -> Status:
    return geotrans.batch(
        place / "in", task=place / "noisy.safetensors", out=out, tile=40, precision="float32",
        **options,
    )  # fmt: skip


def _is_whole(place: Path, out: Path) -> bool:
    """Whether the products are those of one process, and nothing else lies there."""
    names = {path.name for path in out.iterdir()}
    expected = {path.name for path in (place / "whole").iterdir()}
    return digests(out) == digests(place / "whole") and names == expected


def _column(out: Path, what: str) -> dict[str, Any]:
    with closing(sqlite3.connect(out / "journal.sqlite")) as db:
        return dict(db.execute(f"SELECT name, {what} FROM scene"))


def _times(out: Path) -> dict[str, int]:
    done = [name for name, state in _column(out, "state").items() if state == "done"]
    return {name: (out / f"{name}_random.tif").stat().st_mtime_ns for name in done}


def _once(out: Path, n: int, act: Callable[[], Any]) -> threading.Thread:
    """Do something, in a thread of its own, once `n` scenes are done and another is begun."""

    def watch() -> None:
        until = time.monotonic() + 120
        while not any(out.glob("*.parts/r*.tif")) or len(_times(out)) < n:
            assert time.monotonic() < until
            time.sleep(0.005)
        act()

    thread = threading.Thread(target=watch)
    thread.start()
    return thread


def test_a_cluster_makes_the_same_products_and_leaves_nothing(
    small_archive: Path, dask_cluster: RealCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    handed: list[Any] = []
    n_open: list[int] = []
    with connect(dask_cluster.address) as cluster:
        submit = cluster.client.submit

        def watched(*words: Any, **options: Any) -> Any:
            handed.append(submit(*words, **options))
            n_open.append(sum(not future.done() for future in handed))
            return handed[-1]

        monkeypatch.setattr(cluster.client, "submit", watched)
        state = _batch(small_archive, tmp_path / "out", cluster=cluster, memory="4GB")
        handed.clear()
        assert is_left_empty(cluster.client)
        assert max(n_open) == 2, "a scene for each worker, no more"
        assert _batch(small_archive, tmp_path / "out", cluster=cluster).n_new == 0
    assert state.is_complete
    assert set(_column(tmp_path / "out", "tries").values()) == {1}
    assert _is_whole(small_archive, tmp_path / "out")


@pytest.mark.slow
def test_relative_paths_a_scheduler_file_and_a_bad_scene(
    small_archive: Path, dask_cluster: RealCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(small_archive / "in", "in")
    Path("in/bad.tif").write_text("no raster")
    shutil.copy(small_archive / "noisy.safetensors", "noisy.safetensors")
    state = geotrans.batch(
        "in",
        "noisy.safetensors",
        out="out",
        tile=40,
        precision="float32",
        cluster=dask_cluster.file,
    )
    assert [failure.name for failure in state.failures] == ["bad"]
    assert state.failures[0].tries == 2
    assert _is_whole(small_archive, tmp_path / "out")


@pytest.mark.slow
def test_workers_upload_with_keys_of_their_own(
    small_archive: Path, bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with real_cluster(tmp_path / "cluster") as cluster:
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "of the client")
        elsewhere = {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}
        with (
            cluster.one_more(env=elsewhere),
            pytest.raises(
                OutputError, match=r"worker tcp\S+: s3://shelf/maps/models/\S+ cannot be read: "
            ) as told,
        ):
            _batch(small_archive, "s3://shelf/maps", cluster=cluster.address)
        assert "\n" not in str(told.value)
        assert not [key for key in sorted(bucket.keys()) if key.endswith(".tif")]
        state = _batch(small_archive, "s3://shelf/maps", cluster=cluster.address)
    assert state.is_complete
    assert [path.name for path in (tmp_path / "shelf_maps").iterdir()] == ["journal.sqlite"]
    saved = bucket.save("maps", tmp_path / "saved")
    assert digests(saved) == digests(small_archive / "whole")
    assert {path.name for path in saved.iterdir()} == {
        path.name for path in (small_archive / "whole").iterdir() if path.suffix != ".sqlite"
    }


def test_a_plan_is_measured_on_a_worker(
    small_archive: Path, dask_cluster: RealCluster, tmp_path: Path
) -> None:
    price = geotrans.archive.estimate_archive(
        small_archive / "in",
        small_archive / "noisy.safetensors",
        out=tmp_path / "out",
        cluster=dask_cluster.address,
    )
    assert (price.n_scenes, price.workers, price.refused) == (N_SCENES, 2, {})
    assert price.seconds > 0
    assert not (tmp_path / "out").exists()


def test_what_cannot_be_meant(
    small_archive: Path, dask_cluster: RealCluster, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    with pytest.raises(UsageError, match="workers of its own; leave out workers"):
        _batch(small_archive, out, cluster=dask_cluster.address, workers=2)
    with pytest.raises(UsageError, match="neither an address"):
        _batch(small_archive, out, cluster="nowhere")
    assert not out.exists()
    with pytest.raises(UsageError, match=r"each process has a share: worker .* too little"):
        _batch(small_archive, out, cluster=dask_cluster.address, memory="200MB")
    assert [path.name for path in out.iterdir()] == ["journal.sqlite"]


def test_a_worker_that_dies_gives_its_scene_to_another(
    small_archive: Path, dask_cluster: RealCluster, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    with dask_cluster.one_more() as worker:
        killer = _once(out, 1, worker.kill)
        state = _batch(small_archive, out, cluster=dask_cluster.address)
        killer.join()
        assert worker.wait() == -signal.SIGKILL
    assert state.is_complete
    assert set(_column(out, "tries").values()) == {1}, "that was no failure of the scene"
    assert _is_whole(small_archive, out)


@pytest.mark.slow
def test_a_worker_that_does_not_see_products_or_scenes(
    small_archive: Path, dask_cluster: RealCluster, tmp_path: Path
) -> None:
    """It runs where another disk is mounted over the folder."""
    out = tmp_path / "here"
    out.mkdir()
    shutil.copytree(small_archive / "in", tmp_path / "copy")
    alone = ("unshare", "--mount", "sh", "-c")
    for hidden, error, told in (
        (out, OutputError, r"worker tcp\S* does not see .*here .*choose out in a folder"),
        (tmp_path / "copy", SceneError, r"worker tcp\S* does not see .*scene0\.tif; keep scenes"),
    ):
        mounting = f"mount -t tmpfs none {hidden}"
        tried = [*alone, mounting]
        if not shutil.which("unshare") or subprocess.run(tried, capture_output=True).returncode:
            pytest.skip("mounting needs root")
        with (
            dask_cluster.one_more(before=(*alone, f'{mounting} && exec "$@"', "sh")),
            pytest.raises(error, match=told),
        ):
            geotrans.batch(
                tmp_path / "copy",
                small_archive / "noisy.safetensors",
                out=out,
                cluster=dask_cluster.address,
            )
        assert [path.name for path in out.iterdir()] == ["journal.sqlite"]


@pytest.mark.slow
def test_a_cluster_without_workers_is_waited_for_a_while(
    small_archive: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    out = tmp_path / "out"
    monkeypatch.setattr(health, "_REFRESH_S", 0.1)
    monkeypatch.setattr(health, "_NO_WORKERS_S", 2.0)
    with real_cluster(tmp_path / "cluster", workers=1) as cluster:
        killer = _once(out, 2, cluster.workers[0].kill)
        with pytest.raises(
            ClusterError, match=r"lost all its workers, and none came within 2 s; start some; "
            rf"\d of {N_SCENES} scenes are done, and the same command goes on"
        ):  # fmt: skip
            _batch(small_archive, out, cluster=cluster.address)
        killer.join()
        assert "has lost all its workers; waiting up to 2 s" in caplog.text
        assert set(_column(out, "state").values()) == {"done", "waiting"}
        times = _times(out)
        assert len(times) >= 2
        # Somebody starts another in time.
        cluster.add_worker()
        cluster.wait_for_workers(1)
        replacing = _once(
            out, len(times) + 1, lambda: (cluster.workers[1].kill(), cluster.add_worker())
        )
        monkeypatch.setattr(health, "_NO_WORKERS_S", 60.0)
        state = _batch(small_archive, out, cluster=cluster.address)
        replacing.join()
    assert state.is_complete
    assert times.items() <= _times(out).items(), "done is done"
    assert _is_whole(small_archive, out)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("blow", "told"),
    [(signal.SIGKILL, "is gone"), (signal.SIGSTOP, "has said nothing for 3 s")],
    ids=["killed", "stopped"],
)
def test_a_scheduler_that_is_lost_is_told_and_a_rerun_goes_on(
    small_archive: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    blow: signal.Signals,
    told: str,
) -> None:
    monkeypatch.setattr(health, "_REFRESH_S", 0.2)
    monkeypatch.setattr(health, "_SILENCE_S", 3.0)
    out = tmp_path / "out"
    with real_cluster(tmp_path / "cluster") as cluster:
        killer = _once(out, 2, lambda: cluster.scheduler.send_signal(blow))
        with pytest.raises(ClusterError, match=rf"scheduler .* {told}.*; \d of {N_SCENES} scenes"):
            _batch(small_archive, out, cluster=cluster.address)
        killer.join()
        times = _times(out)
        assert len(times) >= 2
        # Its workers may still be at their scenes.
        assert _batch(small_archive, out).is_complete
    assert times.items() <= _times(out).items(), "done is done"
    assert _is_whole(small_archive, out)


def test_a_patience_in_the_configuration_of_dask_counts() -> None:
    import dask

    assert health.no_workers_timeout_s(60) == 60
    with dask.config.set({"distributed.scheduler.no-workers-timeout": "5 minutes"}):
        assert health.no_workers_timeout_s(60) == 300


def test_a_scene_nobody_wants_any_more_is_dropped(small_archive: Path, tmp_path: Path) -> None:
    """A worker whose run was killed must not write what a later run is writing."""
    claim = tmp_path / "errand"
    setup = Setup(open_bundle(small_archive / "noisy.safetensors"), *OPTIONS)
    work = SceneWork(setup, tmp_path).for_worker(1, claim=claim)
    order = SceneTask(Entry.from_file(small_archive / "in" / "scene0.tif"), tmp_path / "out.tif")
    outcome = work(order)
    assert (outcome.state, outcome.kind) == ("failed", "OutputError")
    assert "is over" in str(outcome.reason)
    assert not list(tmp_path.glob("*.parts/*.tif"))
    assert not order.path.exists()
    claim.touch()
    assert work(order).state == "done"


def test_a_scene_whose_worker_dies_before_it_can_tell_is_no_failure(
    small_archive: Path, tmp_path: Path
) -> None:
    """Dask gives it to another worker, which finds the product."""
    order = SceneTask(Entry.from_file(small_archive / "in" / "scene0.tif"), tmp_path / "out.tif")
    for _ in range(2):
        outcome = translate_scene(
            Setup(open_bundle(small_archive / "noisy.safetensors"), *OPTIONS), order
        )
        assert (outcome.state, outcome.reason) == ("done", None)
