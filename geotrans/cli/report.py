"""`geotrans report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from geotrans.cli import console

EXAMPLES = ("geotrans report runs/my_map2aerial",)


def command(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a training run.")],
) -> None:
    """Write report.html of a training run, finished or not, and print its path.

    'geotrans train' does so when it ends; this shows a run that goes on, or one that was killed.
    """
    from geotrans.training.report import write_report

    console.emit(write_report(run))
