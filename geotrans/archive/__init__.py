"""Many scenes in one run: a journal of what is done, and nothing done twice."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from geotrans.archive.estimate import ArchiveEstimate, estimate_archive
    from geotrans.archive.status import Status, read_status

_HOMES = {
    "ArchiveEstimate": "estimate",
    "Status": "status",
    "estimate_archive": "estimate",
    "read_status": "status",
}

__all__ = ["ArchiveEstimate", "Status", "estimate_archive", "read_status"]


def __getattr__(name: str) -> Any:
    """Import a public name from its module."""
    if name not in _HOMES:
        raise AttributeError(f"module 'geotrans.archive' has no attribute '{name}'")
    return getattr(importlib.import_module(f"geotrans.archive.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
