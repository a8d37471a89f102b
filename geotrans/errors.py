"""Everything geotrans raises on purpose, and the exit code each error ends a command with.

    GeotransError
    ├── UsageError        (ValueError)    an invalid option or argument
    │   ├── BandError                     bands of the task and of the scene do not match
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

A message says what was asked, what was found and what to do. Where it names an option it holds
`option(...)`, which is spelled when the message is shown: `overwrite=True` in Python, `--overwrite`
on the command line. Log lines name options in plain words.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

# An option in a message: its name, and an example value as JSON, which is ASCII.
_OPTION = re.compile("\u27e6([a-z]\\w*)(?:=([^\u27e7]*))?\u27e7")


class GeotransError(Exception):
    """Root of every error geotrans raises on purpose."""

    def __str__(self) -> str:
        """The message, with options spelled for the caller."""
        return spell(super().__str__())

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self)!r})"

    @property
    def options(self) -> tuple[str, ...]:
        """The options the message names, by their keywords in Python."""
        return tuple(dict.fromkeys(name for name, _ in _OPTION.findall(super().__str__())))


class UsageError(GeotransError, ValueError):
    """An invalid option or argument."""


class BandError(UsageError):
    """The bands a task reads and the bands of a scene do not match."""


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


def option(name: str, value: Any = None) -> str:
    """An option as it stands in the message of an error.

    Args:
        name: Its keyword in Python.
        value: What to give it, if the message says so; True is a flag on the command line.
    """
    example = "" if value is None else f"={json.dumps(value, default=str)}"
    return f"\u27e6{name}{example}\u27e7"


def message_of(error: BaseException) -> str:
    """The message of an error, for the message of another: its options are spelled later."""
    return Exception.__str__(error) if isinstance(error, GeotransError) else str(error)


def _keyword(name: str, value: Any = None) -> str:
    """An option as Python spells it: `tile`, `tile=512`, `norm_stats="scene"`."""
    if value is None:
        return name
    return f"{name}={value if isinstance(value, bool) else json.dumps(value, ensure_ascii=False)}"


_spell_option: Callable[[str, Any], str] = _keyword


def spell(message: str) -> str:
    """A message with its options spelled for the caller."""

    def spell_match(match: re.Match[str]) -> str:
        try:
            value = None if match[2] is None else json.loads(match[2])
        except ValueError:  # None of ours.
            return match[0]
        return _spell_option(match[1], value)

    return _OPTION.sub(spell_match, message)


@contextmanager
def spelling(spell_option: Callable[[str, Any], str]) -> Iterator[None]:
    """Spell options by another function meanwhile, in all threads.

    Args:
        spell_option: Gives an option's name and example value, or None, as a user writes it.
    """
    global _spell_option
    previous, _spell_option = _spell_option, spell_option
    try:
        yield
    finally:
        _spell_option = previous


def exit_code(error: BaseException) -> int:
    """Exit code of the command that `error` ended."""
    return next((code for kind, code in EXIT_CODES if isinstance(error, kind)), EXIT_FAILED)


def suggest(word: str, choices: Iterable[str]) -> str:
    """`"; did you mean 'x'?"` for the choice closest to `word`, or nothing if none is close."""
    matches = difflib.get_close_matches(word, list(choices), n=1, cutoff=0.5)
    return f"; did you mean '{matches[0]}'?" if matches else ""
