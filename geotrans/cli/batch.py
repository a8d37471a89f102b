"""`geotrans batch`."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated, cast

import typer

from geotrans.cli import completion, console
from geotrans.cli.options import (
    CreationOptions,
    DryRun,
    Json,
    OldPlan,
    item_options,
    parse_pairs,
    pixel_options,
    run_options,
)
from geotrans.errors import EXIT_PARTLY_FAILED, UsageError

if TYPE_CHECKING:
    from geotrans.archive.inputs import ItemOptions
    from geotrans.translation.options import PixelOptions, RunOptions

EXAMPLES = (
    "geotrans batch photographs list.csv --task aerial2map -o maps --workers 4",
    "geotrans batch photographs --task aerial2map -o s3://bucket/maps --dry-run",
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


@pixel_options
@run_options
@item_options
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
    *,
    pixels: PixelOptions,
    run: RunOptions,
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
    items: ItemOptions,
    dry_run: DryRun = False,
    old_plan: OldPlan = False,
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
    from geotrans.archive import estimate_archive, read_status
    from geotrans.archive.batch import BatchKeywords, batch
    from geotrans.translation.options import join_options

    paths = inputs or []
    if status:
        if len(paths) != 1:
            raise UsageError("--status takes one folder, that of the journal")
        state = read_status(paths[0])
        console.emit(state.to_dict() if as_json else state, as_json=as_json)
        return
    if task is None or output is None or not (paths or items.stac_api):
        raise UsageError("give scenes, --task and -o; or --status and the folder of the products")
    options = cast(BatchKeywords, {**join_options(pixels, run), **vars(items)})
    cog = parse_pairs(creation_options, option="--co")
    if dry_run:
        estimate = estimate_archive(paths, task, out=output, creation_options=cog, **options)
        console.emit(estimate.to_dict() if as_json else estimate, as_json=as_json)
        return
    with console.terminable():
        state = batch(
            paths, task, out=output, creation_options=cog, overwrite=overwrite,
            retry_failed=retry_failed, max_retries=max_retries, join=join,
            progress=partial(console.progress, unit="scenes"), **options,
        )  # fmt: skip
    console.emit(state.to_dict() if as_json else state, as_json=as_json)
    if not state.is_complete:
        raise typer.Exit(EXIT_PARTLY_FAILED)
