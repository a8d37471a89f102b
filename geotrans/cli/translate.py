"""`geotrans translate`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from geotrans.cli import console
from geotrans.cli.options import Bbox, Json, Overwrite, parse_bbox, parse_pairs


class Precision(StrEnum):
    """Arithmetic of the network."""

    auto = "auto"
    float32 = "float32"
    bfloat16 = "bfloat16"


class As(StrEnum):
    """What a map is written as."""

    rgb = "rgb"
    classes = "classes"


def command(
    scene: Annotated[str, typer.Argument(help="Raster file, URL or sample:NAME.")],
    task: Annotated[str, typer.Option("--task", "-t", help="Task, or a bundle file.")],
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", help="File to write.  [default: STEM_TASK.tif beside the scene]"
        ),
    ] = None,
    bbox: Bbox = None,
    bands: Annotated[
        str | None,
        typer.Option(help="Bands of the scene for those of the task.", metavar="red=1,green=2"),
    ] = None,
    as_: Annotated[As, typer.Option("--as", help="Write a map as colours or classes.")] = As.rgb,
    seed: Annotated[int, typer.Option(help="Another seed is another equally likely picture.")] = 0,
    tile: Annotated[
        int | None, typer.Option(help="Largest core edge of a tile, px. Never changes a pixel.")
    ] = None,
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
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    precision: Annotated[
        Precision, typer.Option(help="Arithmetic of the network.")
    ] = Precision.auto,
    any_gsd: Annotated[
        bool, typer.Option("--any-gsd", help="Take pixels of a size the task has not seen.")
    ] = False,
    any_values: Annotated[
        bool, typer.Option("--any-values", help="Take values the task has not seen.")
    ] = False,
    any_style: Annotated[
        bool, typer.Option("--any-style", help="Take a map in a style the task has not seen.")
    ] = False,
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
    creation_options: Annotated[
        list[str] | None,
        typer.Option("--co", help="Option of GDAL's COG driver.", metavar="KEY=VALUE"),
    ] = None,
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
    from geotrans import pipeline
    from geotrans.mosaicking.budget import parse_bytes
    from geotrans.scene import parse_mapping
    from geotrans.tasks import load_bundle

    choices: dict[str, Any] = {
        "task": task,
        "out": output,
        "bbox": parse_bbox(bbox),
        "bands": parse_mapping(bands, load_bundle(task).spec.source) if bands else None,
        "as_": as_.value,
        "seed": seed,
        "tile": tile,
        "halo": halo,
        "memory": None if memory is None else parse_bytes(memory),
        "workers": workers,
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
        survey = pipeline.survey(scene, **choices)
        console.emit(survey.to_dict() if as_json else survey, as_json=as_json)
        return
    product = pipeline.translate(scene, preview=preview, progress=console.progress, **choices)
    if as_json:
        console.emit(product.to_dict(), as_json=True)
        return
    console.emit(product.path)
    if product.preview is not None:
        console.emit(product.preview)
