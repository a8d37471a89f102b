"""`geotrans train`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from geotrans.cli import console
from geotrans.cli.options import Json

Config = Annotated[Path, typer.Argument(metavar="CONFIG.yaml", help="What to train, and on what.")]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[KEY=VALUE]...", help="Such as training.max_minutes=30.", show_default=False
    ),
]
Folder = Annotated[
    Path | None,
    typer.Option("-o", "--output", help="Folder of the run. [default: runs/TASK]"),
]
New = Annotated[
    bool, typer.Option("--new", help="Refuse a folder that holds a checkpoint to go on from.")
]


EXAMPLES = (
    "geotrans train my_town.yaml",
    "geotrans train my_town.yaml training.max_minutes=120 -o runs/first",
)


def command(
    config: Config,
    overrides: Overrides = None,
    output: Folder = None,
    new: New = False,
    as_json: Json = False,
) -> None:
    """Train a task from a configuration and export its bundle.

    The folder of the run holds curves (CSV and TensorBoard), sample sheets, a checkpoint and, at
    the end, the bundle, which 'geotrans translate --task PATH' uses at once. The same command goes
    on from the checkpoint of a run that was stopped.
    """
    from geotrans.training import train

    trained = train(config, overrides or [], out=output, resume=not new, quiet=console.is_quiet())
    if os.environ.get("LOCAL_RANK", "0") != "0":  # one process per device; the first one reports
        return
    if as_json:
        console.emit(
            {
                "bundle": str(trained.bundle),
                "folder": str(trained.folder),
                "scores": trained.scores,
                "step": trained.step,
                "steps": trained.steps,
                "seconds": trained.seconds,
            },
            as_json=True,
        )
        return
    for name, value in trained.scores.items():
        console.emit(f"{name} {value:.4g}")
    console.emit(trained.bundle)
