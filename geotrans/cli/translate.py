"""`geotrans translate`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from geotrans.cli import completion, console
from geotrans.cli.options import (
    AnyGsd,
    AnyStyle,
    AnyValues,
    Arithmetic,
    As,
    AsWhat,
    Bbox,
    Cluster,
    CreationOptions,
    Device,
    Json,
    Overwrite,
    Precision,
    Seed,
    Tile,
    parse_bbox,
    parse_pairs,
)

EXAMPLES = (
    "geotrans translate sample:town --task map2aerial",
    "geotrans translate sample:town --task map2aerial --seed 7 -o another.tif --plan",
    "geotrans translate scene.tif --task cir2rgb --bands nir=4,red=1,green=2 --memory 2GB",
)


def command(
    scene: Annotated[str, typer.Argument(help="Raster file, URL or sample:NAME.")],
    task: Annotated[
        str,
        typer.Option(
            "--task", "-t", help="Task, or a bundle file.", autocompletion=completion.tasks
        ),
    ],
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
    bands: Annotated[
        str | None,
        typer.Option(help="Bands of the scene for those of the task.", metavar="red=1,green=2"),
    ] = None,
    as_: AsWhat = As.rgb,
    seed: Seed = 0,
    tile: Tile = None,
    halo: Annotated[
        int | None,
        typer.Option(
            help="Context to read around each tile, px. Less than the network sees is faster and "
            "not exact; the error is measured on one tile, told and recorded.  [default: all it "
            "sees]",
        ),
    ] = None,
    memory: Annotated[
        str | None, typer.Option(help="Budget that sets the tile.", metavar="1.5GB")
    ] = None,
    workers: Annotated[int, typer.Option(help="Processes that translate.")] = 1,
    cluster: Cluster = None,
    device: Device = "auto",
    precision: Arithmetic = Precision.auto,
    any_gsd: AnyGsd = False,
    any_values: AnyValues = False,
    any_style: AnyStyle = False,
    norm_stats: Annotated[
        str | None,
        typer.Option(
            help="Where instance norms have their statistics from: scene, once from 25 windows of "
            "it; exact, from all of it, which reads the scene as often as the network has norms; "
            "tile, from each tile (tiles show); or a product, whose statistics are used again.  "
            "[default: scene, for networks with instance norm]",
            metavar="scene|exact|tile|PRODUCT.tif",
        ),
    ] = None,
    creation_options: CreationOptions = None,
    preview: Annotated[
        bool, typer.Option("--preview/--no-preview", help="PNG of source beside product, too.")
    ] = True,
    overwrite: Overwrite = False,
    plan: Annotated[
        bool, typer.Option("--plan", help="Say what would be done, and write nothing.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Translate a scene of any size into a cloud-optimised GeoTIFF on the same grid.

    Prints the files written. A run that is stopped leaves its finished tiles beside the product;
    the same command goes on from there.
    """
    from geotrans.translation.survey import survey as survey_scene
    from geotrans.translation.translate import translate

    choices: dict[str, Any] = {
        "task": task,
        "out": output,
        "bbox": parse_bbox(bbox),
        "bands": bands,
        "as_": as_.value,
        "seed": seed,
        "tile": tile,
        "halo": halo,
        "memory": memory,
        "workers": workers,
        "cluster": cluster,
        "device": device,
        "precision": precision.value,
        "any_gsd": any_gsd,
        "any_values": any_values,
        "any_style": any_style,
        "norm_stats": norm_stats,
        "overwrite": overwrite,
        "creation_options": parse_pairs(creation_options, option="--co"),
    }
    if plan:
        survey = survey_scene(scene, **choices)
        console.emit(survey.to_dict() if as_json else survey, as_json=as_json)
        return
    with console.terminable():
        product = translate(scene, preview=preview, progress=console.progress, **choices)
    if as_json:
        console.emit(product.to_dict(), as_json=True)
        return
    console.emit(product.path)
    if product.preview is not None:
        console.emit(product.preview)
