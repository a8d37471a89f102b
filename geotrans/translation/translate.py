"""A scene in, a product out: the whole path on one screen."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geotrans.execution.cluster import Cluster
from geotrans.execution.connect import reach
from geotrans.execution.local import staff
from geotrans.parts import As, Parts
from geotrans.product.cog.driver import cog_options
from geotrans.product.destination import check_space, destination
from geotrans.product.make import keeping, make_product
from geotrans.product.preview import Preview, preview_path
from geotrans.product.tags import xmp_packet
from geotrans.product.upload import Target, upload_product
from geotrans.runtime.gdal import quiet_gdal
from geotrans.runtime.progress import Progress, show_nothing
from geotrans.scene import Scene, open_scene
from geotrans.tasks import Bundle, open_bundle
from geotrans.translation.plan import plan_job
from geotrans.translation.tags import product_tags
from geotrans.translation.writer import TileWriter

if TYPE_CHECKING:
    import xarray as xr

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
            `geotrans.execution.connect.connect` opened. The product's folder must be theirs,
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
    progress = progress or show_nothing
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
        picture = preview_path(path, overwrite=overwrite) if preview else None
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
                    deliver=partial(upload_product, shown, target, picture) if target else None,
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
