"""Options that several commands share, and the words they take."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from geotrans.errors import UsageError

Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Output = Annotated[Path | None, typer.Option("-o", "--output", help="File to write.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an existing file.")]
Bbox = Annotated[
    str | None, typer.Option("--bbox", metavar="XMIN,YMIN,XMAX,YMAX", help="Lon-lat degrees.")
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
