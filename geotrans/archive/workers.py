"""Who works on the scenes of an archive: this process, or the workers of a Dask cluster."""

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

# Gives the next scene, or None if there is none now; is told what became of one.
Take = Callable[[], SceneTask | None]
Done = Callable[[SceneTask, SceneResult], None]


def resolve_settings(setup: Setup, cluster: Cluster | None) -> Setup:
    """Choose one device and one precision for all scenes.

    Raises:
        GeotransError: What would go wrong with every scene.
    """
    bundle, pixels = setup.bundle, setup.pixels
    if cluster is None:
        return replace(setup, pixels=replace(pixels, precision=prepare(setup)))
    if (stats := pixels.norm_stats) is not None and Path(stats).exists():
        stats = Path(stats).absolute()  # A worker is in another directory.
    # Any statistics do to find out which precision is faster.
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
    """Workers that are ready, of which each translates one scene at a time.

    Args:
        setup: What all scenes have in common, settled.
        cluster: Whose workers; None works in this process.
        folder: Where the products are, which every worker must see.
        name: What a file that tells workers of the work is called by there.
        sample: A file to be translated, which every worker must see, too.

    Yields:
        A function that works until there is nothing to take and nothing on its way.

    Raises:
        ClusterError: If the cluster is lost meanwhile.
        GeotransError: If a worker cannot do the work; says which.
    """
    if cluster is None:
        yield lambda take, done: _run_here(setup, take, done)
        return
    work = SceneWork(setup, folder, sample)
    try:
        with cluster.serve(work, name=name) as errand:
            label = make_label(work)
            yield lambda take, done: _run_on_workers(cluster, errand, label, take, done)
    except TilingError as error:
        raise TilingError(
            f"of {option('memory')} each process has a share: {message_of(error)}"
        ) from error


def _run_here(setup: Setup, take: Take, done: Done) -> None:
    while (order := take()) is not None:
        done(order, translate_scene(setup, order))


def _run_on_workers(cluster: Cluster, errand: WorkFile, label: str, take: Take, done: Done) -> None:
    # Dask gives each to the worker with the least to do. Asked for one, it would keep a scene of a
    # worker that has died for that one, and never give it to those that come when all have died.
    submit_items(
        lambda order: cluster.submit(
            run_item, errand, order, key=(label, order.entry.key, order.tries)
        ),
        take,
        capacity=lambda: max(1, len(cluster.workers)),
        on_done=lambda order, future: done(order, _get_result(cluster, future)),
        cancel=cluster.cancel,
        cancel_stranded=cluster.cancel_stranded,
    )


def _get_result(cluster: Cluster, future: Any) -> SceneResult:
    """What a scene has told. Whatever else is raised concerns the cluster, not the scene."""
    from distributed import KilledWorker

    try:
        outcome: SceneResult = cluster.get_result(future)
    except KilledWorker:
        told = (
            "the processes that worked on it were killed one after another, most likely for want "
            f"of memory; give fewer {option('workers')} or a smaller {option('memory')}"
        )
        return SceneResult("failed", kind="ClusterError", reason=told, is_final=True)
    return outcome
