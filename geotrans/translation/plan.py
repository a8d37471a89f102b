"""Planning: everything that decides the pixels of a product, resolved before the first one."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from geotrans.errors import TilingError
from geotrans.execution.cluster import Cluster
from geotrans.grid import (
    TilePlan,
    Window,
    bbox_window,
    ground_anchor,
    ground_coordinates,
    plan_tiles,
)
from geotrans.parts import product_layout
from geotrans.parts.parts import read_plan
from geotrans.runtime.memory import parse_bytes, resident_bytes
from geotrans.runtime.process import n_cores
from geotrans.scene import Scene, expand_palette, mark_nodata, match_bands
from geotrans.tasks import Bundle, NormStatistics, TaskSpec
from geotrans.tasks.domain import as_task_classes, check_domain, check_gsd
from geotrans.translation import Job
from geotrans.translation.budget import default_tile, largest_tile, with_halo
from geotrans.translation.devices import shared_device, shared_precision
from geotrans.translation.halo import measure_halo
from geotrans.translation.norm_statistics import needs_samples, resolve_norms
from geotrans.translation.options import PixelOptions, RunOptions
from geotrans.translation.translators import cache_translator, prepare_translator

if TYPE_CHECKING:
    from geotrans.inference import Translator

_log = logging.getLogger(__name__)


def plan_job(
    source: Scene,
    bundle: Bundle,
    pixels: PixelOptions = PixelOptions(),
    run: RunOptions = RunOptions(),
    *,
    cluster: Cluster | None = None,
    bbox: tuple[float, float, float, float] | None = None,
    recorded: Mapping[str, Any] | None = None,
    reads: bool = True,
) -> Job:
    """Resolve everything that decides the pixels of a product.

    Args:
        source: The scene.
        bundle: Task and weights.
        pixels: Options that decide pixels.
        run: Options that do not.
        cluster: The cluster of `run`, open.
        bbox: `xmin, ymin, xmax, ymax` of the part to translate, lon-lat degrees.
        recorded: Fingerprint of a run that was stopped; what is left open is done as there.
        reads: Whether pixels of the source may be read. Else its values are not checked, what
            a short halo costs is not measured, and statistics that norms want of the scene are left
            out.
    """
    from geotrans.inference import pick_device

    spec, recorded = bundle.spec, recorded or {}
    memory = None if run.memory is None else parse_bytes(run.memory)
    source = _prepare_scene(spec, source, pixels)
    for note in source.notes:
        _log.warning("%s: %s", source.name, note)
    area = Window.whole(source.shape) if bbox is None else bbox_window(source.geobox, bbox)

    # This process plans; where there is a cluster, it need not have what its workers have.
    device = run.device if cluster is None else "auto"
    local_device = str(pick_device(device))
    run_device = local_device if cluster is None else shared_device(cluster, run.device)
    draft, base = _draft_job(source, bundle, pixels, area=area, device=local_device, reads=reads)
    is_deferred = not reads and needs_samples(spec, pixels.norm_stats)
    if not is_deferred:
        norm = resolve_norms(draft, norm_stats=pixels.norm_stats, memory=memory, recorded=recorded)
        draft = replace(draft, norm=norm)

    precision = pixels.precision
    if precision == "auto" and recorded.get("weights") == bundle.sha256:
        precision = recorded.get("precision", precision)
    if cluster is not None:
        precision = shared_precision(
            cluster, precision, bundle=bundle, device=run_device, norm=draft.norm
        )
    settings = replace(
        draft.settings,
        device=device,
        precision=precision if cluster is None else "float32",
        # Any statistics do to find out which precision is faster.
        norm=NormStatistics("tile") if is_deferred else draft.norm,
    )
    translator, base = prepare_translator(settings, base=base)

    core = _choose_core(translator, pixels, run, cluster, memory=memory, base=base, source=source)
    plan = plan_tiles(
        source.shape, tile=core, halo=spec.halo if pixels.halo is None else pixels.halo,
        align=spec.align, area=area, anchor=draft.plan.anchor,
    )  # fmt: skip
    recorded_plan = read_plan(recorded)
    if (
        run.tile is None
        and recorded_plan is not None
        and _ground_lattice(recorded_plan) == _ground_lattice(plan)
    ):
        plan = recorded_plan
    threads = None if run.workers == 1 else max(1, n_cores() // run.workers)
    job = replace(draft, plan=plan, precision=translator.precision, threads=threads)
    if not is_deferred:
        cache_translator(job.settings, translator)
    if reads and plan.halo < spec.halo:
        job = _measure_short_halo(job, translator, memory, base)
    return job if cluster is None else replace(job, device=run_device, precision=precision)


def plan_next(
    job: Job, source: Scene, pixels: PixelOptions = PixelOptions(), *, reads: bool = True
) -> Job:
    """The same for another scene on the same grid, with the same bands in the same order."""
    source = _prepare_scene(job.spec, source, pixels)
    job = replace(job, scene=source)
    if not reads:
        return job
    check_domain(
        job.spec, source, job.bands, area=job.plan.area,
        any_gsd=True, any_values=pixels.any_values, any_style=pixels.any_style,
    )  # fmt: skip
    return replace(
        job, norm=resolve_norms(job, norm_stats=pixels.norm_stats, memory=None, recorded={})
    )


def _prepare_scene(spec: TaskSpec, source: Scene, pixels: PixelOptions) -> Scene:
    """A scene as a task reads it: palettes as colours or classes, nodata as the user says it."""
    if pixels.nodata is not None:
        source = mark_nodata(source, pixels.nodata)
    if source.colormap is not None and len(spec.source) > 1:
        source = expand_palette(source)
    source = as_task_classes(spec, source)
    # A task that must know where a pixel lies finds out now whether it can.
    ground_coordinates(source.geobox, Window(0, 0, 1, 1), spec.coordinates)
    return source


def _draft_job(
    source: Scene,
    bundle: Bundle,
    pixels: PixelOptions,
    *,
    area: Window,
    device: str,
    reads: bool,
) -> tuple[Job, int]:
    """Bands and layout, over one tile as large as the scene; and the memory of this process now."""
    spec = bundle.spec
    bands = match_bands(source, spec.source, pixels.band_mapping(spec), task=spec.name)
    if reads:
        check_domain(
            spec, source, bands, area=area, any_gsd=pixels.any_gsd,
            any_values=pixels.any_values, any_style=pixels.any_style,
        )  # fmt: skip
    elif not pixels.any_gsd:
        check_gsd(spec, source)
    layout = product_layout(spec, source, bands, as_=pixels.as_)
    base = resident_bytes()
    plan = plan_tiles(
        source.shape, tile=max(source.shape), halo=spec.halo, align=spec.align,
        anchor=ground_anchor(source.geobox),
    )  # fmt: skip
    job = Job(
        source, bands, plan, bundle, layout, device, "float32", pixels.seed, pixels.as_,
        nodata=pixels.nodata,
    )  # fmt: skip
    return job, base


def _choose_core(
    translator: Translator,
    pixels: PixelOptions,
    run: RunOptions,
    cluster: Cluster | None,
    *,
    source: Scene,
    memory: int | None,
    base: int,
) -> int:
    """Core edge of a tile, px: as requested, or as the memory allows."""
    if run.tile is not None:
        return run.tile
    if memory is None:
        return default_tile(with_halo(translator.spec, pixels.halo))
    return largest_tile(
        memory, translator, base=base, dtype=str(source.dtype),
        workers=run.workers if cluster is None else len(cluster.workers), halo=pixels.halo,
    )  # fmt: skip


def _measure_short_halo(job: Job, translator: Translator, memory: int | None, base: int) -> Job:
    """The job with the error of its short halo, measured and logged."""
    exact_tile = None
    if memory is not None:
        dtype = str(job.scene.dtype)
        try:
            exact_tile = largest_tile(memory, translator, base=base, dtype=dtype, workers=1)
        except TilingError:
            _log.warning(
                "a halo of %d px instead of %d: what it costs was not measured, because the "
                "memory given has no room for a tile with all of it", job.plan.halo, job.spec.halo,
            )  # fmt: skip
            return job
    error = measure_halo(job, exact_tile=exact_tile)
    if error is not None:
        _log.warning("%s", error)
    return replace(job, halo_error=error)


def _ground_lattice(plan: TilePlan) -> tuple[object, ...]:
    """What of a plan does not depend on the size of its tiles."""
    return plan.area, plan.halo, plan.align, plan.anchor
