"""A scene in, a product out: the whole path on one screen."""

from __future__ import annotations

import logging
import os
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rasterio
from rasterio.errors import NotGeoreferencedWarning

from geotrans.errors import GeotransError, OutputError, SceneError, TilingError, UsageError
from geotrans.grid import (
    TilePlan,
    Window,
    bbox_window,
    ground_anchor,
    ground_coordinates,
    plan_tiles,
)
from geotrans.mosaicking import As, Job, Parts, product_layout
from geotrans.mosaicking.assemble import has_gaps, write_vrt
from geotrans.mosaicking.budget import (
    GDAL_CACHE_BYTES,
    default_tile,
    in_flight,
    resident_bytes,
    tile_within,
    with_halo,
)
from geotrans.mosaicking.calibration import settle_norms
from geotrans.mosaicking.graph import Receipt, lazy_parts
from geotrans.mosaicking.halo import measure_halo
from geotrans.mosaicking.job import adopt
from geotrans.mosaicking.parts import plan_of
from geotrans.mosaicking.run import n_cores, run_tiles
from geotrans.product.cog import cog_options, publish, write_cog
from geotrans.product.destination import check_space, destination
from geotrans.product.encode import can_follow
from geotrans.product.preview import write_preview
from geotrans.product.stream import CogStream
from geotrans.product.survey import Survey, survey_job
from geotrans.product.tags import product_tags, xmp_packet
from geotrans.scene import Scene, expand_palette, match_bands, open_scene
from geotrans.tasks import Bundle, load_bundle
from geotrans.tasks.domain import as_task_classes, check_domain

if TYPE_CHECKING:
    import xarray as xr

    from geotrans.inference import Translator

_log = logging.getLogger(__name__)

# `progress("translating", n_px)` gives a context; its value is called with each number of px done.
Progress = Callable[[str, int], AbstractContextManager[Callable[[int], None]]]


