"""Tasks by name: the bundles that ship with geotrans, and any other by its path."""

from __future__ import annotations

import os
from importlib import resources
from os import PathLike
from pathlib import Path

from geotrans.errors import TaskError, suggest
from geotrans.tasks.bundle import Bundle, read_spec
from geotrans.tasks.spec import TaskSpec

SUFFIX = ".safetensors"


def shipped_bundles() -> dict[str, Path]:
    """Files of the bundles that ship with geotrans, by name of the task."""
    zoo = Path(str(resources.files("geotrans.tasks"))) / "zoo"
    return {path.stem: path for path in sorted(zoo.glob(f"*{SUFFIX}"))}


def list_tasks() -> list[TaskSpec]:
    """Tasks that ship with geotrans, by name.

    Examples:
        >>> import geotrans
        >>> [task.name for task in geotrans.list_tasks() if task.palette]
        ['aerial2map']
    """
    return [read_spec(path) for path in shipped_bundles().values()]


def find_task(name_or_path: str | PathLike[str]) -> Path:
    """The bundle of a task.

    Args:
        name_or_path: Name of a shipped task, or a bundle file.

    Raises:
        TaskError: If it is neither; names the nearest shipped task.
    """
    shipped = shipped_bundles()
    text = os.fspath(name_or_path)
    if text in shipped:
        return shipped[text]
    path = Path(text)
    if path.is_file() or path.suffix == SUFFIX or path.name != text:
        return path
    raise TaskError(
        f"no task '{text}': there is no such bundle file, and geotrans ships "
        f"{', '.join(shipped) or 'none'}{suggest(text, shipped)}"
    )


def open_bundle(task: str | PathLike[str] | Bundle) -> Bundle:
    """Open the bundle of a task.

    Args:
        task: Name of a shipped task, or a bundle file; an open bundle is returned as it is.

    Raises:
        TaskError: If there is no such task.
        BundleError: If the file is missing, damaged, foreign or too new.

    Examples:
        >>> import geotrans
        >>> bundle = geotrans.open_bundle("map2aerial")
        >>> [band.name for band in bundle.spec.target], bundle.spec.gsd_m
        (['red', 'green', 'blue'], (0.48, 0.75))
    """
    return task if isinstance(task, Bundle) else Bundle.open(find_task(task))
