"""`geotrans mosaic`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from geotrans.cli import console
from geotrans.cli.options import (
    Bbox,
    CreationOptions,
    Json,
    Overwrite,
    parse_bbox,
    parse_pairs,
)


class Blend(StrEnum):
    """What becomes of a pixel that several tiles hold."""

    first = "first"
    last = "last"
    mean = "mean"
    feather = "feather"
    min = "min"
    max = "max"


class Resampling(StrEnum):
    """How tiles on other pixels are brought to those of the mosaic."""

    nearest = "nearest"
    bilinear = "bilinear"
    cubic = "cubic"
    lanczos = "lanczos"
    average = "average"


EXAMPLES = (
    "geotrans mosaic tiles/ -o mosaic.tif",
    "geotrans mosaic 'a/*.tif' b.tif -o mosaic.tif --blend feather --crs EPSG:32633",
    "geotrans mosaic translated/*.png -o whole.tif --plan tiles/plan.json",
)


def command(
    tiles: Annotated[
        list[str], typer.Argument(help="Rasters, directories, patterns such as 'a/*.tif', URLs.")
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="File to write.")],
    blend: Annotated[
        Blend, typer.Option(help="What becomes of a pixel that several tiles hold.")
    ] = Blend.first,
    feather: Annotated[
        int, typer.Option(help="Px over which a tile's weight rises from its edge, for feather.")
    ] = 128,
    seamline: Annotated[
        bool,
        typer.Option("--seamline", help="Cut overlaps where tiles differ least; no blending."),
    ] = False,
    balance: Annotated[
        bool,
        typer.Option(
            "--balance",
            help="Gain and offset for each tile, so that they agree where they overlap.",
        ),
    ] = False,
    crs: Annotated[str | None, typer.Option(help="CRS.  [default: that of most tiles]")] = None,
    gsd: Annotated[
        float | None,
        typer.Option(help="Pixel size on the ground, m.  [default: that of most tiles]"),
    ] = None,
    bbox: Bbox = None,
    like: Annotated[
        str | None, typer.Option(help="Raster whose grid the mosaic gets.", metavar="RASTER")
    ] = None,
    resampling: Annotated[
        Resampling, typer.Option(help="How tiles on other pixels are resampled.")
    ] = Resampling.bilinear,
    plan: Annotated[
        Path | None,
        typer.Option(
            help="Plan of 'geotrans tile' that the tiles were cut by: each goes where it was, by "
            "its name, even if its file no longer says where it lies.",
            metavar="plan.json",
        ),
    ] = None,
    workers: Annotated[int, typer.Option(help="Processes that make blocks.")] = 1,
    creation_options: CreationOptions = None,
    overwrite: Overwrite = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be done, and write nothing.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Join rasters of one kind, overlapping or not, into a cloud-optimised GeoTIFF.

    The mosaic goes on with the pixels that most tiles have, so that these are copied and only the
    others resampled. Prints the file written. A run that is stopped leaves its finished blocks
    beside it; the same command goes on from there.
    """
    from geotrans.mosaicking.mosaic import estimate_mosaic, mosaic

    choices: dict[str, Any] = {
        "out": output,
        "blend": blend.value,
        "feather": feather,
        "seamline": seamline,
        "balance": balance,
        "crs": crs,
        "gsd_m": gsd,
        "bbox": parse_bbox(bbox),
        "like": like,
        "resampling": resampling.value,
        "plan": plan,
        "overwrite": overwrite,
    }
    if dry_run:
        estimate = estimate_mosaic(tiles, **choices)
        console.emit(estimate.to_dict() if as_json else estimate, as_json=as_json)
        return
    product = mosaic(
        tiles,
        **choices,
        workers=workers,
        creation_options=parse_pairs(creation_options, option="--co"),
        progress=console.progress,
    )
    console.emit(product.to_dict() if as_json else product.path, as_json=as_json)
