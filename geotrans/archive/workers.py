"""Who works on the scenes of an archive: this process, or the workers of a Dask cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from geotrans.archive.scene_task import Order, Outcome, SceneWork, Setup, prepare, translate_scene
from geotrans.errors import TilingError
from geotrans.execution.cluster import Cluster, label_of
from geotrans.execution.work import hand_out
from geotrans.execution.work_file import Errand, perform
from geotrans.tasks import NormStatistics
from geotrans.translation.devices import shared_device, shared_precision
from geotrans.translation.norm_statistics import wants_samples

# Gives the next scene, or None if there is none now; is told what became of one.
Take = Callable[[], Order | None]
Done = Callable[[Order, Outcome], None]


def settle(setup: Setup, cluster: Cluster | None) -> Setup:
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
    norm = NormStatistics("tile") if wants_samples(bundle.spec, stats) else None
    device = shared_device(cluster, setup.run.device)
    precision = shared_precision(cluster, pixels.precision, bundle=bundle, device=device, norm=norm)
    return replace(
        setup,
        pixels=replace(pixels, norm_stats=stats, precision=precision),
        run=replace(setup.run, device=device),
    )


@contextmanager
def hired(
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
        yield lambda take, done: _work_here(setup, take, done)
        return
    work = SceneWork(setup, folder, sample)
    try:
        with cluster.serving(work, name=name) as errand:
            label = label_of(work)
            yield lambda take, done: _work_there(cluster, errand, label, take, done)
    except TilingError as error:
        raise TilingError(f"of --memory each process has a share: {error}") from error


def _work_here(setup: Setup, take: Take, done: Done) -> None:
    while (order := take()) is not None:
        done(order, translate_scene(setup, order))


def _work_there(cluster: Cluster, errand: Errand, label: str, take: Take, done: Done) -> None:
    # Dask gives each to the worker with the least to do. Asked for one, it would keep a scene of a
    # worker that has died for that one, and never give it to those that come when all have died.
    hand_out(
        lambda order: cluster.submit(
            perform, errand, order, key=(label, order.entry.key, order.tries)
        ),
        take,
        room=lambda: max(1, len(cluster.workers)),
        done=lambda order, future: done(order, _outcome(cluster, future)),
        cancel=cluster.cancel,
        stranded=cluster.stranded,
    )


def _outcome(cluster: Cluster, future: Any) -> Outcome:
    """What a scene has told. Whatever else is raised concerns the cluster, not the scene."""
    from distributed import KilledWorker

    try:
        outcome: Outcome = cluster.result(future)
    except KilledWorker:
        told = (
            "the processes that worked on it were killed one after another, most likely for want "
            "of memory; give fewer --workers or a smaller --memory"
        )
        return Outcome("failed", kind="ClusterError", reason=told, is_final=True)
    return outcome
