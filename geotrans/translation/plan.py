"""Everything that decides the pixels of a product, settled before the first of them."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from geotrans.errors import TilingError, UsageError
from geotrans.execution.cluster import Cluster
from geotrans.grid import (
    TilePlan,
    Window,
    bbox_window,
    ground_anchor,
    ground_coordinates,
    plan_tiles,
)
from geotrans.parts import As, product_layout
from geotrans.parts.parts import plan_of
from geotrans.runtime.memory import parse_bytes, resident_bytes
from geotrans.runtime.process import n_cores
from geotrans.scene import Scene, expand_palette, match_bands, parse_mapping
from geotrans.tasks import Bundle, NormStatistics
from geotrans.tasks.domain import as_task_classes, check_domain, check_gsd
from geotrans.translation import Job
from geotrans.translation.budget import default_tile, tile_within, with_halo
from geotrans.translation.devices import shared_device, shared_precision
from geotrans.translation.halo import measure_halo
from geotrans.translation.norm_statistics import settle_norms, wants_samples
from geotrans.translation.translators import NetworkSettings, cache_translator, prepare_translator

if TYPE_CHECKING:
    from geotrans.inference import Translator

_log = logging.getLogger(__name__)


def plan_job(
    source: Scene,
    bundle: Bundle,
    *,
    bbox: tuple[float, float, float, float] | None = None,
    bands: Mapping[str, int | str] | str | None = None,
    as_: As = "rgb",
    seed: int = 0,
    tile: int | None = None,
    halo: int | None = None,
    memory: int | str | None = None,
    workers: int = 1,
    cluster: Cluster | None = None,
    device: str = "auto",
    precision: str = "auto",
    any_gsd: bool = False,
    any_values: bool = False,
    any_style: bool = False,
    norm_stats: str | os.PathLike[str] | None = None,
    recorded: Mapping[str, Any] | None = None,
    reads: bool = True,
) -> Job:
    """Settle everything that decides the pixels of a product; arguments as in `translate`.

    What is left open is done as in `recorded`, the fingerprint of a run that was stopped. With
    `reads=False` no pixel of the source is looked at: its values are not checked, what a short
    halo costs is not measured, and statistics that norms want of the scene are left out.
    """
    from geotrans.inference import pick_device

    if workers < 1:
        raise UsageError(f"asked for {workers} workers; give at least 1")
    spec, recorded = bundle.spec, recorded or {}
    if source.colormap is not None and len(spec.source) > 1:
        source = expand_palette(source)
    source = as_task_classes(spec, source)
    # A task that must know where a pixel lies finds out now whether it can.
    ground_coordinates(source.geobox, Window(0, 0, 1, 1), spec.coordinates)
    for note in source.notes:
        _log.warning("%s: %s", source.name, note)
    if isinstance(bands, str):
        bands = parse_mapping(bands, spec.source)
    if memory is not None:
        memory = parse_bytes(memory)
    found = match_bands(source, spec.source, bands, task=spec.name)
    area = Window.whole(source.shape) if bbox is None else bbox_window(source.geobox, bbox)
    if reads:
        check_domain(
            spec, source, found, area=area,
            any_gsd=any_gsd, any_values=any_values, any_style=any_style,
        )  # fmt: skip
    elif not any_gsd:
        check_gsd(spec, source)
    layout = product_layout(spec, source, found, as_=as_)
    if precision == "auto" and recorded.get("weights") == bundle.sha256:
        precision = recorded.get("precision", precision)
    n_workers = workers if cluster is None else len(cluster.workers)
    # This process plans; where there is a cluster, it need not have what its workers have.
    asked, device = device, device if cluster is None else "auto"
    here = there = str(pick_device(device))
    if cluster is not None:
        there = shared_device(cluster, asked)
    base, anchor = resident_bytes(), ground_anchor(source.geobox)
    whole = plan_tiles(
        source.shape, tile=max(source.shape), halo=spec.halo, align=spec.align, anchor=anchor
    )
    draft = Job(source, found, whole, bundle, layout, here, "float32", seed, as_)
    is_open = not reads and wants_samples(spec, norm_stats)
    norm = None
    if not is_open:
        norm = settle_norms(draft, asked=norm_stats, memory=memory, recorded=recorded)
    if cluster is not None:
        precision = shared_precision(cluster, precision, bundle=bundle, device=there, norm=norm)
    # Any statistics do to find out which precision is faster.
    settings = NetworkSettings(
        bundle, device, precision if cluster is None else "float32", seed, as_,
        norm=NormStatistics("tile") if is_open else norm,
    )  # fmt: skip
    translator, base = prepare_translator(settings, base=base)
    if tile is None and memory is not None:
        core = tile_within(
            memory, translator, base=base, dtype=str(source.dtype), workers=n_workers, halo=halo
        )
    else:
        core = default_tile(with_halo(spec, halo)) if tile is None else tile
    plan = plan_tiles(
        source.shape,
        tile=core,
        halo=spec.halo if halo is None else halo,
        align=spec.align,
        area=area,
        anchor=anchor,
    )
    before = plan_of(recorded)
    if tile is None and before is not None and _lattice(before) == _lattice(plan):
        plan = before
    job = Job(
        source, found, plan, bundle, layout, here, translator.precision,
        seed, as_, threads=None if workers == 1 else max(1, n_cores() // workers),
        norm=norm,
    )  # fmt: skip
    if not is_open:
        cache_translator(job.settings, translator)
    if reads and plan.halo < spec.halo:
        job = _approximated(job, translator, memory, base)
    return job if cluster is None else replace(job, device=there, precision=precision)


def plan_same(
    job: Job,
    source: Scene,
    *,
    any_values: bool = False,
    any_style: bool = False,
    norm_stats: str | os.PathLike[str] | None = None,
    reads: bool = True,
) -> Job:
    """The same for another scene on the same grid, with the same bands in the same order."""
    source = as_task_classes(job.spec, source)
    job = replace(job, scene=source)
    if not reads:
        return job
    check_domain(
        job.spec, source, job.bands, area=job.plan.area,
        any_gsd=True, any_values=any_values, any_style=any_style,
    )  # fmt: skip
    return replace(job, norm=settle_norms(job, asked=norm_stats, memory=None, recorded={}))


def _approximated(job: Job, translator: Translator, memory: int | None, base: int) -> Job:
    """The job with what its short halo costs, measured and told."""
    exact_tile = None
    if memory is not None:
        dtype = str(job.scene.dtype)
        try:
            exact_tile = tile_within(memory, translator, base=base, dtype=dtype, workers=1)
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


def _lattice(plan: TilePlan) -> tuple[object, ...]:
    """What of a plan does not depend on the size of its tiles."""
    return plan.area, plan.halo, plan.align, plan.anchor
