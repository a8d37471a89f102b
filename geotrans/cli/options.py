"""Options that several commands share, and the words they take."""

from __future__ import annotations

import inspect
import shlex
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from geotrans.cli import completion
from geotrans.errors import UsageError

if TYPE_CHECKING:
    from geotrans.archive.inputs import ItemOptions
    from geotrans.translation.options import PixelOptions, RunOptions

# Options of commands that are not called as their keywords in Python are; see `spell_flag`.
FLAGS = {
    "out": "-o",
    "creation_options": "--co",
    "source": "--source-bands",  # of import-weights
    "target": "--target-bands",
}


class Precision(StrEnum):
    """Arithmetic of the network."""

    auto = "auto"
    float32 = "float32"
    bfloat16 = "bfloat16"


class As(StrEnum):
    """What a map is written as."""

    rgb = "rgb"
    classes = "classes"


Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Output = Annotated[Path | None, typer.Option("-o", "--output", help="File to write.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an existing file.")]
Bbox = Annotated[
    str | None, typer.Option("--bbox", metavar="XMIN,YMIN,XMAX,YMAX", help="Lon-lat degrees.")
]

CreationOptions = Annotated[
    list[str] | None, typer.Option("--co", help="Option of GDAL's COG driver.", metavar="KEY=VALUE")
]
Task = Annotated[
    str,
    typer.Option("--task", "-t", help="Task, or a bundle file.", autocompletion=completion.tasks),
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Say what would be done and cost, and write nothing.")
]


def _refuse_plan(is_given: bool) -> None:
    if is_given:
        raise UsageError("a dry run is --dry-run; --plan is the tile plan of geotrans mosaic")


OldPlan = Annotated[
    bool, typer.Option("--plan", hidden=True, callback=_refuse_plan, expose_value=False)
]


Command = Callable[..., None]

# Arguments of commands that stand for a group of options.
_groups: set[str] = set()


def option_group(name: str) -> Callable[[Callable[..., Any]], Callable[[Command], Command]]:
    """Make a decorator of a function whose parameters are options, and whose value is an argument.

    typer has no options that commands share. The decorated command takes one parameter `name`; the
    command line shows the parameters of the group in its place.
    """
    _groups.add(name)

    def make(group: Callable[..., Any]) -> Callable[[Command], Command]:
        options = _parameters(group)

        def decorate(command: Command) -> Command:
            def with_group(**values: Any) -> None:
                value = group(**{option.name: values.pop(option.name) for option in options})
                command(**values, **{name: value})

            parameters = [
                option
                for parameter in _parameters(command)
                for option in (options if parameter.name == name else (parameter,))
            ]
            # Not by functools.wraps: typer would look through to the command.
            with_group.__name__, with_group.__doc__ = command.__name__, command.__doc__
            with_group.__annotations__ = {option.name: option.annotation for option in parameters}
            with_group.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
            return with_group

        return decorate

    return make


def _parameters(function: Callable[..., Any]) -> list[inspect.Parameter]:
    """Parameters by keyword, with their annotations as values: modules hold them as text."""
    return [
        parameter.replace(
            kind=inspect.Parameter.KEYWORD_ONLY,
            annotation=parameter.annotation
            if parameter.name in _groups or not isinstance(parameter.annotation, str)
            else eval(parameter.annotation, function.__globals__),
        )
        for parameter in inspect.signature(function).parameters.values()
    ]


@option_group("pixels")
def pixel_options(
    *,
    bands: Annotated[
        str | None,
        typer.Option(help="Bands of the scene for those of the task.", metavar="red=1,green=2"),
    ] = None,
    as_: Annotated[As, typer.Option("--as", help="Write a map as colours or classes.")] = As.rgb,
    seed: Annotated[int, typer.Option(help="Another seed is another equally likely picture.")] = 0,
    halo: Annotated[
        int | None,
        typer.Option(
            help="Context to read around each tile, px. Less than the network sees is faster and "
            "not exact; the error is measured on one tile, reported and recorded.  [default: all "
            "it sees]",
        ),
    ] = None,
    precision: Annotated[
        Precision, typer.Option(help="Arithmetic of the network.")
    ] = Precision.auto,
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
    nodata: Annotated[
        float | None,
        typer.Option(
            help="Stored value that marks pixels as not measured, where the file does not say it."
        ),
    ] = None,
    any_gsd: Annotated[
        bool, typer.Option("--any-gsd", help="Take pixels of a size the task has not seen.")
    ] = False,
    any_values: Annotated[
        bool, typer.Option("--any-values", help="Take values the task has not seen.")
    ] = False,
    any_style: Annotated[
        bool, typer.Option("--any-style", help="Take a map in a style the task has not seen.")
    ] = False,
) -> PixelOptions:
    """Options that decide pixels."""
    from geotrans.translation.options import PixelOptions

    return PixelOptions(
        bands=bands, as_=as_.value, seed=seed, halo=halo, precision=precision.value,
        norm_stats=norm_stats, nodata=nodata, any_gsd=any_gsd, any_values=any_values,
        any_style=any_style,
    )  # fmt: skip


