"""A real scheduler with real workers, which are killed, incomplete or not there."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import rasterio

from geotrans.errors import (
    BundleError,
    ClusterError,
    DeviceError,
    OutputError,
    SceneError,
    UsageError,
)
from geotrans.execution import connect as connecting
from geotrans.execution import health
from geotrans.execution.cluster import Cluster
from geotrans.execution.connect import connect
from geotrans.execution.work import submit_items
from geotrans.execution.work_file import WorkFile
from geotrans.parts import Parts
from geotrans.scene import open_scene
from geotrans.tasks import open_bundle
from geotrans.translation import Job
from geotrans.translation.devices import shared_device, shared_precision
from geotrans.translation.estimate import estimate
from geotrans.translation.options import split_options
from geotrans.translation.plan import plan_job
from geotrans.translation.translate import translate
from geotrans.translation.writer import TileWriter
from tests.helpers.bundles import random_bundle
from tests.helpers.cluster import RealCluster, is_left_empty, real_cluster
from tests.helpers.scenes import write_scene

pytestmark = pytest.mark.xdist_group("serial")

SHAPE, TILE, N_TILES = (480, 540), 60, 81


@pytest.fixture(scope="module")
def holed_scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a bundle, a scene with a hole, and its product made on threads."""
    folder = tmp_path_factory.mktemp("place")
    random_bundle(folder / "noisy.safetensors", noise=(1, 8), gsd_m=(0.6, 0.6))
    invalid = np.zeros(SHAPE, bool)
    invalid[100:200, 90:230] = True
    write_scene(folder / "scene.tif", shape=SHAPE, gsd_m=0.6, mask=True, invalid=invalid)
    _make(folder, folder / "whole.tif")
    return folder


def _make(place: Path, out: Path, **choices: Any) -> Any:
    return translate(
        place / "scene.tif", task=place / "noisy.safetensors", out=out, tile=TILE,
        precision="float32", **choices,
    )  # fmt: skip


def _job(place: Path, **choices: Any) -> Job:
    bundle = open_bundle(place / "noisy.safetensors")
    return plan_job(open_scene(place / "scene.tif"), bundle, *split_options(choices))


def _read(path: Path) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    with rasterio.open(path) as file:
        return file.read(), file.dataset_mask()


def _is_whole(place: Path, out: Path) -> bool:
    pairs = zip(_read(out), _read(place / "whole.tif"), strict=True)
    return all(np.array_equal(a, b) for a, b in pairs) and not list(out.parent.glob("*.parts"))


def _at(out: Path, n: int, act: Any) -> threading.Thread:
    """Do something, in a thread of its own, once so many parts are there."""

    def watch() -> None:
        folder = out.with_name(f"{out.name}.parts")
        until = time.monotonic() + 120
        while len([*folder.glob("r*.tif"), *folder.glob("r*.empty")]) < n:
            assert time.monotonic() < until
            time.sleep(0.002)
        act()

    thread = threading.Thread(target=watch)
    thread.start()
    return thread


def test_a_cluster_makes_the_same_pixels_and_leaves_nothing(
    holed_scene: Path, dask_cluster: RealCluster, tmp_path: Path
) -> None:
    with connect(dask_cluster.address) as cluster:
        product = _make(holed_scene, tmp_path / "out.tif", cluster=cluster)
        assert is_left_empty(cluster.client)
    assert product.n_tiles == N_TILES
    assert product.network_s > 0
    assert _is_whole(holed_scene, tmp_path / "out.tif")
    assert [p.name for p in tmp_path.iterdir()] == ["out.tif"]


