"""Everything geotrans raises on purpose, and the exit code each error ends a command with.

    GeotransError
    ├── UsageError        (ValueError)    an option or argument that cannot be meant
    │   ├── BandError                     bands asked for and bands found do not fit
    │   ├── ConfigError                   a training or style file that cannot be read
    │   ├── DomainError                   a scene unlike anything the task has seen
    │   ├── TaskError                     no such task
    │   └── TilingError                   a tile plan that cannot be made
    ├── SceneError        (OSError)       a raster or vector file that cannot be read
    ├── BundleError       (OSError)       a bundle or checkpoint that is damaged or foreign
    ├── OutputError       (OSError)       a product that cannot be written
    ├── DeviceError       (RuntimeError)  a device that was asked for and is not there
    ├── ClusterError      (RuntimeError)  a Dask cluster that does not answer or does not fit
    ├── ExtraError        (ImportError)   a library of an extra that is not installed
    ├── SamplingError     (ValueError)    collections with no window to draw
    └── TrainingError     (RuntimeError)  a run that cannot go on

A message tells what was asked, what was found and what to do.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class GeotransError(Exception):
    """Root of every error geotrans raises on purpose."""


class UsageError(GeotransError, ValueError):
    """An option or argument that cannot be meant."""


class BandError(UsageError):
    """The bands a task reads and the bands a scene has do not fit."""


class ConfigError(UsageError):
    """A training configuration or a style that cannot be read."""


class DomainError(UsageError):
    """A scene outside the ground sampling distance, values or style a task has seen."""


class TaskError(UsageError):
    """A task that neither ships nor lies in a file."""


class TilingError(UsageError):
    """A tile plan that cannot be made."""


class SceneError(GeotransError, OSError):
    """A raster or vector source that is missing, damaged or unreadable."""


class BundleError(GeotransError, OSError):
    """A bundle or checkpoint that is missing, damaged or foreign."""


class OutputError(GeotransError, OSError):
    """A product that cannot be written where it was asked for."""


class DeviceError(GeotransError, RuntimeError):
    """A device or precision that was asked for and is not there."""


class ClusterError(GeotransError, RuntimeError):
    """A Dask cluster that does not answer, or whose workers cannot do the work."""


class ExtraError(GeotransError, ImportError):
    """A library that only an extra brings, and that is not installed."""


class SamplingError(GeotransError, ValueError):
    """Scenes that offer no window of the kind asked for."""


class TrainingError(GeotransError, RuntimeError):
    """A training run that cannot start or go on."""


EXIT_DONE = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_PARTLY_FAILED = 3
EXIT_INTERRUPTED = 130

# The first class that fits decides.
EXIT_CODES: tuple[tuple[type[BaseException], int], ...] = (
    (UsageError, EXIT_USAGE),
    (GeotransError, EXIT_FAILED),
    (KeyboardInterrupt, EXIT_INTERRUPTED),
)


def exit_code(error: BaseException) -> int:
    """Exit code of the command that `error` ended."""
    return next((code for kind, code in EXIT_CODES if isinstance(error, kind)), EXIT_FAILED)


def nearest(word: str, choices: Iterable[str]) -> str:
    """`"; did you mean 'x'?"` for the choice closest to `word`, or nothing if none is close."""
    found = difflib.get_close_matches(word, list(choices), n=1, cutoff=0.5)
    return f"; did you mean '{found[0]}'?" if found else ""
