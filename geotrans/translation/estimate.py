"""Cost of a translation, estimated from one tile: `geotrans translate --dry-run`."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from geotrans.errors import option, spell
from geotrans.grid import Tile, gsd_m
from geotrans.parts import Parts
from geotrans.product.cog.driver import cog_options, measure_cog
from geotrans.product.destination import Destination, format_size
from geotrans.runtime.gdal import GDAL_CACHE_BYTES, quiet_gdal
from geotrans.runtime.memory import PeakMemory, resident_bytes
from geotrans.runtime.progress import format_duration
from geotrans.scene import Scene, open_scene
from geotrans.tasks import Bundle, open_bundle
from geotrans.translation import Job
from geotrans.translation.budget import tile_bytes_per_px
from geotrans.translation.job import HaloError, translate_tile
from geotrans.translation.options import TranslationKeywords, split_options
from geotrans.translation.plan import plan_job

if TYPE_CHECKING:
    import xarray as xr


# Pixels computed per pixel of the product above which alternatives are suggested.
_HIGH_OVERHEAD = 3.0


@dataclass(frozen=True)
class Estimate:
    """Estimated cost and properties of a translation.

    Attributes:
        source: The scene.
        task: The task.
        output: The product's file.
        bands: Position in the scene of each band the task reads.
        gsd_m: Ground sampling distance, m; None without a CRS.
        shape: `(height, width)` of the product, px.
        n_tiles: Tiles to translate.
        window: `(height, width)` of what the network sees of each, px.
        halo: Context on each side of a core, px.
        exact_halo: Context the network sees on each side, px.
        halo_error: What less context than that costs, measured on one tile; None if it is exact.
        overhead: Pixels computed per pixel of the product.
        device: Where the network runs.
        precision: Arithmetic it runs in.
        seed: Which of the equally plausible pictures.
        workers: Processes that translate.
        raw_bytes: Size of the product's pixels.
        output_bytes: Size of the product, measured on one tile; overviews included.
        memory_bytes: Largest memory of all processes, measured on one tile.
        seconds: Time it takes, measured on one tile.
    """

    source: str
    task: str
    output: str
    bands: dict[str, int]
    gsd_m: float | None
    shape: tuple[int, int]
    n_tiles: int
    window: tuple[int, int]
    halo: int
    exact_halo: int
    halo_error: HaloError | None
    overhead: float
    device: str
    precision: str
    seed: int
    workers: int
    raw_bytes: int
    output_bytes: int
    memory_bytes: int
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """The same, for JSON."""
        return asdict(self)

    def _context(self) -> str:
        """What the halo costs, in pixels or in accuracy."""
        cost = f"{self.overhead:.2f} px computed per px"
        if self.halo < self.exact_halo:
            return f"{cost}; not exact: {self.halo_error or 'not measured'}"
        if self.overhead > _HIGH_OVERHEAD:
            return spell(
                f"{cost} to be exact; a larger {option('tile')} computes less, or a smaller "
                f"{option('halo')}, whose error is then measured"
            )
        return cost

    def __str__(self) -> str:
        """A line for each thing a user wants to know."""
        height, width = self.shape
        size = "unknown" if self.gsd_m is None else f"{self.gsd_m:.4g} m"
        bands = ", ".join(f"{name} = band {index}" for name, index in self.bands.items())
        window = f"{self.window[1]} x {self.window[0]}"
        lines = {
            "scene": f"{self.source}: {width} x {height} px of {size}",
            "task": f"{self.task}, {self.precision} on {self.device}, seed {self.seed}",
            "bands": bands,
            "tiles": f"{self.n_tiles} in windows of {window} px, halo {self.halo} px, "
            f"{self._context()}",
            "memory": f"about {format_size(self.memory_bytes)} with {self.workers} "
            f"worker{'s' * (self.workers > 1)}",
            "time": f"about {format_duration(self.seconds)}",
            "output": f"{self.output}: about {format_size(self.output_bytes)} "
            f"({format_size(self.raw_bytes)} of pixels)",
        }
        return "\n".join(f"{name:<8}{text}" for name, text in lines.items())


def estimate_job(
    job: Job, *, path: Path | str, options: Mapping[str, str], workers: int, is_apart: bool = False
) -> Estimate:
    """Translate one tile in the middle of the plan, keep nothing of it, and extrapolate.

    Args:
        job: What would be done.
        path: File it would make.
        options: Creation options of the product.
        workers: Processes that would translate.
        is_apart: Whether each has its own cores or GPU, as on a cluster.
    """
    tile = _middle_tile(job)
    idle_bytes = resident_bytes()
    with PeakMemory() as peak:
        translate_tile(job, tile)  # The first pass also loads kernels.
        started = time.perf_counter()
        patch = translate_tile(job, tile)
        tile_seconds = time.perf_counter() - started
    core, raw_bytes = job.product_window(tile), job.n_px * job.layout.bytes_per_px
    cog_bytes, cog_seconds = (0, 0.0) if patch is None else measure_cog(patch, job.layout, options)
    share = job.n_px / (core.width * core.height)
    height, width = job.plan.window_shape
    per_px = tile_bytes_per_px(job.spec, str(job.scene.dtype), job.device, job.precision)
    pending_bytes = per_px * height * width
    one_process = peak.n_bytes + GDAL_CACHE_BYTES + pending_bytes
    return Estimate(
        source=job.scene.public_uri,
        task=job.spec.name,
        output=str(path),
        bands=dict(zip((b.name for b in job.spec.source), job.bands, strict=True)),
        gsd_m=gsd_m(job.scene.geobox),
        shape=job.shape,
        n_tiles=len(job.plan),
        window=job.plan.window_shape,
        halo=job.plan.halo,
        exact_halo=job.spec.halo,
        halo_error=job.halo_error,
        overhead=round(job.plan.overhead, 3),
        device=job.device,
        precision=job.precision,
        seed=job.seed,
        workers=workers,
        raw_bytes=raw_bytes,
        output_bytes=math.ceil(cog_bytes * share),
        memory_bytes=math.ceil(one_process if workers == 1 else idle_bytes + workers * one_process),
        seconds=len(job.plan) * tile_seconds / (workers if is_apart else 1) + share * cog_seconds,
    )


def _middle_tile(job: Job) -> Tile:
    return job.plan.tile(job.plan.n_rows // 2, job.plan.n_cols // 2)


def estimate(
    scene: str | os.PathLike[str] | xr.DataArray | Scene,
    task: str | os.PathLike[str] | Bundle,
    *,
    out: str | os.PathLike[str] | None = None,
    bbox: tuple[float, float, float, float] | None = None,
    overwrite: bool = False,
    creation_options: Mapping[str, str] | None = None,
    **options: Unpack[TranslationKeywords],
) -> Estimate:
    """Say what `translate` would do with the same arguments, and write nothing."""
    pixels, run = split_options(options)
    with quiet_gdal(), run.open_cluster() as cluster:
        bundle, source = open_bundle(task), open_scene(scene)
        destination = Destination.choose(source, bundle.spec.name, out, overwrite=overwrite)
        recorded = Parts.beside(destination.path).read_fingerprint()
        job = plan_job(source, bundle, pixels, run, cluster=cluster, bbox=bbox, recorded=recorded)
        cog = cog_options(job.layout, creation_options)
        if cluster is None:
            return estimate_job(job, path=destination.url, options=cog, workers=run.workers)
        worker, threads = next(iter(cluster.workers.items()))
        measure = partial(
            estimate_job, replace(job, threads=threads), path=destination.url, options=cog,
            workers=len(cluster.workers), is_apart=True,
        )  # fmt: skip
        return cluster.call_on_workers(measure, workers=[worker])[worker]
