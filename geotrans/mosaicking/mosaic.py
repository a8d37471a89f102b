"""Any rasters in, one cloud-optimised GeoTIFF out: `geotrans mosaic`."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Unpack

from geotrans.errors import UsageError
from geotrans.execution.local import start_workers
from geotrans.grid import gsd_m as grid_gsd_m
from geotrans.mosaicking.balance import solve_balance
from geotrans.mosaicking.blend import check_blend
from geotrans.mosaicking.job import BlockWriter, MosaicJob, plan_mosaic
from geotrans.mosaicking.options import MosaicKeywords, MosaicOptions
from geotrans.mosaicking.overlaps import draw_seams, measure_overlaps
from geotrans.mosaicking.placement import choose_grid, place_sources
from geotrans.mosaicking.scene import MosaicScene
from geotrans.mosaicking.sources import Sources, find_rasters, list_some, read_sources
from geotrans.mosaicking.tags import make_tags
from geotrans.mosaicking.tileset import load_tileset, match_names, place_tiles
from geotrans.output import check_output
from geotrans.product.cog.driver import cog_options
from geotrans.product.destination import Destination, check_space, format_size
from geotrans.product.make import make_product, open_parts
from geotrans.product.xmp import xmp_packet
from geotrans.runtime.gdal import quiet_gdal
from geotrans.runtime.progress import Progress, show_nothing

_log = logging.getLogger(__name__)

PathLike = str | os.PathLike[str]


@dataclass(frozen=True)
class Mosaic:
    """A finished mosaic.

    Attributes:
        path: The cloud-optimised GeoTIFF.
        shape: `(height, width)`, px.
        n_tiles: Rasters it was made from.
        n_resampled: Of these, rasters whose pixels are not its own.
        n_blocks: Blocks it was made in.
        n_resumed: Of these, blocks a run before had finished.
        seconds: Time it took.
    """

    path: Path
    shape: tuple[int, int]
    n_tiles: int
    n_resampled: int
    n_blocks: int
    n_resumed: int
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """The same, for JSON."""
        return {k: str(v) if isinstance(v, Path) else v for k, v in asdict(self).items()}


@dataclass(frozen=True)
class MosaicEstimate:
    """Properties of a mosaic before it is made, from headers alone.

    Attributes:
        path: File it would be.
        crs: Its CRS.
        gsd_m: Its pixel size on the ground, m; None without a CRS.
        shape: `(height, width)`, px.
        bands: Its bands.
        dtype: Type of its values.
        n_tiles: Rasters that lie in it.
        n_resampled: Of these, rasters whose pixels are not its own.
        n_blocks: Blocks it would be made in.
        covered: Px of the tiles per px of the mosaic: above 1 they must overlap.
        raw_bytes: Size of the pixels that tiles hold, at most.
    """

    path: Path
    crs: str
    gsd_m: float | None
    shape: tuple[int, int]
    bands: tuple[str, ...]
    dtype: str
    n_tiles: int
    n_resampled: int
    n_blocks: int
    covered: float
    raw_bytes: int

    def to_dict(self) -> dict[str, Any]:
        """The same, for JSON."""
        return {k: str(v) if isinstance(v, Path) else v for k, v in asdict(self).items()}

    def __str__(self) -> str:
        """A line for each thing a user wants to know."""
        height, width = self.shape
        size = "unknown" if self.gsd_m is None else f"{self.gsd_m:.4g} m"
        lines = {
            "tiles": f"{self.n_tiles}, of which {self.n_resampled} are resampled; together "
            f"{self.covered:.2f} px per px of the mosaic",
            "grid": f"{width} x {height} px of {size}, {self.crs}",
            "bands": f"{', '.join(self.bands)}; {self.dtype}",
            "blocks": f"{self.n_blocks}",
            "output": f"{self.path}: at most {format_size(self.raw_bytes)} of pixels",
        }
        return "\n".join(f"{name:<8}{text}" for name, text in lines.items())


def mosaic(
    tiles: Iterable[PathLike] | PathLike,
    *,
    out: PathLike,
    workers: int = 1,
    overwrite: bool = False,
    creation_options: Mapping[str, str] | None = None,
    progress: Progress | None = None,
    **options: Unpack[MosaicKeywords],
) -> Mosaic:
    """Join rasters of one kind into a cloud-optimised GeoTIFF.

    A run that is stopped leaves its finished blocks in `<out>.parts/`; the same call goes on from
    there.

    Args:
        tiles: Files, directories, patterns or URLs; the order counts for `first` and `last`.
        out: File to write.
        workers: Processes that make blocks.
        overwrite: Replace an existing file, and discard parts of another run.
        creation_options: Options of GDAL's COG driver.
        progress: Reports progress.
        **options: Fields of `geotrans.mosaicking.options.MosaicOptions`: blend, feather, seamline,
            balance, crs, gsd_m, bbox, like, resampling, plan.

    Returns:
        Where the mosaic is, and how it was made.

    Raises:
        GeotransError: One of its kinds, for everything that can be wrong with these arguments, the
            tiles or the output.

    Examples:
        >>> import geotrans
        >>> both = geotrans.mosaic(["sample:suburb", "sample:town"], out="both.tif", blend="mean")
        >>> both.path.name, both.shape, both.n_tiles
        ('both.tif', (900, 1200), 2)
    """
    started = time.monotonic()
    progress = progress or show_nothing
    if workers < 1:
        raise UsageError(f"asked for {workers} workers; give at least 1")
    choices = MosaicOptions(**options)
    with quiet_gdal():
        path, sources, job = _prepare(tiles, choices, out=out, overwrite=overwrite)
        cog = cog_options(job.layout, creation_options)
        check_space(path, _count_max_px(job) * job.layout.bytes_per_px)
        with open_parts(path, job, overwrite=overwrite) as parts:
            if choices.balance:
                with progress("comparing overlaps", len(job.scene.placed)) as advance:
                    overlaps = measure_overlaps(job.scene, advance=advance)
                job.scene.balance = solve_balance(overlaps, len(job.scene.placed))
            if choices.seamline:
                with progress("cutting overlaps", len(job.scene.placed)) as advance:
                    draw_seams(job.scene, parts.folder / "seams", advance=advance)
            with start_workers(None, workers) as get_cluster:
                product = make_product(
                    BlockWriter(job, parts), Destination(path), cog,
                    tags=make_tags(job, sources),
                    xmp=xmp_packet(sources.n_synthetic / len(sources.items)),
                    label="joining", get_cluster=get_cluster, progress=progress,
                )  # fmt: skip
    seconds = time.monotonic() - started
    _log.info("%s in %.1f s", path, seconds)
    return Mosaic(
        path=path,
        shape=job.scene.shape,
        n_tiles=len(job.scene.placed),
        n_resampled=job.scene.n_resampled,
        n_blocks=len(job.plan),
        n_resumed=product.n_resumed,
        seconds=seconds,
    )


def estimate_mosaic(
    tiles: Iterable[PathLike] | PathLike,
    *,
    out: PathLike,
    overwrite: bool = False,
    **options: Unpack[MosaicKeywords],
) -> MosaicEstimate:
    """Describe what `mosaic` would do with the same arguments, and write nothing."""
    with quiet_gdal():
        path, _, job = _prepare(tiles, MosaicOptions(**options), out=out, overwrite=overwrite)
    return MosaicEstimate(
        path=path,
        crs=str(job.geobox.crs or "no CRS"),
        gsd_m=grid_gsd_m(job.geobox),
        shape=job.scene.shape,
        bands=tuple(band.name or f"band {band.index}" for band in job.scene.bands),
        dtype=job.layout.dtype,
        n_tiles=len(job.scene.placed),
        n_resampled=job.scene.n_resampled,
        n_blocks=len(job.plan),
        covered=_count_covered_px(job) / job.n_px,
        raw_bytes=_count_max_px(job) * job.layout.bytes_per_px,
    )


def _warn_of_mixture(sources: Sources) -> None:
    """Warn if the tiles were made by more than one network, such as maps among photographs."""
    by_task: dict[tuple[str, str], list[str]] = {}
    for source in sources.items:
        if source.task is not None:
            by_task.setdefault(source.task, []).append(source.path)
    if len(by_task) > 1:
        summary = "; ".join(
            f"{task} {sha[:8]}: {list_some(paths)}" for (task, sha), paths in by_task.items()
        )
        _log.warning(
            "%d networks painted the tiles (%s); the mosaic joins them all, and names none",
            len(by_task), summary,
        )  # fmt: skip


def _prepare(
    tiles: Iterable[PathLike] | PathLike, options: MosaicOptions, *, out: PathLike, overwrite: bool
) -> tuple[Path, Sources, MosaicJob]:
    """Open the sources and plan the mosaic from its options."""
    paths = find_rasters([tiles] if isinstance(tiles, str | os.PathLike) else tiles)
    path = check_output(Path(out), overwrite=overwrite, inputs=tuple(paths), what="mosaic")
    if options.plan is not None:
        sources, scene = _place_by_plan(Path(options.plan).expanduser(), paths)
        _warn_of_mixture(sources)
        return path, sources, plan_mosaic(scene)
    sources = read_sources(paths)
    _warn_of_mixture(sources)
    of_classes = sources.info.colormap is not None
    check_blend(options.blend, of_classes=of_classes)
    if options.balance and of_classes:
        raise UsageError("the tiles hold classes, which have no brightness; leave out balance")
    grid = choose_grid(
        sources.items, crs=options.crs, gsd_m=options.gsd_m, bbox=options.bbox, like=options.like
    )
    scene = MosaicScene(
        sources,
        place_sources(sources.items, grid),
        grid,
        crs_wkt=_crs_text(sources, grid),
        blend=options.blend,
        feather=options.feather,
        seamline=options.seamline,
        extra={"balance": True} if options.balance else None,
        resampling=options.resampling,
    )
    return path, sources, plan_mosaic(scene)


def _place_by_plan(plan: Path, paths: Sequence[str]) -> tuple[Sources, MosaicScene]:
    """A mosaic of the cores of tiles, placed by the plan they were cut by."""
    tileset = load_tileset(plan)
    named = match_names(tileset, paths)
    sources = read_sources(list(named.values()), located=False)
    scale, placed = place_tiles(tileset, dict(zip(named, sources.items, strict=True)))
    if tileset.synthetic:
        items = tuple(replace(source, synthetic=True) for source in sources.items)
        sources = replace(sources, items=items)
    if sources.info.nodata is None and str(sources.info.dtype) == tileset.dtype:
        sources = replace(sources, info=replace(sources.info, nodata=tileset.nodata))
    mask = None
    if tileset.valid is not None:
        folder = plan if plan.is_dir() else plan.parent
        mask = (str(folder / tileset.valid), scale)
    scene = MosaicScene(
        sources, placed, tileset.make_grid(scale), crs_wkt=tileset.crs, mask=mask,
        extra={"plan": tileset.source, "plan_identity": tileset.source_identity, "scale": scale},
    )  # fmt: skip
    return sources, scene


def _crs_text(sources: Sources, grid: Any) -> str | None:
    """WKT of the mosaic's CRS as a tile states it, else as PROJ does."""
    if grid.crs is None:
        return None
    texts = (source.crs_wkt for source in sources.items if source.geobox.crs == grid.crs)
    return next(texts, None) or str(grid.crs.to_wkt())


def _count_covered_px(job: MosaicJob) -> int:
    return sum(raster.window.width * raster.window.height for raster in job.scene.placed)


def _count_max_px(job: MosaicJob) -> int:
    """Pixels that tiles hold, at most."""
    return min(job.n_px, _count_covered_px(job))
