"""`geotrans render`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from geotrans.cli import completion, console
from geotrans.cli.options import Overwrite, parse_bbox
from geotrans.errors import TaskError, UsageError
from geotrans.scene.samples import PREFIX

if TYPE_CHECKING:
    from geotrans.maps.style import Style


EXAMPLES = (
    "geotrans render town.osm.pbf --style-of map2aerial --gsd 0.6 -o town.tif",
    "geotrans render sample:town --style-of map2aerial --gsd 0.6 -o town.tif",
    "geotrans render streets.gpkg --like photograph.tif -o map.tif",
)


def command(
    vectors: Annotated[
        str,
        typer.Argument(help="GeoPackage, GeoJSON, Shapefile, .osm.pbf ...; or sample:NAME."),
    ],
    gsd: Annotated[float | None, typer.Option(help="Pixel size on the ground, m.")] = None,
    bbox: Annotated[
        str | None,
        typer.Option(
            metavar="XMIN,YMIN,XMAX,YMAX", help="Place to draw, lon-lat degrees.  [default: all]"
        ),
    ] = None,
    bbox_crs: Annotated[str | None, typer.Option(help="CRS of --bbox, if not lon-lat.")] = None,
    crs: Annotated[
        str | None,
        typer.Option(help="CRS of the map.  [default: that of the vectors; UTM if in degrees]"),
    ] = None,
    like: Annotated[
        str | None, typer.Option(help="Raster on whose grid to draw.", metavar="RASTER")
    ] = None,
    style: Annotated[
        str | None,
        typer.Option(
            help="Name of a style, or a YAML file.  [default: plain]",
            autocompletion=completion.styles,
        ),
    ] = None,
    style_of: Annotated[
        str | None,
        typer.Option(
            metavar="TASK",
            help="Draw in the style a task, or a bundle, has learned.",
            autocompletion=completion.tasks,
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", help="File to write.  [default: STEM_STYLE.tif beside the vectors]"
        ),
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Draw vectors as a map raster in a style: the input of a task that reads maps.

    Say which pixels to draw with --gsd, and --bbox for a part, or with --like. Prints the file
    written.
    """
    from geotrans.maps.render import render_map
    from geotrans.maps.style import load_style

    if style is not None and style_of is not None:
        raise UsageError("--style and --style-of both name a style; give one")
    loaded_style = (
        _load_task_style(style_of) if style_of is not None else load_style(style or "plain")
    )
    path = render_map(
        vectors,
        _choose_destination(vectors, loaded_style.name, output),
        style=loaded_style,
        gsd_m=gsd,
        bbox=parse_bbox(bbox),
        bbox_crs=bbox_crs,
        crs=crs,
        like=like,
        overwrite=overwrite,
        progress=console.progress,
    )
    console.emit(path)


def _choose_destination(vectors: str, style: str, output: Path | None) -> Path:
    source = Path(vectors.removeprefix(PREFIX))
    name = f"{source.name.split('.')[0]}_{style}.tif"
    if output is not None:
        return output / name if output.is_dir() else output
    return source.with_name(name) if source.exists() else Path(name)


def _load_task_style(task: str) -> Style:
    """The style a task's bundle carries."""
    from geotrans.maps.style import load_style
    from geotrans.tasks import open_bundle

    style: dict[str, Any] | None = open_bundle(task).spec.style
    if style is None:
        raise TaskError(f"task '{task}' neither reads nor draws maps; give a --style instead")
    return load_style(style)