@dataclass(frozen=True)
class Product:
    """A finished product.

    Attributes:
        path: The cloud-optimised GeoTIFF.
        preview: Source beside product, if it was asked for.
        shape: `(height, width)`, px.
        n_tiles: Tiles it was made from.
        n_resumed: Of these, tiles a run before had finished.
        precision: Arithmetic the network ran in.
        device: Where it ran.
        seconds: From opening the scene to the end.
        network_s: Of these, time the network alone worked; added up over processes.
    """

    path: Path
    preview: Path | None
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
    *,
    task: str | os.PathLike[str],
    out: str | os.PathLike[str] | None = None,
    bbox: tuple[float, float, float, float] | None = None,
    bands: Mapping[str, int | str] | None = None,
    as_: As = "rgb",
    seed: int = 0,
    tile: int | None = None,
    halo: int | None = None,
    memory: int | None = None,
    workers: int = 1,
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
        task: Name of a task, or a bundle file.
        out: File to write; `<stem>_<task>.tif` beside the source unless given.
        bbox: `xmin, ymin, xmax, ymax` of the part to translate, lon-lat degrees.
        bands: Position or description in the scene of a band the task reads, by its name there.
        as_: `"classes"` for one band of class numbers, where the task draws a map.
        seed: Which of the equally plausible pictures, for tasks with noise.
        tile: Largest core edge of a tile, px; never changes the result.
        halo: Context to read around each tile, px; less than the network sees is an approximation,
            whose error is measured on one tile, told and recorded.
        memory: Budget for the whole process, bytes; sets the tile.
        workers: Processes that translate.
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
    """
    started = time.monotonic()
    progress = progress or (lambda label, total: nullcontext(lambda done: None))
    with _settings():
        bundle = load_bundle(task)
        source = open_scene(scene)
        path = destination(source, bundle.spec.name, out, overwrite=overwrite)
        picture = _preview_path(path, overwrite=overwrite) if preview else None
        parts = Parts.beside(path)
        job = plan_job(
            source, bundle, bbox=bbox, bands=bands, as_=as_, seed=seed, tile=tile, halo=halo,
            memory=memory, workers=workers, device=device, precision=precision, any_gsd=any_gsd,
            any_values=any_values, any_style=any_style, norm_stats=norm_stats,
            recorded=parts.recorded(),
        )  # fmt: skip
        options = cog_options(job.layout, creation_options)
        check_space(path, job.n_px * job.layout.bytes_per_px)
        parts.begin(job, overwrite=overwrite)
        with _keeping(parts, job):
            work = _make(job, parts, path, options, workers=workers, progress=progress)
        parts.discard()
        if picture is not None:
            with open_scene(path) as made:
                write_preview(job.scene, made, picture, area=job.plan.area)
    seconds = time.monotonic() - started
    _log.info("%s in %.1f s, the network in %.1f s of them", path, seconds, work.network_s)
    return Product(
        path=path,
        preview=picture,
        shape=(job.geobox.shape[0], job.geobox.shape[1]),
        n_tiles=len(job.plan),
        n_resumed=work.n_resumed,
        precision=job.precision,
        device=job.device,
        seconds=seconds,
        network_s=work.network_s,
    )


def survey(
    scene: str | os.PathLike[str] | xr.DataArray | Scene,
    *,
    task: str | os.PathLike[str],
    out: str | os.PathLike[str] | None = None,
    workers: int = 1,
    overwrite: bool = False,
    creation_options: Mapping[str, str] | None = None,
    **choices: Any,
) -> Survey:
    """Say what `translate` would do with the same arguments, and write nothing."""
    with _settings():
        bundle, source = load_bundle(task), open_scene(scene)
        path = destination(source, bundle.spec.name, out, overwrite=overwrite)
        recorded = Parts.beside(path).recorded()
        job = plan_job(source, bundle, workers=workers, recorded=recorded, **choices)
        options = cog_options(job.layout, creation_options)
        return survey_job(job, path=path, options=options, workers=workers)


def plan_job(
    source: Scene,
    bundle: Bundle,
    *,
    bbox: tuple[float, float, float, float] | None = None,
    bands: Mapping[str, int | str] | None = None,
    as_: As = "rgb",
    seed: int = 0,
    tile: int | None = None,
    halo: int | None = None,
    memory: int | None = None,
    workers: int = 1,
    device: str = "auto",
    precision: str = "auto",
    any_gsd: bool = False,
    any_values: bool = False,
    any_style: bool = False,
    norm_stats: str | os.PathLike[str] | None = None,
    recorded: Mapping[str, Any] | None = None,
) -> Job:
    """Settle everything that decides the pixels of a product; arguments as in `translate`.

    What is left open is done as in `recorded`, the fingerprint of a run that was stopped.
    """
    from geotrans.inference import Translator, pick_device

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
    found = match_bands(source, spec.source, bands, task=spec.name)
    area = Window.whole(source.shape) if bbox is None else bbox_window(source.geobox, bbox)
    check_domain(
        spec, source, found, area=area,
        any_gsd=any_gsd, any_values=any_values, any_style=any_style,
    )  # fmt: skip
    layout = product_layout(spec, source, found, as_=as_)
    if precision == "auto" and recorded.get("weights") == bundle.sha256:
        precision = recorded.get("precision", precision)
    base, anchor = resident_bytes(), ground_anchor(source.geobox)
    whole = plan_tiles(
        source.shape, tile=max(source.shape), halo=spec.halo, align=spec.align, anchor=anchor
    )
    draft = Job(
        source, found, whole, bundle, layout, str(pick_device(device)), "float32", seed, as_
    )
    norm = settle_norms(draft, asked=norm_stats, memory=memory, recorded=recorded)
    translator = Translator(
        bundle, device=device, precision=precision, seed=seed, as_=as_, norm=norm
    )
    if tile is None and memory is not None:
        core = tile_within(
            memory, translator, base=base, dtype=str(source.dtype), workers=workers, halo=halo
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
        source, found, plan, bundle, layout, str(translator.device), translator.precision,
        seed, as_, threads=None if workers == 1 else max(1, n_cores() // workers),
        norm=norm,
    )  # fmt: skip
    adopt(job, translator)
    return job if plan.halo >= spec.halo else _approximated(job, translator, memory, base)


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


@dataclass(frozen=True)
class _Work:
    n_resumed: int
    network_s: float


def _make(
    job: Job,
    parts: Parts,
    path: Path,
    options: Mapping[str, str],
    *,
    workers: int,
    progress: Progress,
) -> _Work:
    """Make the tiles that are not there yet, and the product."""
    whole = parts.folder / "product.tif"
    with CogStream(job, parts, options) if can_follow(options) else nullcontext() as stream:
        work = _translate_tiles(job, parts, stream, workers=workers, progress=progress)
        tags, xmp = product_tags(job), xmp_packet()
        if stream is not None:
            stream.finish(whole, tags=tags, xmp=xmp)
        else:
            is_masked = job.layout.nodata is None and has_gaps(job, parts)
            virtual = write_vrt(job, parts, tags=tags, xmp=xmp, is_masked=is_masked)
            write_cog(virtual, whole, options)
    publish(whole, path)
    return work


def _translate_tiles(
    job: Job, parts: Parts, stream: CogStream | None, *, workers: int, progress: Progress
) -> _Work:
    finished = parts.finished(job)
    if finished:
        _log.info("%d of %d tiles were finished before", len(finished), len(job.plan))
    if stream:
        for row, _ in finished:
            stream.feed(row)
    missing = [tile for tile in job.plan if (tile.row, tile.col) not in finished]
    n_px = sum(job.place(tile).width * job.place(tile).height for tile in missing)

    network_s: dict[int, float] = {}

    def done(receipt: Receipt) -> None:
        advance(receipt.n_px)
        network_s[receipt.process] = max(receipt.network_s, network_s.get(receipt.process, 0.0))
        if stream:
            stream.feed(receipt.row)

    tasks = lazy_parts(job, parts)
    with progress("translating", n_px) as advance:
        run_tiles(
            [tasks[tile.row, tile.col] for tile in missing],
            workers=workers,
            in_flight=in_flight(job.device),
            done=done,
        )
    if all(parts.is_empty(tile) for tile in job.plan):
        raise SceneError(f"{job.scene.name} holds no valid pixel there; nothing to translate")
    return _Work(len(finished), sum(network_s.values()))


@contextmanager
def _keeping(parts: Parts, job: Job) -> Iterator[None]:
    """Say what is kept when a run ends early, and keep nothing where there is nothing."""
    try:
        yield
    except (GeotransError, KeyboardInterrupt) as error:
        n_kept = len(parts.finished(job)) if any(parts.folder.glob("r*.tif")) else 0
        if n_kept == 0:
            parts.discard()
            raise
        said = str(error) or "interrupted"
        raise type(error)(
            f"{said}; {n_kept} of {len(job.plan)} tiles are kept in {parts.folder}, and the same "
            "command goes on from there"
        ) from error


@contextmanager
def _settings() -> Iterator[None]:
    """GDAL and warnings as a translation wants them."""
    with warnings.catch_warnings(), rasterio.Env(GDAL_CACHEMAX=GDAL_CACHE_BYTES):
        # A scene without coordinates is handled as itself, and said so by its notes.
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        yield


def _preview_path(product: Path, *, overwrite: bool) -> Path:
    path = product.with_suffix(".png")
    if path.exists() and not overwrite:
        raise OutputError(f"{path} exists; replace it with --overwrite or leave out the preview")
    return path


def _lattice(plan: TilePlan) -> tuple[object, ...]:
    """What of a plan does not depend on the size of its tiles."""
    return plan.area, plan.halo, plan.align, plan.anchor
