"""A scene in, a product out: the whole path on one screen."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geotrans.errors import OutputError, TilingError, UsageError
from geotrans.grid import (
    TilePlan,
    Window,
    bbox_window,
    ground_anchor,
    ground_coordinates,
    plan_tiles,
)
from geotrans.mosaicking import As, Job, Parts, product_layout
from geotrans.mosaicking.budget import (
    default_tile,
    parse_bytes,
    resident_bytes,
    tile_within,
    with_halo,
)
from geotrans.mosaicking.calibration import settle_norms, wants_samples
from geotrans.mosaicking.cluster import Cluster
from geotrans.mosaicking.connecting import reach, staff
from geotrans.mosaicking.devices import shared_device, shared_precision
from geotrans.mosaicking.graph import TileWriter
from geotrans.mosaicking.halo import measure_halo
from geotrans.mosaicking.job import adopt, ready_translator
from geotrans.mosaicking.parts import plan_of
from geotrans.mosaicking.run import n_cores
from geotrans.product.cog import cog_options
from geotrans.product.destination import check_space, destination
from geotrans.product.making import Progress, keeping, make_product, quiet_gdal
from geotrans.product.preview import Preview
from geotrans.product.survey import Survey, survey_job
from geotrans.product.tags import product_tags, xmp_packet
from geotrans.product.target import Target, deliver
from geotrans.scene import Scene, expand_palette, match_bands, open_scene, parse_mapping
from geotrans.tasks import Bundle, NormStatistics, open_bundle
from geotrans.tasks.domain import as_task_classes, check_domain, check_gsd

if TYPE_CHECKING:
    import xarray as xr

    from geotrans.inference import Translator
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Product:
    """A finished product.

    Attributes:
        path: The cloud-optimised GeoTIFF; its URL if it was uploaded.
        preview: Source beside product, if it was asked for.
        shape: `(height, width)`, px.
        n_tiles: Tiles it was made from.
        n_resumed: Of these, tiles a run before had finished.
        precision: Arithmetic the network ran in.
        device: Where it ran.
        seconds: From opening the scene to the end.
        network_s: Of these, time the network alone worked; added up over processes.
    """

    path: Path | str
    preview: Path | str | None
    shape: tuple[int, int]
    n_tiles: int
    n_resumed: int
    precision: str
    device: str
    seconds: float
    network_s: float

    def to_dict(self) -> dict[str, Any]:
        """The same, for JSON."""
        return {k: str(v) if isinstance(v, Path) else v for k, v in asdict(self).items()}


def translate(
    scene: str | os.PathLike[str] | xr.DataArray | Scene,
    task: str | os.PathLike[str] | Bundle,
    *,
    out: str | os.PathLike[str] | None = None,
    bbox: tuple[float, float, float, float] | None = None,
    bands: Mapping[str, int | str] | str | None = None,
    as_: As = "rgb",
    seed: int = 0,
    tile: int | None = None,
    halo: int | None = None,
    memory: int | str | None = None,
    workers: int = 1,
    cluster: str | os.PathLike[str] | Cluster | None = None,
    device: str = "auto",
    precision: str = "auto",
    any_gsd: bool = False,
    any_values: bool = False,
    any_style: bool = False,
    norm_stats: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    creation_options: Mapping[str, str] | None = None,
    preview: bool = False,
    progress: Progress | None = None,
) -> Product:
    """Translate a scene of any size into a cloud-optimised GeoTIFF on the same grid.

    A run that is stopped leaves its finished tiles in `<out>.parts/`; the same call goes on from
    there.

    Args:
        scene: Path, URL, `sample:NAME`, `DataArray` or open scene.
        task: Name of a task, or a bundle.
        out: File to write, or a URL such as `s3://bucket/key.tif` to upload it to; parts then lie
            in the current directory. `<stem>_<task>.tif` beside the source unless given.
        bbox: `xmin, ymin, xmax, ymax` of the part to translate, lon-lat degrees.
        bands: Position or description in the scene of a band the task reads, by its name there;
            or the same as text, `"nir=1,red=2"`.
        as_: `"classes"` for one band of class numbers, where the task draws a map.
        seed: Which of the equally plausible pictures, for tasks with noise.
        tile: Largest core edge of a tile, px; never changes the result.
        halo: Context to read around each tile, px; less than the network sees is an approximation,
            whose error is measured on one tile, told and recorded.
        memory: Budget for the whole run, bytes or `"1.5GB"`; sets the tile. Of a cluster, no more
            workers are used than are there when it begins.
        workers: Processes that translate.
        cluster: Address or scheduler file of a Dask cluster whose workers translate, or one that
            `geotrans.mosaicking.connecting.connect` opened. The product's folder must be theirs,
            too.
        device: `"auto"`, `"cpu"` or `"cuda"`.
        precision: `"auto"`, `"float32"` or `"bfloat16"`.
        any_gsd: Take pixels of a size the task has not seen.
        any_values: Take values the task has not seen.
        any_style: Take a map in a style the task has not seen.
        norm_stats: Where the norms of the network have their statistics from: `"scene"`, once from
            a fixed sample of it, as networks with instance norm do unless told otherwise;
            `"exact"`, from all of it; `"tile"`, from each tile; or a product whose statistics are
            used again.
        overwrite: Replace an existing product, and discard parts of another run.
        creation_options: Options of GDAL's COG driver.
        preview: Write a PNG of source beside product, too.
        progress: How to tell how far it is.

    Returns:
        Where the product is, and how it was made.

    Raises:
        GeotransError: One of its kinds, for everything that can be wrong with these arguments, the
            scene, the bundle or the place to write to.

    Examples:
        >>> import geotrans
        >>> place = (-115.9040, 34.7890, -115.9030, 34.7898)
        >>> product = geotrans.translate("sample:town", "map2aerial", bbox=place, out="aerial.tif")
        >>> product.path.name, product.n_tiles
        ('aerial.tif', 1)
    """
    started = time.monotonic()
    progress = progress or (lambda label, total: nullcontext(lambda done: None))
    with (
        quiet_gdal(),
        reach(cluster, workers=workers, is_budgeted=memory is not None) as crew,
    ):
        bundle = open_bundle(task)
        source = open_scene(scene)
        target = Target.of(out)
        path = destination(
            source, bundle.spec.name, out if target is None else target.local, overwrite=overwrite
        )
        if target is not None:
            target.check(overwrite=overwrite)
        picture = _preview_path(path, overwrite=overwrite) if preview else None
        parts = Parts.beside(path)
        with staff(crew, workers, imports=["geotrans.inference"]) as hands:
            job = plan_job(
                source, bundle, bbox=bbox, bands=bands, as_=as_, seed=seed, tile=tile, halo=halo,
                memory=memory, workers=workers, cluster=crew, device=device, precision=precision,
                any_gsd=any_gsd, any_values=any_values, any_style=any_style, norm_stats=norm_stats,
                recorded=parts.recorded(),
            )  # fmt: skip
            options = cog_options(job.layout, creation_options)
            check_space(path, job.n_px * job.layout.bytes_per_px)
            shown = Preview(job.scene, job.plan.area)
            parts.begin(job, overwrite=overwrite)
            with keeping(parts, job):
                done = make_product(
                    TileWriter(job, parts), path, options,
                    tags=product_tags(job), xmp=xmp_packet(), label="translating", staff=hands,
                    progress=progress, when_made=shown.look if preview else None,
                    deliver=None if target is None else partial(_upload, shown, target, picture),
                )  # fmt: skip
            parts.discard()
        if picture is not None and target is None:
            shown.write(path, picture)
    where = path if target is None else target.url
    seconds = time.monotonic() - started
    _log.info("%s in %.1f s, the network in %.1f s of them", where, seconds, done.network_s)
    return Product(
        path=where,
        preview=None
        if picture is None
        else picture
        if target is None
        else target.beside(".png").url,
        shape=(job.geobox.shape[0], job.geobox.shape[1]),
        n_tiles=len(job.plan),
        n_resumed=done.n_resumed,
        precision=job.precision,
        device=job.device,
        seconds=seconds,
        network_s=done.network_s,
    )


def survey(
    scene: str | os.PathLike[str] | xr.DataArray | Scene,
    task: str | os.PathLike[str] | Bundle,
    *,
    out: str | os.PathLike[str] | None = None,
    workers: int = 1,
    cluster: str | os.PathLike[str] | Cluster | None = None,
    overwrite: bool = False,
    creation_options: Mapping[str, str] | None = None,
    **choices: Any,
) -> Survey:
    """Say what `translate` would do with the same arguments, and write nothing."""
    with quiet_gdal(), reach(cluster, workers=workers) as crew:
        bundle, source = open_bundle(task), open_scene(scene)
        target = Target.of(out)
        path = destination(
            source, bundle.spec.name, out if target is None else target.local, overwrite=overwrite
        )
        recorded = Parts.beside(path).recorded()
        job = plan_job(source, bundle, workers=workers, cluster=crew, recorded=recorded, **choices)
        options = cog_options(job.layout, creation_options)
        if target is not None:
            target.check(overwrite=overwrite)
        where = path if target is None else target.url
        if crew is None:
            return survey_job(job, path=where, options=options, workers=workers)
        worker, threads = next(iter(crew.workers.items()))
        job = replace(job, threads=threads)
        measure = partial(
            survey_job, job, path=where, options=options, workers=len(crew.workers), is_apart=True
        )
        return crew.ask(measure, workers=[worker])[worker]


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
    translator, base = ready_translator(
        bundle, base=base, device=device, precision=precision if cluster is None else "float32",
        seed=seed, as_=as_,
        # Any statistics do to find out which precision is faster.
        norm=NormStatistics("tile") if is_open else norm,
    )  # fmt: skip
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
        adopt(job, translator)
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
                "a halo of %d px instead of %d: what it costs was not measured, because --memory "
                "has no room for a tile with all of it", job.plan.halo, job.spec.halo,
            )  # fmt: skip
            return job
    error = measure_halo(job, exact_tile=exact_tile)
    if error is not None:
        _log.warning("%s", error)
    return replace(job, halo_error=error)


def _upload(shown: Preview, target: Target, picture: Path | None, whole: Path) -> None:
    """Send a finished product, with its preview if it is to have one."""
    if picture is not None:
        picture = whole.with_suffix(".png")
        shown.write(whole, picture)
    deliver(whole, target, picture=picture)


def _preview_path(product: Path, *, overwrite: bool) -> Path:
    path = product.with_suffix(".png")
    if path.exists() and not overwrite:
        raise OutputError(f"{path} exists; replace it with --overwrite or leave out the preview")
    return path


def _lattice(plan: TilePlan) -> tuple[object, ...]:
    """What of a plan does not depend on the size of its tiles."""
    return plan.area, plan.halo, plan.align, plan.anchor
