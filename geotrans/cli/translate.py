"""`geotrans translate`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from geotrans.cli import console
from geotrans.cli.options import (
    Bbox,
    CreationOptions,
    DryRun,
    Json,
    OldPlan,
    Overwrite,
    Task,
    parse_bbox,
    parse_pairs,
    pixel_options,
    run_options,
)

if TYPE_CHECKING:
    from geotrans.translation.options import PixelOptions, RunOptions

EXAMPLES = (
    "geotrans translate sample:town --task map2aerial",
    "geotrans translate sample:town --task map2aerial --seed 7 -o another.tif --dry-run",
    "geotrans translate scene.tif --task cir2rgb --bands nir=4,red=1,green=2 --memory 2GB",
)


@pixel_options
@run_options
def command(
    scene: Annotated[str, typer.Argument(help="Raster file, URL or sample:NAME.")],
    task: Task,
    output: Annotated[
        str | None,
        typer.Option(
            "-o",
            "--output",
            help="File to write, or s3://BUCKET/KEY.tif.  "
            "[default: STEM_TASK.tif beside the scene]",
        ),
    ] = None,
    bbox: Bbox = None,
    *,
    pixels: PixelOptions,
    run: RunOptions,
    creation_options: CreationOptions = None,
    preview: Annotated[
        bool, typer.Option("--preview/--no-preview", help="PNG of source beside product, too.")
    ] = True,
    overwrite: Overwrite = False,
    dry_run: DryRun = False,
    old_plan: OldPlan = False,
    as_json: Json = False,
) -> None:
    """Translate a scene of any size into a cloud-optimised GeoTIFF on the same grid.

    Prints the files written. A run that is stopped leaves its finished tiles beside the product;
    the same command goes on from there.
    """
    from geotrans.translation.estimate import estimate
    from geotrans.translation.options import join_options
    from geotrans.translation.translate import translate

    options = join_options(pixels, run)
    area, cog = parse_bbox(bbox), parse_pairs(creation_options, option="--co")
    if dry_run:
        plan = estimate(
            scene, task, out=output, bbox=area, overwrite=overwrite, creation_options=cog, **options
        )
        console.emit(plan.to_dict() if as_json else plan, as_json=as_json)
        return
    with console.terminable():
        product = translate(
            scene, task, out=output, bbox=area, overwrite=overwrite, creation_options=cog,
            preview=preview, progress=console.progress, **options,
        )  # fmt: skip
    if as_json:
        console.emit(product.to_dict(), as_json=True)
        return
    console.emit(product.path)
    if product.preview is not None:
        console.emit(product.preview)
