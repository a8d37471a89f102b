"""`geotrans evaluate`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from geotrans.cli import completion, console
from geotrans.cli.options import Json, Overwrite

if TYPE_CHECKING:
    from geotrans.evaluation import Evaluation

EXAMPLES = (
    "geotrans evaluate cir2rgb -o cir2rgb_scores",
    "geotrans evaluate map2aerial --inverse aerial2map --seed 1",
    "geotrans evaluate products/ --data my_town.yaml -o scores",
)


def command(
    what: Annotated[
        str,
        typer.Argument(
            metavar="TASK|PRODUCTS",
            help="Task, bundle file, or folder of products.",
            autocompletion=completion.tasks,
        ),
    ],
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="CONFIG.yaml|CACHE",
            help="Whose section 'data:' names the places, or a patch cache.  [default: the "
            "bundle's own configuration]",
        ),
    ] = None,
    split: Annotated[str, typer.Option(help="Split of it; it must hold pairs.")] = "val",
    group: Annotated[
        str | None,
        typer.Option(help="Group of the places, as a year, or all.  [default: training's]"),
    ] = None,
    inverse: Annotated[
        str | None,
        typer.Option(
            metavar="TASK",
            help="Way back, for the cycle error.  [default: the bundle's own]",
            autocompletion=completion.tasks,
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Which of the equally plausible pictures.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    precision: Annotated[str, typer.Option(help="auto, float32 or bfloat16.")] = "float32",
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            help="Folder for report.html, scores.json and, by place, places.gpkg and "
            "places.parquet.",
        ),
    ] = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Score a task, or finished products, on held-out places, beside what needs no network.

    Prints a table of every score with its 95 % confidence interval over places.
    """
    from geotrans.evaluation import evaluate

    evaluation = evaluate(
        what, data=data, split=split, group=group, inverse=inverse, seed=seed, device=device,
        precision=precision, out=output, overwrite=overwrite,
        progress=partial(console.progress, unit="steps"),
    )  # fmt: skip
    if as_json:
        console.emit(evaluation.to_dict(), as_json=True)
        return
    _print_table(evaluation)
    if output is not None:
        console.emit(output / "report.html")


def _print_table(evaluation: Evaluation) -> None:
    """The table of scores on stdout."""
    import sys

    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for i, name in enumerate(evaluation.header()):
        table.add_column(name, justify="left" if i == 0 else "right", overflow="fold")
    for row in evaluation.rows():
        table.add_row(*row)
    out = Console(width=None if sys.stdout.isatty() else 160, highlight=False, markup=False)
    out.print(table)
    out.print(f"{evaluation.summary()}; in brackets {evaluation.facts['interval']}")
