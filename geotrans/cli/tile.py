"""`geotrans tile`."""

from __future__ import annotations

from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from geotrans.cli import console
from geotrans.cli.completion import tasks
from geotrans.cli.options import Bbox, Json, parse_bbox
from geotrans.errors import UsageError


class Format(StrEnum):
    """What a tile is written as."""

    tif = "tif"
    png = "png"


EXAMPLES = (
    "geotrans tile scene.tif -o tiles --tile 512 --halo 64 --format png",
    "geotrans tile scene.tif -o tiles --task map2aerial",
    "geotrans tile my_town.yaml -o patches data.patch=512 --overwrite",
)


def command(
    what: Annotated[
        str,
        typer.Argument(
            metavar="SCENE|CONFIG.yaml", help="Raster, or configuration with a section 'data:'."
        ),
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder to make.")],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[KEY=VALUE]...",
            help="Of a configuration, such as data.patch=256.",
            show_default=False,
        ),
    ] = None,
    tile: Annotated[
        int | None, typer.Option(help="Largest core edge of a tile, px.  [default: 512]")
    ] = None,
    halo: Annotated[
        int | None, typer.Option(help="Context around each core, px.  [default: 0]")
    ] = None,
    align: Annotated[
        int | None, typer.Option(help="Stride on which windows start, px.  [default: 1]")
    ] = None,
    task: Annotated[
        str | None,
        typer.Option(
            "--task",
            "-t",
            help="Task or bundle the tiles are for: sets the three above, and pads.",
            autocompletion=tasks,
        ),
    ] = None,
    bbox: Bbox = None,
    format_: Annotated[
        Format, typer.Option("--format", help="GeoTIFF, or PNG with a world file.")
    ] = Format.tif,
    pad: Annotated[
        bool,
        typer.Option("--pad", help="Mirror the scene at its edge, so that tiles have one size."),
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace tiles or a patch cache.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Cut a scene into tiles for other software, or pairs of scenes into patches to train from.

    Of a scene: one file a tile with halo, and plan.json (with outlines in plan.parquet), by which
    'geotrans mosaic --plan' puts translated tiles together again, exactly. Prints the plan.

    Of a configuration: a patch cache. Its 'data:' section says what source and target are and which
    places train and which are held out; splits that share ground are refused. Training reads the
    cache with torch and numpy alone, on a machine that needs neither the rasters nor GDAL.
    """
    choices: dict[str, Any] = {
        "tile": tile,
        "halo": halo,
        "align": align,
        "task": task,
        "bbox": parse_bbox(bbox),
    }
    if Path(what).suffix.lower() in (".yaml", ".yml"):
        options = [name for name, value in choices.items() if value is not None]
        if options or pad or format_ is not Format.tif:
            names = ", ".join(f"--{name}" for name in options) or "--pad or --format"
            raise UsageError(
                f"{what} is a configuration, which says all that is to know; leave out {names}"
            )
        _cut_patches(Path(what), overrides or [], output, overwrite=overwrite, as_json=as_json)
        return
    if overrides:
        raise UsageError(
            f"{' '.join(overrides)}: only a configuration takes KEY=VALUE, and {what} is none "
            "(it would end in .yaml)"
        )
    from geotrans.mosaicking.cut import cut_tiles

    tiles = cut_tiles(
        what,
        out=output,
        **choices,
        format_=format_.value,
        pad=pad,
        overwrite=overwrite,
        progress=console.progress,
    )
    console.emit(tiles.to_dict() if as_json else tiles.plan, as_json=as_json)


def _cut_patches(
    config: Path, overrides: list[str], output: Path, *, overwrite: bool, as_json: bool
) -> None:
    from geotrans.sampling.config import load_data_config
    from geotrans.sampling.tiling import write_patches

    data = load_data_config(config, overrides)
    progress = partial(console.progress, unit="patches")
    cache = write_patches(data, output, overwrite=overwrite, progress=progress)
    manifest = cache.manifest
    if as_json:
        console.emit({"path": str(cache.path), **manifest.model_dump(mode="json")}, as_json=True)
        return
    for split, records in manifest.splits.items():
        n_places = len({record.place for record in records})
        console.emit(f"{split}: {len(records)} patches of {n_places} places")
    console.emit(cache.path)
