"""Cost of an archive, estimated before it is begun: from headers and a few of its scenes."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Unpack

from geotrans.archive.batch import BatchKeywords
from geotrans.archive.catalogue import describe_product
from geotrans.archive.inputs import Bands, Entry, ItemOptions, select_entries
from geotrans.archive.location import Location
from geotrans.errors import ClusterError, GeotransError
from geotrans.execution.cluster import Cluster
from geotrans.product.cog.driver import cog_options
from geotrans.product.destination import format_size
from geotrans.runtime.progress import format_duration
from geotrans.scene import Scene, match_bands
from geotrans.scene.stac import Mask
from geotrans.tasks import Bundle, TaskSpec, open_bundle
from geotrans.tasks.domain import as_task_classes, check_domain
from geotrans.translation.estimate import Estimate, estimate_job
from geotrans.translation.options import (
    PixelOptions,
    RunOptions,
    join_options,
    split_options,
    take_options,
)
from geotrans.translation.plan import plan_job
from geotrans.translation.translate import translate

# Headers read at a time.
_N_THREADS = 16

# Scenes that are measured, one for each group by size; and pixels up to which a scene is translated
# whole: most of the cost of a small one is not in its pixels.
_N_SAMPLES, _WHOLE_PX = 5, 2**20


@dataclass(frozen=True)
class ArchiveEstimate:
    """Cost of an archive.

    Attributes:
        task: The task.
        out: Folder of the products, or the URL that theirs begin with.
        n_scenes: Scenes that can be opened and have the bands of the task.
        n_px: Pixels of their products.
        refused: Reason why a scene cannot be translated, by the scene.
        seconds: Time it takes, measured on small scenes and on tiles of large ones: in one process,
            or on all workers of a cluster.
        output_bytes: Size of the products, measured on the same.
        memory_bytes: Largest memory of all processes.
        workers: Processes that would translate. Those of one machine share its cores, so that they
            save time where scenes are read slowly or are small, and little where the network works.
        probe: What was found on the scene of middle size; None if there is none.
    """

    task: str
    out: str
    n_scenes: int
    n_px: int
    refused: dict[str, str]
    seconds: float
    output_bytes: int
    memory_bytes: int
    workers: int
    probe: Estimate | None

    def to_dict(self) -> dict[str, Any]:
        """The same, for JSON."""
        return asdict(self)

    def __str__(self) -> str:
        """A line for each thing a user wants to know."""
        lines = {
            "scenes": f"{self.n_scenes} of {self.n_px / 1e6:.1f} Mpx"
            + (f", and {len(self.refused)} that would fail" if self.refused else ""),
            "task": self.task,
        }
        if self.probe is not None:
            plural = "es" * (self.workers > 1)
            lines |= {
                "time": f"about {format_duration(self.seconds)}",
                "memory": f"about {format_size(self.memory_bytes)} in "
                f"{self.workers} process{plural}",
                "output": f"{self.out}: about {format_size(self.output_bytes)}",
            }
        report = [f"{name:<8}{text}" for name, text in lines.items()]
        return "\n".join(
            [*report, *(f"refused  {key}: {reason}" for key, reason in self.refused.items())]
        )


def estimate_archive(
    inputs: Iterable[str | os.PathLike[str]] | str | os.PathLike[str],
    task: str | os.PathLike[str] | Bundle,
    *,
    out: str | os.PathLike[str],
    creation_options: Mapping[str, str] | None = None,
    **options: Unpack[BatchKeywords],
) -> ArchiveEstimate:
    """Say what `batch` would cost with the same arguments, and write nothing.

    Raises:
        GeotransError: What concerns all scenes.
    """
    bundle = open_bundle(task)
    spec, location = bundle.spec, Location.parse(out)
    location.check()
    rest = dict(options)
    items = take_options(ItemOptions, rest)
    pixels, run = split_options(rest)
    bands, mask = pixels.band_mapping(spec), items.mask

    def check(entry: Entry) -> int | str:
        return _check_header(entry, spec, bands, mask, any_gsd=pixels.any_gsd)

    with run.open_cluster() as cluster:
        entries = select_entries(inputs, items, outside=location.folder)
        with ThreadPoolExecutor(_N_THREADS) as pool:
            checks = dict(zip(entries, pool.map(check, entries), strict=True))
        sizes = {entry: n for entry, n in checks.items() if isinstance(n, int)}
        refused = {entry.key: text for entry, text in checks.items() if isinstance(text, str)}
        n_workers = run.workers if cluster is None else len(cluster.workers)
        costs: list[tuple[float, _Cost]] = []
        for group in _split_by_size(sizes):
            for entry in _order_from_middle(group):
                try:
                    with entry.open(spec, bands, mask) as scene:
                        measure = partial(
                            _measure, entry, scene, bundle, location.folder,
                            pixels=replace(pixels, bands=entry.remaining_bands(bands)),
                            run=replace(run, workers=n_workers, cluster=None),
                            creation_options=creation_options,
                        )  # fmt: skip
                        cost = (
                            measure() if cluster is None else _measure_on_worker(cluster, measure)
                        )
                    costs.append((sum(group.values()) / group[entry], cost))
                    break
                except ClusterError:
                    raise
                except GeotransError as error:  # Its values, say; the next scene may be fine.
                    refused[entry.key] = str(error)
                    del sizes[entry], group[entry]
    seconds = sum(share * cost.seconds for share, cost in costs)
    return ArchiveEstimate(
        task=bundle.spec.name,
        out=str(location),
        n_scenes=len(sizes),
        n_px=sum(sizes.values()) * bundle.spec.scale**2,
        refused=refused,
        seconds=seconds if cluster is None else seconds / n_workers,
        output_bytes=round(sum(share * cost.n_bytes for share, cost in costs)),
        memory_bytes=max((cost.estimate.memory_bytes for _, cost in costs), default=0),
        workers=n_workers,
        probe=costs[len(costs) // 2][1].estimate if costs else None,
    )


def _check_header(
    entry: Entry, spec: TaskSpec, bands: Bands, mask: Mask | None, *, any_gsd: bool
) -> int | str:
    """Pixels of a scene, or why it cannot be translated, by its header."""
    try:
        with entry.open(spec, bands, mask) as scene:
            matches = match_bands(
                as_task_classes(spec, scene),
                spec.source,
                entry.remaining_bands(bands),
                task=spec.name,
            )
            if spec.source_classes is None:  # Classes can only be checked by pixels.
                check_domain(spec, scene, matches, any_gsd=any_gsd, any_values=True, any_style=True)
            return scene.shape[0] * scene.shape[1]
    except GeotransError as error:
        return str(error)


@dataclass(frozen=True)
class _Cost:
    """Cost of a scene: time, s, and bytes of its product."""

    estimate: Estimate
    seconds: float
    n_bytes: int


def _split_by_size(sizes: Mapping[Entry, int]) -> list[dict[Entry, int]]:
    """Split scenes into a few groups of similar size, smallest first."""
    ordered = sorted(sizes, key=lambda entry: sizes[entry])
    n, n_parts = len(ordered), min(_N_SAMPLES, len(ordered))
    cuts = [i * n // n_parts for i in range(n_parts)]
    return [
        {entry: sizes[entry] for entry in ordered[first:last]}
        for first, last in pairwise([*cuts, n])
    ]


def _order_from_middle(sizes: dict[Entry, int]) -> list[Entry]:
    """Scenes, those of middle size first."""
    ordered = sorted(sizes.values())
    return sorted(sizes, key=lambda entry: abs(sizes[entry] - ordered[len(ordered) // 2]))


def _measure_on_worker(cluster: Cluster, measure: Callable[..., _Cost]) -> _Cost:
    """Measure on one worker, with as many threads of the network as the worker has."""
    worker, threads = next(iter(cluster.workers.items()))
    return cluster.call_on_workers(partial(measure, threads=threads), workers=[worker])[worker]


def _measure(
    entry: Entry,
    scene: Scene,
    bundle: Bundle,
    folder: Path,
    *,
    pixels: PixelOptions,
    run: RunOptions,
    creation_options: Mapping[str, str] | None,
    threads: int | None = None,
) -> _Cost:
    """Measure the cost of one scene.

    Args:
        entry: The scene.
        scene: The same, open.
        bundle: The task.
        folder: Folder of its product.
        pixels: Options that determine pixels.
        run: Options that do not; its workers would have one scene each.
        creation_options: Options of GDAL's COG driver.
        threads: Threads of the network; its share of this machine's cores unless given.
    """
    job = plan_job(scene, bundle, pixels, run)
    if threads is not None:
        job = replace(job, threads=threads)
    path = folder / f"{scene.name}_{bundle.spec.name}.tif"
    options = cog_options(job.layout, creation_options)
    probe = estimate_job(job, path=path, options=options, workers=run.workers)
    start = time.perf_counter()  # The network is loaded already, as for most scenes.
    if math.prod(probe.shape) > _WHOLE_PX:
        plan_job(scene, bundle, pixels, run)
        return _Cost(probe, probe.seconds + time.perf_counter() - start, probe.output_bytes)
    with TemporaryDirectory() as name:
        product = Path(name) / path.name
        translate(
            scene, bundle, out=product, creation_options=creation_options,
            **join_options(pixels, replace(run, workers=1)),
        )  # fmt: skip
        describe_product(product, bundle, entry, scene)
        return _Cost(probe, time.perf_counter() - start, product.stat().st_size)
