"""Translation of the scenes of an archive: in this process, or on workers of a Dask cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from geotrans.archive.scene_task import (
    SceneResult,
    SceneTask,
    SceneWork,
    Setup,
    prepare,
    translate_scene,
)
from geotrans.errors import TilingError, message_of, option
from geotrans.execution.cluster import Cluster, make_label
from geotrans.execution.work import submit_items
from geotrans.execution.work_file import WorkFile, run_item
from geotrans.tasks import NormStatistics
from geotrans.translation.devices import shared_device, shared_precision
from geotrans.translation.norm_statistics import needs_samples

# Returns the next scene, or None if there is none now; receives the result of one.
Take = Callable[[], SceneTask | None]
Done = Callable[[SceneTask, SceneResult], None]


def resolve_settings(setup: Setup, cluster: Cluster | None) -> Setup:
    """Choose one device and one precision for all scenes.

    Raises:
        GeotransError: If no scene could be translated.
    """
    bundle, pixels = setup.bundle, setup.pixels
    if cluster is None:
        return replace(setup, pixels=replace(pixels, precision=prepare(setup)))
    if (stats := pixels.norm_stats) is not None and Path(stats).exists():
        stats = Path(stats).absolute()  # Workers have another current directory.
    # Which precision is faster does not depend on the statistics.
    norm = NormStatistics("tile") if needs_samples(bundle.spec, stats) else None
    device = shared_device(cluster, setup.run.device)
    precision = shared_precision(cluster, pixels.precision, bundle=bundle, device=device, norm=norm)
    return replace(
        setup,
        pixels=replace(pixels, norm_stats=stats, precision=precision),
        run=replace(setup.run, device=device),
    )


@contextmanager
def serve_scenes(
    setup: Setup, cluster: Cluster | None, *, folder: Path, name: str, sample: str | None
) -> Iterator[Callable[[Take, Done], None]]:
    """Prepare workers, each of which translates one scene at a time.

    Args:
        setup: Settings of all scenes, resolved.
        cluster: Cluster of the workers; None for this process.
        folder: Folder of the products, which every worker must see.
        name: What the name of the work's file in that folder begins with.
        sample: One of the scenes' files, which every worker must see, too.

    Yields:
        A function that translates until no scene is left and none is running.

    Raises:
        ClusterError: If the cluster is lost meanwhile.
        GeotransError: If a worker cannot do the work; says which.
    """
    if cluster is None:
        yield lambda take, done: _run_here(setup, take, done)
        return
    work = SceneWork(setup, folder, sample)
    try:
        with cluster.serve(work, name=name) as work_file:
            label = make_label(work)
            yield lambda take, done: _run_on_workers(cluster, work_file, label, take, done)
    except TilingError as error:
        raise TilingError(
            f"of {option('memory')} each process has a share: {message_of(error)}"
        ) from error


def _run_here(setup: Setup, take: Take, done: Done) -> None:
    while (task := take()) is not None:
        done(task, translate_scene(setup, task))


def _run_on_workers(
    cluster: Cluster, work_file: WorkFile, label: str, take: Take, done: Done
) -> None:
    # Dask assigns each scene to the least busy worker. If a worker were named, the scene of a dead
    # one would wait for it, and never move to those that come when all have died.
    submit_items(
        lambda task: cluster.submit(
            run_item, work_file, task, key=(label, task.entry.key, task.tries)
        ),
        take,
        capacity=lambda: max(1, len(cluster.workers)),
        on_done=lambda task, future: done(task, _get_result(cluster, future)),
        cancel=cluster.cancel,
        cancel_stranded=cluster.cancel_stranded,
    )


def _get_result(cluster: Cluster, future: Any) -> SceneResult:
    """Result of a scene. Any error raised here concerns the cluster, not the scene."""
    from distributed import KilledWorker

    try:
        result: SceneResult = cluster.get_result(future)
    except KilledWorker:
        reason = (
            "the processes that worked on it were killed one after another, most likely for want "
            f"of memory; give fewer {option('workers')} or a smaller {option('memory')}"
        )
        return SceneResult("failed", kind="ClusterError", reason=reason, is_final=True)
    return result