@pytest.mark.slow
def test_relative_paths_and_a_scheduler_file(
    holed_scene: Path, dask_cluster: RealCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(holed_scene)
    translate(
        "scene.tif", task="noisy.safetensors", out=os.path.relpath(tmp_path / "out.tif"),
        tile=TILE, precision="float32", cluster=dask_cluster.file,
    )  # fmt: skip
    assert _is_whole(holed_scene, tmp_path / "out.tif")


@pytest.mark.slow
def test_the_dashboard_shows_task_and_scene(
    holed_scene: Path, dask_cluster: RealCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dask.utils import key_split

    shown, most, on_their_way = set(), 0, 0
    with connect(dask_cluster.address) as cluster:
        submit = cluster.client.submit

        def watched(*words: Any, key: Any, **options: Any) -> Any:
            nonlocal most, on_their_way
            shown.add(key_split(key))
            on_their_way += 1
            most = max(most, on_their_way)
            future = submit(*words, key=key, **options)
            future.add_done_callback(left)
            return future

        def left(_: Any) -> None:
            nonlocal on_their_way
            on_their_way -= 1

        monkeypatch.setattr(cluster.client, "submit", watched)
        _make(holed_scene, tmp_path / "out.tif", cluster=cluster)
    assert shown == {"random scene"}
    assert most <= 6, "one that runs and two that wait, on each of two workers"


def test_a_plan_is_measured_on_a_worker(
    holed_scene: Path, dask_cluster: RealCluster, tmp_path: Path
) -> None:
    found = estimate(
        holed_scene / "scene.tif", task=holed_scene / "noisy.safetensors",
        out=tmp_path / "out.tif", tile=TILE, cluster=dask_cluster.address,
    )  # fmt: skip
    assert (found.n_tiles, found.workers, found.device) == (N_TILES, 2, "cpu")
    assert not list(tmp_path.iterdir())


def test_a_worker_that_dies_loses_only_its_tiles(
    holed_scene: Path, dask_cluster: RealCluster, tmp_path: Path
) -> None:
    out = tmp_path / "out.tif"
    with dask_cluster.one_more() as worker:
        killer = _at(out, 10, worker.kill)
        product = _make(holed_scene, out, cluster=dask_cluster.address)
        killer.join()
        assert worker.wait() == -signal.SIGKILL
    assert product.n_tiles == N_TILES
    assert _is_whole(holed_scene, out)


@pytest.mark.slow
def test_a_scheduler_that_dies_is_told_and_a_rerun_goes_on(
    holed_scene: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.tif"
    with real_cluster(tmp_path / "cluster") as cluster:
        killer = _at(out, 10, cluster.scheduler.kill)
        with pytest.raises(ClusterError, match=r"scheduler .* is gone.*tiles are kept") as caught:
            _make(holed_scene, out, cluster=cluster.address)
        killer.join()
    assert not out.exists()
    n_kept = int(re.search(r"(\d+) of", str(caught.value))[1])
    assert n_kept >= 10
    assert _make(holed_scene, out).n_resumed >= n_kept
    assert _is_whole(holed_scene, out)


_LOSES_ITS_SCHEDULER = """
import sys, time
from geotrans.execution import connect as connecting
connecting._ANSWER_S = 2
with connecting.connect(sys.argv[1]):
    print("here", flush=True)
    sys.stdin.readline()
    time.sleep({inside})
time.sleep({after})
"""


@pytest.mark.slow
@pytest.mark.parametrize(("inside", "after"), [(4, 0), (0.5, 4)])
def test_dask_says_nothing_of_a_scheduler_that_dies(
    tmp_path: Path, inside: float, after: float
) -> None:
    # In a process of its own: Dask, when it is imported, sets what its loggers tell.
    with real_cluster(tmp_path / "cluster", workers=1) as cluster:
        process = subprocess.Popen(
            [sys.executable, "-c", _LOSES_ITS_SCHEDULER.format(inside=inside, after=after),
             cluster.address],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert process.stdout
        process.stdout.readline()
        cluster.scheduler.kill()
        _, err = process.communicate("\n", timeout=60)
    assert (process.returncode, err) == (0, "")


@pytest.mark.slow
def test_a_scheduler_that_is_stopped_is_waited_for_a_while(
    holed_scene: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It keeps its connections, and the machine answers for it."""
    monkeypatch.setattr(health, "_REFRESH_S", 0.2)
    monkeypatch.setattr(health, "_SILENCE_S", 3.0)
    out = tmp_path / "out.tif"
    with real_cluster(tmp_path / "cluster") as cluster:
        stopper = _at(out, 10, partial(cluster.scheduler.send_signal, signal.SIGSTOP))
        with pytest.raises(ClusterError, match=r"said nothing for 3 s.*tiles are kept") as caught:
            _make(holed_scene, out, cluster=cluster.address)
        stopper.join()
        n_kept = int(re.search(r"(\d+) of", str(caught.value))[1])
        assert n_kept >= 10
        assert not list(out.parent.rglob("errand-*")), "nobody may write any more"
        cluster.scheduler.send_signal(signal.SIGCONT)

        def nap() -> None:
            cluster.scheduler.send_signal(signal.SIGSTOP)
            time.sleep(1.5)
            cluster.scheduler.send_signal(signal.SIGCONT)

        napper = _at(out, n_kept + 10, nap)
        assert _make(holed_scene, out, cluster=cluster.address).n_resumed >= n_kept
        napper.join()
    assert _is_whole(holed_scene, out)


@pytest.mark.slow
def test_a_scheduler_that_stops_between_a_result_and_its_fetching(
    holed_scene: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Workers have finished, and only the scheduler knows where the results are."""
    monkeypatch.setattr(health, "_SILENCE_S", 1.0)
    parts, job = Parts.beside(tmp_path / "out.tif"), _job(holed_scene, tile=TILE)
    parts.begin(job, overwrite=False)
    with real_cluster(tmp_path / "cluster") as running, connect(running.address) as cluster:

        def stop(_: Any) -> None:
            time.sleep(1)  # Every other tile that was handed out is finished meanwhile.
            running.scheduler.send_signal(signal.SIGSTOP)

        cells = [(0, col) for col in range(job.plan.n_cols)]
        with pytest.raises(ClusterError, match="said nothing for 1 s"):
            cluster.run(TileWriter(job, parts), cells, on_done=stop)
    assert not list(tmp_path.rglob("errand-*"))


_IS_SILENT = """
import sys
from geotrans.cli.main import run
from geotrans.execution import health
health._REFRESH_S, health._SILENCE_S = 0.2, 3.0
sys.exit(run(sys.argv[1:]))
"""


@pytest.mark.slow
def test_a_command_whose_scheduler_is_stopped_ends_in_one_line(
    holed_scene: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.tif"
    words = [
        "translate", holed_scene / "scene.tif", "--task", holed_scene / "noisy.safetensors",
        "-o", out, "--tile", TILE, "--precision", "float32", "--no-preview",
    ]  # fmt: skip
    with real_cluster(tmp_path / "cluster") as cluster:
        process = subprocess.Popen(
            [sys.executable, "-c", _IS_SILENT, *map(str, words), "--cluster", cluster.address],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        stopper = _at(out, 10, partial(cluster.scheduler.send_signal, signal.SIGSTOP))
        out_text, err = process.communicate(timeout=120)
        stopper.join()
    assert (process.returncode, out_text) == (1, "")
    assert re.fullmatch(r"error: the scheduler at tcp\S+ has said nothing for 3 s; see .*\n", err)


@pytest.mark.slow
def test_a_cluster_that_loses_all_its_workers_is_waited_for_a_while(
    holed_scene: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(health, "_REFRESH_S", 0.1)
    monkeypatch.setattr(health, "_NO_WORKERS_S", 2.0)
    out = tmp_path / "out.tif"
    with real_cluster(tmp_path / "cluster", workers=1) as cluster:
        killer = _at(out, 10, cluster.workers[0].kill)
        with pytest.raises(
            ClusterError, match=r"none came within 2 s; .* tiles are kept"
        ) as caught:
            _make(holed_scene, out, cluster=cluster.address)
        killer.join()
        assert "lost all its workers; waiting up to 2 s" in caplog.text
        assert not list(out.parent.rglob("errand-*"))
    n_kept = int(re.search(r"(\d+) of", str(caught.value))[1])
    assert _make(holed_scene, out).n_resumed >= n_kept >= 10
    assert _is_whole(holed_scene, out)


@pytest.mark.slow
def test_workers_that_come_later_get_no_part_of_a_budget(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def work(seconds: float) -> int:
        time.sleep(seconds)
        return os.getpid()

    monkeypatch.setattr(health, "_REFRESH_S", 0.0)
    with real_cluster(tmp_path / "cluster", workers=1) as real, connect(real.address) as cluster:
        few = cluster.limit_workers()
        before = few.workers
        second = real.add_worker()
        real.wait_for_workers(2)
        assert len(cluster.workers) == 2
        assert few.workers == before
        assert few.call_on_workers(os.getpid).keys() == before.keys()
        first = real.workers[0]
        some = [few.submit(work, 0.01, key=("some", i)) for i in range(20)]
        assert {future.result(30) for future in some} == {first.pid}
        assert caplog.text.count("1 more workers came than the 1 that the memory was") == 1
        pids: list[int] = []
        waiting = [0.01, 1.0, 0.02]
        killer = threading.Timer(0.5, first.kill)
        killer.start()
        submit_items(
            lambda seconds: few.submit(work, seconds, key=("more", seconds)),
            lambda: waiting.pop(0) if waiting else None,
            capacity=lambda: 3 * len(few.workers),
            on_done=lambda _, future: pids.append(future.result(5)),
            cancel=few.cancel,
            cancel_stranded=few.cancel_stranded,
        )
        assert len(pids) == 3
        assert pids[-1] == second.pid
        assert set(few.workers) == set(cluster.workers) != set(before)


@pytest.mark.slow
def test_a_result_that_left_with_its_worker_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "_REFRESH_S", 0.0)
    with real_cluster(tmp_path / "cluster", workers=1) as real, connect(real.address) as cluster:
        few = cluster.limit_workers()
        real.add_worker()
        real.wait_for_workers(2)
        ended = few.submit(os.getpid, key=("ended", 0))
        until = time.monotonic() + 30
        while not ended.done():
            assert time.monotonic() < until
        real.workers[0].kill()
        real.wait_for_workers(1)
        with pytest.raises(ClusterError, match="have left with a result"):
            few.get_result(ended)


@pytest.mark.slow
def test_ctrl_c_takes_back_what_was_handed_out(
    holed_scene: Path, dask_cluster: RealCluster, tmp_path: Path
) -> None:
    out = tmp_path / "out.tif"
    words = [
        "translate", holed_scene / "scene.tif", "--task", holed_scene / "noisy.safetensors",
        "-o", out, "--tile", TILE, "--precision", "float32", "--no-preview",
        "--cluster", dask_cluster.address,
    ]  # fmt: skip
    process = subprocess.Popen(
        [sys.executable, "-m", "geotrans", *map(str, words)], stderr=subprocess.PIPE, text=True
    )
    _at(out, 5, lambda: process.send_signal(signal.SIGINT)).join()
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err.split(";")[0]) == (130, "interrupted")
    with connect(dask_cluster.address) as cluster:
        assert is_left_empty(cluster.client)
        assert len(cluster.workers) == 2
    assert not list(out.parent.rglob("errand-*"))
    assert _make(holed_scene, out, cluster=dask_cluster.address).n_resumed >= 5
    assert _is_whole(holed_scene, out)


def test_an_address_that_does_not_answer(
    holed_scene: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connecting, "_CONNECT_S", 1)
    with pytest.raises(ClusterError, match=r"no Dask scheduler answers at tcp://127.0.0.1:9 "):
        _make(holed_scene, tmp_path / "out.tif", cluster="tcp://127.0.0.1:9")


def test_an_address_of_something_that_says_nothing(
    holed_scene: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connecting, "_CONNECT_S", 1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"tcp://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(ClusterError, match="no Dask scheduler answers"):
            _make(holed_scene, tmp_path / "out.tif", cluster=address)


@pytest.mark.slow
def test_a_cluster_without_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import dask

    monkeypatch.setattr(connecting, "_FIRST_WORKER_S", 1)
    with real_cluster(tmp_path / "cluster", workers=0) as cluster:
        told = rf"has no workers, and none came within 1 s; start some, .*{cluster.address} say"
        with pytest.raises(ClusterError, match=told), connect(cluster.file):
            pass
        # As a queue of jobs may want it.
        with (
            dask.config.set({"distributed.scheduler.no-workers-timeout": "2s"}),
            pytest.raises(ClusterError, match="none came within 2 s"),
            connect(cluster.file),
        ):
            pass


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("raise ImportError('no such thing')", r"cannot import geotrans \(ImportError: no such"),
        ("__version__ = '0.0.9'", "has geotrans 0.0.9, and .* runs here"),
    ],
)
def test_a_worker_with_another_geotrans_or_none(
    dask_cluster: RealCluster, tmp_path: Path, code: str, told: str
) -> None:
    (tmp_path / "geotrans").mkdir()
    (tmp_path / "geotrans" / "__init__.py").write_text(code)
    with (
        dask_cluster.one_more(env={"PYTHONPATH": str(tmp_path)}),
        pytest.raises(ClusterError, match=told),
        connect(dask_cluster.address),
    ):
        pass


@pytest.mark.slow
def test_a_worker_that_does_not_see_the_folder(
    holed_scene: Path, dask_cluster: RealCluster, tmp_path: Path
) -> None:
    """It runs where another disk is mounted over the product's folder."""
    out = tmp_path / "here" / "out.tif"
    out.parent.mkdir()
    mounting = f"mount -t tmpfs none {out.parent}"
    alone = ("unshare", "--mount", "sh", "-c")
    tried = [*alone, mounting]
    if not shutil.which("unshare") or subprocess.run(tried, capture_output=True).returncode:
        pytest.skip("mounting needs root")
    with (
        dask_cluster.one_more(before=(*alone, f'{mounting} && exec "$@"', "sh")),
        pytest.raises(OutputError, match=r"worker tcp\S* does not see .*out\.tif\.parts"),
    ):
        _make(holed_scene, out, cluster=dask_cluster.address)
    assert not list(out.parent.iterdir())


def test_a_scene_or_bundle_that_is_another_there(
    holed_scene: Path, dask_cluster: RealCluster, tmp_path: Path
) -> None:
    """What a job was planned with changes before it is sent."""
    for name in ("scene.tif", "noisy.safetensors"):
        shutil.copy(holed_scene / name, tmp_path / name)
    job = _job(tmp_path)
    parts = Parts.beside(tmp_path / "out.tif")
    parts.begin(job, overwrite=False)
    work = TileWriter(job, parts)
    with connect(dask_cluster.address) as cluster:
        random_bundle(tmp_path / "noisy.safetensors", noise=(1, 4), gsd_m=(0.6, 0.6))
        with pytest.raises(BundleError, match=r"worker .*noisy.safetensors changed while"):
            cluster.run(work, [(0, 0)], on_done=print)
        (tmp_path / "noisy.safetensors").unlink()
        with pytest.raises(BundleError, match=r"worker .*noisy.safetensors is not here"):
            cluster.run(work, [(0, 0)], on_done=print)
        write_scene(tmp_path / "scene.tif", shape=(50, 50), gsd_m=0.6)
        with pytest.raises(SceneError, match=r"worker .*scene.tif has \d+ bytes here and \d+"):
            cluster.run(work, [(0, 0)], on_done=print)
    assert [p.name for p in parts.folder.iterdir()] == ["run.json"]


def test_a_result_nobody_wants_any_more_is_not_written(holed_scene: Path, tmp_path: Path) -> None:
    claim = tmp_path / "errand"
    work = TileWriter(_job(holed_scene), Parts(tmp_path)).for_worker(1, claim=claim)
    with pytest.raises(OutputError, match="is over"):
        work((0, 0))
    assert not list(tmp_path.iterdir())
    claim.touch()
    work((0, 0))
    assert len(list(tmp_path.iterdir())) == 2


def test_a_late_worker_of_another_version_refuses(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match=r"geotrans 9\.9 sent the work"):
        WorkFile(tmp_path / "errand", "", version="9.9").read()


class _Answers(Cluster):
    """Workers that say what they have."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)

    def call_on_workers(self, function: Any, *words: Any, workers: Any = None) -> dict[str, Any]:
        return {f"tcp://node{i}:1": one for i, one in enumerate(self.answers.pop(0))}


def test_all_workers_compute_on_one_kind_of_device() -> None:
    assert shared_device(_Answers(["cuda:0", "cuda:0"]), "auto") == "cuda:0"
    with pytest.raises(ClusterError, match=r"1 of 3 workers have no GPU \(tcp://node1:1\)"):
        shared_device(_Answers(["cuda:0", "cpu", "cuda:0"]), "auto")


def test_a_device_a_worker_lacks_is_told(dask_cluster: RealCluster) -> None:
    with (
        connect(dask_cluster.address) as cluster,
        pytest.raises(DeviceError, match=r"worker tcp\S* \(and 1 of 2 more\): asked for cuda:7"),
    ):
        shared_device(cluster, "cuda:7")


@pytest.mark.parametrize(
    ("answers", "precision"),
    [
        ([[True, False]], "float32"),
        ([[True, True], ["bfloat16", "bfloat16"]], "bfloat16"),
        ([[True, True], ["bfloat16", "float32"]], "float32"),
    ],
)
def test_all_workers_compute_in_one_precision(answers: Any, precision: str) -> None:
    asked: dict[str, Any] = {"bundle": None, "device": "cpu", "norm": None}
    assert shared_precision(_Answers(*answers), "auto", **asked) == precision
    assert shared_precision(_Answers(), "float32", **asked) == "float32"


@pytest.mark.parametrize(
    ("choices", "told"),
    [
        ({"cluster": "nowhere"}, "neither an address such as tcp://host:8786 nor"),
        ({"cluster": "/no/scheduler.json"}, "neither an address"),
        ({"cluster": "tcp://host:1", "workers": 2}, "workers of its own"),
    ],
)
def test_what_cannot_be_meant(holed_scene: Path, tmp_path: Path, choices: Any, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        _make(holed_scene, tmp_path / "out.tif", **choices)
