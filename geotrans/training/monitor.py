"""Monitoring of a run: progress bar, CSV and TensorBoard curves, sample sheets."""

from __future__ import annotations

import csv
import logging
import sys
import time
import types
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import numpy as np
import numpy.typing as npt

from geotrans.runtime.files import write_atomically

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

log = logging.getLogger(__name__)


class Monitor:
    """Writes the curves of a run and shows its progress.

    Args:
        folder: Folder of the run.
        step: Step the run starts from; later rows of an interrupted run are dropped.
        quiet: Whether to show no progress.
    """

    def __init__(self, folder: Path, *, step: int, quiet: bool) -> None:
        self._losses = _Curve(folder / "losses.csv", step)
        self._scores = _Curve(folder / "scores.csv", step)
        self._timing = _Curve(folder / "timing.csv", step)
        self._board = _open_board(folder / "tensorboard", step)
        self._quiet = quiet or not sys.stderr.isatty()
        self._since, self._images = time.monotonic(), 0

    def log_losses(self, step: int, values: Mapping[str, float]) -> None:
        """Record the losses of a step."""
        self._losses.add(step, values)
        for name, value in values.items():
            self._board.add_scalar(f"loss/{name}", value, step)

    def log_scores(self, step: int, values: Mapping[str, float]) -> None:
        """Record the held-out scores of a step."""
        self._scores.add(step, values)
        for name, value in values.items():
            self._board.add_scalar(f"val/{name}", value, step)
        self._board.flush()
        message = "  ".join(f"{name} {value:.4g}" for name, value in values.items())
        log.info("step %d: %s", step, message)

    def log_timing(self, step: int, *, seconds: float, images: int) -> None:
        """Record the elapsed time, s, and the number of patches seen."""
        self._timing.add(step, {"seconds": seconds, "images": images})

    def show_progress(self, step: int, *, images: int, share: float, seconds: float) -> None:
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
        self._timing.close()
        self._board.close()
        if not self._quiet:
            sys.stderr.write("\n")


def _open_board(folder: Path, step: int) -> SummaryWriter:
    """TensorBoard's curves from `step` on."""
    # This module is tensorboard's own switch against importing TensorFlow, where that is installed,
    # merely to make paths: seconds, and hundreds of megabytes.
    switch = "tensorboard.compat.notf"
    sys.modules.setdefault(switch, types.ModuleType(switch))
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(folder), purge_step=step)


class _Curve:
    """A CSV file with one column per name; names that appear later get a new column."""

    def __init__(self, path: Path, step: int) -> None:
        self._path = path
        self._names = ["step"]
        self._rewrite(last=step)

    def add(self, step: int, values: Mapping[str, float]) -> None:
        new = [name for name in values if name not in self._names]
        if new:
            self._file.close()
            self._names += new
            self._rewrite()
        cells = {name: f"{value:.6g}" for name, value in values.items()}
        self._writer.writerow({"step": step, **cells})
        self._file.flush()

    def close(self) -> None:
        self._file.close()

    def _rewrite(self, *, last: int | None = None) -> None:
        """Write the rows anew under all names, without those after step `last`."""
        rows: list[dict[str, str]] = []
        if self._path.is_file():
            with self._path.open(newline="", encoding="utf-8") as file:
                reader = csv.DictReader(file)
                rows = [row for row in reader if _is_whole(row)]
                self._names += [n for n in reader.fieldnames or () if n not in self._names]
        with (
            write_atomically(self._path) as part,
            part.open("w", newline="", encoding="utf-8") as file,
        ):
            writer = self._open_writer(file)
            writer.writeheader()
            writer.writerows(r for r in rows if last is None or int(r["step"]) <= last)
        self._file = self._path.open("a", newline="", encoding="utf-8")
        self._writer = self._open_writer(self._file)

    def _open_writer(self, file: TextIO) -> csv.DictWriter[str]:
        return csv.DictWriter(file, self._names, restval="", lineterminator="\n")


def _is_whole(row: Mapping[str | None, object]) -> bool:
    """Whether a row is complete, not truncated by a killed run."""
    return None not in row and None not in row.values() and str(row.get("step")).isdigit()


def save_sheet(path: Path, rows: list[list[npt.NDArray[np.uint8]]]) -> None:
    """Write pictures `(3, H, W)` of equal size as a sheet, one row a place."""
    import warnings

    import rasterio
    from rasterio.errors import NotGeoreferencedWarning

    lines = [np.concatenate(row, axis=2) for row in rows]
    sheet = np.concatenate(lines, axis=1)
    with write_atomically(path) as part, warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)  # a picture of several places
        profile: dict[str, Any] = {"driver": "PNG", "dtype": "uint8", "count": 3}
        with rasterio.open(
            part, "w", height=sheet.shape[1], width=sheet.shape[2], **profile
        ) as file:
            file.write(sheet)
