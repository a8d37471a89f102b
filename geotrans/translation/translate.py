"""Translation of a scene to a product, step by step."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from geotrans.execution.local import start_workers
from geotrans.parts import Parts
from geotrans.product.cog.driver import cog_options
from geotrans.product.destination import Destination, check_space
from geotrans.product.make import make_product, open_parts
from geotrans.product.preview import Preview
from geotrans.product.xmp import xmp_packet
from geotrans.runtime.gdal import quiet_gdal
from geotrans.runtime.progress import Progress, show_nothing
from geotrans.scene import Scene, open_scene
from geotrans.tasks import Bundle, open_bundle
from geotrans.translation.options import TranslationKeywords, split_options
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
        preview: Source beside product, if requested.
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
    overwrite: bool = False,
    creation_options: Mapping[str, str] | None = None,
    preview: bool = False,
    progress: Progress | None = None,
    **options: Unpack[TranslationKeywords],
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
        overwrite: Replace an existing product, and discard parts of another run.
        creation_options: Options of GDAL's COG driver.
        preview: Write a PNG of source beside product, too.
        progress: How to report progress.
        **options: Fields of `geotrans.translation.options.PixelOptions` (bands, as_, seed, halo,
            precision, norm_stats, nodata, any_gsd, any_values, any_style) and `RunOptions` (tile,
            memory, workers, cluster, device).

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
    pixels, run = split_options(options)
    with quiet_gdal(), run.open_cluster() as cluster:
        # Open.
        bundle, source = open_bundle(task), open_scene(scene)
        destination = Destination.choose(
            source, bundle.spec.name, out, overwrite=overwrite, preview=preview
        )
        recorded = Parts.beside(destination.path).read_fingerprint()
        with start_workers(cluster, run.workers, imports=["geotrans.inference"]) as get_cluster:
            # Match bands and grids, and plan.
            job = plan_job(
                source, bundle, pixels, run, cluster=cluster, bbox=bbox, recorded=recorded
            )
            cog = cog_options(job.layout, creation_options)
            check_space(destination.path, job.n_px * job.layout.bytes_per_px)
            picture = Preview(job.scene, job.plan.area) if preview else None
            # Make the tiles, assemble them, deliver the product.
            with open_parts(destination.path, job, overwrite=overwrite) as parts:
                done = make_product(
                    TileWriter(job, parts), destination, cog, tags=product_tags(job),
                    xmp=xmp_packet(), label="translating", get_cluster=get_cluster,
                    progress=progress or show_nothing, preview=picture,
                )  # fmt: skip
        destination.write_preview(picture)
    seconds = time.monotonic() - started
    _log.info("%s in %.1f s, the network in %.1f s of them", destination, seconds, done.network_s)
    return Product(
        path=destination.url,
        preview=destination.preview_url,
        shape=job.shape,
        n_tiles=len(job.plan),
        n_resumed=done.n_resumed,
        precision=job.precision,
        device=job.device,
        seconds=seconds,
        network_s=done.network_s,
    )
