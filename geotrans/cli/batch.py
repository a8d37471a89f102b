"""`geotrans batch`."""

from __future__ import annotations

from functools import partial
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
    Precision,
    Seed,
    Tile,
    parse_bbox,
    parse_pairs,
)
from geotrans.errors import EXIT_PARTLY_FAILED, UsageError

EXAMPLES = (
    "geotrans batch photographs list.csv --task aerial2map -o maps --workers 4",
    "geotrans batch photographs --task aerial2map -o s3://bucket/maps --plan",
    "geotrans batch maps --status",
)

Inputs = Annotated[
    list[str] | None,
    typer.Argument(
        help="Rasters, folders, globs, URLs, lists of them (.txt, or .csv with a column 'path'), "
        "STAC documents and stac-geoparquet files. With --status: the folder of the journal.",
        show_default=False,
    ),
]


def command(
    inputs: Inputs = None,
    task: Annotated[
        str | None,
        typer.Option(
            "--task", "-t", help="Task, or a bundle file.", autocompletion=completion.tasks
        ),
    ] = None,
    output: Annotated[
        str | None,
        typer.Option("-o", "--output", help="Folder of the products, or s3://BUCKET/PREFIX."),
    ] = None,
    bands: Annotated[
        str | None,
        typer.Option(help="Bands of the scenes for those of the task.", metavar="red=1,green=2"),
    ] = None,
    as_: AsWhat = As.rgb,
    seed: Seed = 0,
    tile: Tile = None,
    halo: Annotated[
        int | None, typer.Option(help="Context to read around each tile, px.  [default: exact]")
    ] = None,
    memory: Annotated[
        str | None, typer.Option(help="Budget for all processes together.", metavar="4GB")
    ] = None,
    workers: Annotated[int, typer.Option(help="Processes that translate, one scene each.")] = 1,
    cluster: Cluster = None,
    device: Device = "auto",
    precision: Arithmetic = Precision.auto,
    any_gsd: AnyGsd = False,
    any_values: AnyValues = False,
    any_style: AnyStyle = False,
    norm_stats: Annotated[
        str | None,
        typer.Option(
            help="Where instance norms have their statistics from, as in geotrans translate.",
            metavar="scene|exact|tile|PRODUCT.tif",
        ),
    ] = None,
    creation_options: CreationOptions = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Do all anew, whatever the folder holds.")
    ] = False,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Try again what failed in a run before.")
    ] = False,
    max_retries: Annotated[
        int, typer.Option(help="How often to try a scene again at once, where that may help.")
    ] = 1,
    join: Annotated[
        bool, typer.Option("--join", help="Share the work of a run that is at it already.")
    ] = False,
    stac_api: Annotated[
        str | None, typer.Option(help="STAC API to search for items.", metavar="URL")
    ] = None,
    collection: Annotated[
        list[str] | None, typer.Option(help="Collection to search there; may be repeated.")
    ] = None,
    bbox: Bbox = None,
    datetime: Annotated[
        str | None, typer.Option(help="When items were seen.", metavar="START/END")
    ] = None,
    mask_asset: Annotated[
        str | None, typer.Option(help="Asset of items that tells which pixels to leave out.")
    ] = None,
    mask_values: Annotated[
        str | None, typer.Option(help="Its values that mark them.", metavar="3,8,9,10")
    ] = None,
    plan: Annotated[
        bool, typer.Option("--plan", help="Say what it would cost, and write nothing.")
    ] = False,
    status: Annotated[
        bool, typer.Option("--status", help="Say how far the archive in a folder is.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Translate many scenes, each into a cloud-optimised GeoTIFF in one folder or store.

    Beside each lie its STAC Item and a thumbnail, over all of them a STAC Collection.

    A journal in that folder says what is done: the same command again does the rest, and anew what
    has changed. A scene that fails is told at the end and stops no other; the exit code is then 3.

    Of -o s3://bucket/maps (also gs://, az://) that folder is bucket_maps in the current directory,
    where tiles under way are, too.
    """
    from geotrans.archive import price, read_status
    from geotrans.archive.batch import batch

    given = inputs or []
    if status:
        if len(given) != 1:
            raise UsageError("--status takes one folder, that of the journal")
        state = read_status(given[0])
        console.emit(state.to_dict() if as_json else state, as_json=as_json)
        return
    if task is None or output is None or not (given or stac_api):
        raise UsageError("give scenes, --task and -o; or --status and the folder of the products")
    choices: dict[str, Any] = {
        "task": task,
        "out": output,
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
        "creation_options": parse_pairs(creation_options, option="--co"),
        "stac_api": stac_api,
        "collection": collection,
        "bbox": parse_bbox(bbox),
        "datetime": datetime,
        "mask_asset": mask_asset,
        "mask_values": mask_values,
    }
    if plan:
        estimate = price(given, **choices)
        console.emit(estimate.to_dict() if as_json else estimate, as_json=as_json)
        return
    with console.terminable():
        state = batch(
            given, overwrite=overwrite, retry_failed=retry_failed, max_retries=max_retries,
            join=join, progress=partial(console.progress, unit="scenes"), **choices,
        )  # fmt: skip
    console.emit(state.to_dict() if as_json else state, as_json=as_json)
    if not state.is_complete:
        raise typer.Exit(EXIT_PARTLY_FAILED)
