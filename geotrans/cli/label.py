"""`geotrans label`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from geotrans.cli import completion, console
from geotrans.cli.options import Bbox, Overwrite, parse_bbox

EXAMPLES = (
    "geotrans label photograph.tif -o cover.tif",
    "geotrans label photograph.tif --bands red=1,green=2,blue=3,nir=4 --overwrite",
)


def command(
    scene: Annotated[str, typer.Argument(help="Raster of red, green, blue and near infrared.")],
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", help="File to write.  [default: STEM_RECIPE.tif beside the scene]"
        ),
    ] = None,
    recipe: Annotated[
        str,
        typer.Option(help="Name of a recipe, or a YAML file.", autocompletion=completion.recipes),
    ] = "landcover",
    vectors: Annotated[
        str | None,
        typer.Option(
            help="Vectors the recipe paints over the rest, such as roads.", metavar="FILE"
        ),
    ] = None,
    bands: Annotated[
        str | None,
        typer.Option(metavar="NAME=N,...", help="Bands of the scene, if their names do not say."),
    ] = None,
    bbox: Bbox = None,
    any_gsd: Annotated[bool, typer.Option("--any-gsd", help="Take pixels of any size.")] = False,
    any_values: Annotated[bool, typer.Option("--any-values", help="Take any values.")] = False,
    overwrite: Overwrite = False,
) -> None:
    """Sort the pixels of a photograph into classes: the input of a task that reads classes.

    Writes one band of class values with colour table and names, 255 where the photograph holds
    nothing. Prints the file written.
    """
    from geotrans.labelling.label import label
    from geotrans.labelling.recipe import load_recipe
    from geotrans.labelling.scene import WantedBand
    from geotrans.scene import open_scene
    from geotrans.scene.bands import parse_mapping

    rules = load_recipe(recipe)
    opened = open_scene(scene)
    mapping = None
    if bands is not None:
        mapping = parse_mapping(bands, [WantedBand(name) for name in rules.bands])
    path = label(
        opened,
        _choose_destination(scene, opened.name, rules.name, output),
        recipe=rules,
        bands=mapping,
        vectors=vectors,
        bbox=parse_bbox(bbox),
        any_gsd=any_gsd,
        any_values=any_values,
        overwrite=overwrite,
        progress=console.progress,
    )
    console.emit(path)


def _choose_destination(scene: str, stem: str, recipe: str, output: Path | None) -> Path:
    name = f"{stem}_{recipe}.tif"
    if output is not None:
        return output / name if output.is_dir() else output
    source = Path(scene)
    return source.with_name(name) if source.exists() else Path(name)