@option_group("run")
def run_options(
    *,
    tile: Annotated[
        int | None, typer.Option(help="Largest core edge of a tile, px. Never changes a pixel.")
    ] = None,
    memory: Annotated[
        str | None,
        typer.Option(
            help="Budget for all processes together, which sets the tile.", metavar="1.5GB"
        ),
    ] = None,
    workers: Annotated[
        int, typer.Option(help="Processes that translate; of an archive, one scene each.")
    ] = 1,
    cluster: Annotated[
        str | None,
        typer.Option(
            help="Dask cluster whose workers translate: an address, or a scheduler file.",
            metavar="tcp://HOST:8786",
        ),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
) -> RunOptions:
    """Options that never change a pixel."""
    from geotrans.translation.options import RunOptions

    return RunOptions(tile=tile, memory=memory, workers=workers, cluster=cluster, device=device)


@option_group("items")
def item_options(
    *,
    stac_api: Annotated[
        str | None, typer.Option(help="STAC API to search for items.", metavar="URL")
    ] = None,
    collection: Annotated[
        list[str] | None, typer.Option(help="Collection to search there; may be repeated.")
    ] = None,
    bbox: Bbox = None,
    datetime: Annotated[
        str | None, typer.Option(help="When items were acquired.", metavar="START/END")
    ] = None,
    mask_asset: Annotated[
        str | None, typer.Option(help="Asset of items that tells which pixels to leave out.")
    ] = None,
    mask_values: Annotated[
        str | None, typer.Option(help="Its values that mark them.", metavar="3,8,9,10")
    ] = None,
) -> ItemOptions:
    """STAC Items to be searched for, and which of their pixels to leave out."""
    from geotrans.archive.inputs import ItemOptions

    return ItemOptions(
        stac_api=stac_api, collection=collection, bbox=parse_bbox(bbox), datetime=datetime,
        mask_asset=mask_asset, mask_values=mask_values,
    )  # fmt: skip


def parse_bbox(text: str | None) -> tuple[float, float, float, float] | None:
    """`"xmin,ymin,xmax,ymax"` as four numbers."""
    if text is None:
        return None
    try:
        xmin, ymin, xmax, ymax = (float(word) for word in text.split(","))
    except ValueError:
        raise UsageError(f"--bbox {text} is not four numbers; give xmin,ymin,xmax,ymax") from None
    return xmin, ymin, xmax, ymax


def parse_pairs(words: list[str] | None, *, option: str) -> dict[str, str]:
    """`["KEY=VALUE", ...]` as a dict; `"A=1,B=2"` is two pairs."""
    pairs: dict[str, str] = {}
    for word in (part for text in words or () for part in text.split(",")):
        key, separator, value = word.partition("=")
        if not (key and separator and value):
            raise UsageError(f"{option} {word} is not KEY=VALUE")
        pairs[key.strip()] = value.strip()
    return pairs


def parse_names(text: str) -> list[str]:
    """`"red,green"` as a list of words."""
    return [word.strip() for word in text.split(",")]


def parse_range(text: str | None, *, option: str) -> tuple[float, float] | None:
    """`"low,high"` as two numbers."""
    if text is None:
        return None
    try:
        low, high = (float(word) for word in text.split(","))
    except ValueError:
        raise UsageError(f"{option} {text} is not two numbers; give LOW,HIGH") from None
    return low, high


def spell_flag(name: str, value: Any = None) -> str:
    """An option that an error names, as it is written on the command line.

    Args:
        name: Its keyword in Python.
        value: What to give it, if the error says so.
    """
    flag = FLAGS.get(name) or f"--{name.rstrip('_').replace('_', '-')}"
    if value is None or value is True:
        return flag
    if isinstance(value, dict):
        value = ",".join(f"{key}={word}" for key, word in value.items())
    return f"{flag} {shlex.quote(str(value))}"
