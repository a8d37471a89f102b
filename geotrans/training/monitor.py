"""What a run tells while it runs: a progress bar, CSV and TensorBoard curves, sample sheets."""

from __future__ import annotations

import csv
import logging
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

log = logging.getLogger(__name__)


class Monitor:
    """Writes the curves of a run and shows how far it is.

    Args:
        folder: Folder of the run.
        step: Step the run starts from; later rows of an interrupted run are dropped.
        quiet: Whether to show no progress.
    """

    def __init__(self, folder: Path, *, step: int, quiet: bool) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.folder = folder
        self._losses = _Curve(folder / "losses.csv", step)
        self._scores = _Curve(folder / "scores.csv", step)
        self._board = SummaryWriter(str(folder / "tensorboard"), purge_step=step)
        self._quiet = quiet or not sys.stderr.isatty()
        self._since, self._images = time.monotonic(), 0

    def losses(self, step: int, values: Mapping[str, float]) -> None:
        """Record the losses of a step."""
        self._losses.add(step, values)
        for name, value in values.items():
            self._board.add_scalar(f"loss/{name}", value, step)

    def scores(self, step: int, values: Mapping[str, float]) -> None:
        """Record the held-out scores of a step."""
        self._scores.add(step, values)
        for name, value in values.items():
            self._board.add_scalar(f"val/{name}", value, step)
        self._board.flush()
        told = "  ".join(f"{name} {value:.4g}" for name, value in values.items())
        log.info("step %d: %s", step, told)

    def progress(self, step: int, *, images: int, share: float, seconds: float) -> None:
        """Show speed and time left.

        Args:
            step: Steps done.
            images: Patches since the last call.
            share: Share of the run that is done.
            seconds: Seconds of training so far.
        """
        self._images += images
        now = time.monotonic()
        if self._quiet or now - self._since < 0.5:
            return
        speed = self._images / (now - self._since)
        left = seconds * (1 - share) / share if share > 0 else float("nan")
        bar = "#" * round(24 * share)
        sys.stderr.write(
            f"\r[{bar:<24}] {share:4.0%}  step {step}  {speed:5.1f} images/s  "
            f"{left / 60:5.1f} min left "
        )
        sys.stderr.flush()
        self._since, self._images = now, 0

    def close(self) -> None:
        """Finish the files and the line of the progress bar."""
        self._losses.close()
        self._scores.close()
        self._board.close()
        if not self._quiet:
            sys.stderr.write("\n")


class _Curve:
    """A CSV file with a column a name; rows from `step` on are dropped when it is opened."""

    def __init__(self, path: Path, step: int) -> None:
        rows = []
        if path.is_file():
            with path.open(newline="", encoding="utf-8") as file:
                rows = list(csv.reader(file))
        self._names = rows[0] if rows else []
        kept = [row for row in rows[1:] if int(row[0]) <= step]
        self._file = path.open("w", newline="", encoding="utf-8")
        self._writer = csv.writer(self._file)
        self._writer.writerows([self._names, *kept] if rows else [])

    def add(self, step: int, values: Mapping[str, float]) -> None:
        if not self._names:
            self._names = ["step", *values]
            self._writer.writerow(self._names)
        row = {"step": step, **{name: f"{value:.6g}" for name, value in values.items()}}
        self._writer.writerow([row.get(name, "") for name in self._names])
        self._file.flush()

    def close(self) -> None:
        self._file.close()


def save_sheet(path: Path, rows: list[list[npt.NDArray[np.uint8]]]) -> None:
    """Write pictures `(3, H, W)` of equal size as a sheet, one row a place."""
    import warnings

    import rasterio
    from rasterio.errors import NotGeoreferencedWarning

    lines = [np.concatenate(row, axis=2) for row in rows]
    sheet = np.concatenate(lines, axis=1)
    part = path.with_name(f".{path.name}.part.png")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)  # a picture of several places
        profile: dict[str, Any] = {"driver": "PNG", "dtype": "uint8", "count": 3}
        with rasterio.open(
            part, "w", height=sheet.shape[1], width=sheet.shape[2], **profile
        ) as file:
            file.write(sheet)
    part.replace(path)
