"""Options that several commands share, and the words they take."""

from __future__ import annotations

import shlex
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from geotrans.errors import UsageError

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

AsWhat = Annotated[As, typer.Option("--as", help="Write a map as colours or classes.")]
Seed = Annotated[int, typer.Option(help="Another seed is another equally likely picture.")]
Tile = Annotated[
    int | None, typer.Option(help="Largest core edge of a tile, px. Never changes a pixel.")
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")]
Cluster = Annotated[
    str | None,
    typer.Option(
        "--cluster",
        help="Dask cluster whose workers translate: an address, or a scheduler file.",
        metavar="tcp://HOST:8786",
    ),
]
Arithmetic = Annotated[Precision, typer.Option(help="Arithmetic of the network.")]
AnyGsd = Annotated[
    bool, typer.Option("--any-gsd", help="Take pixels of a size the task has not seen.")
]
AnyValues = Annotated[bool, typer.Option("--any-values", help="Take values the task has not seen.")]
AnyStyle = Annotated[
    bool, typer.Option("--any-style", help="Take a map in a style the task has not seen.")
]
CreationOptions = Annotated[
    list[str] | None, typer.Option("--co", help="Option of GDAL's COG driver.", metavar="KEY=VALUE")
]


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
