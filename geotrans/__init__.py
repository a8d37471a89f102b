"""geotrans translates georeferenced rasters between visual domains with image-to-image GANs."""

from __future__ import annotations

import importlib
import sys
from typing import Any

__version__ = "0.1.0"

# Imported on first use, so that `import geotrans` stays fast and brings in no torch.
_HOMES = {
    "GeotransError": "geotrans.errors",
    "TaskSpec": "geotrans.tasks",
    "Window": "geotrans.grid",
    "batch": "geotrans.archive.batch",
    "cut_tiles": "geotrans.mosaicking.cut",
    "evaluate": "geotrans.evaluation",
    "list_samples": "geotrans.scene",
    "list_tasks": "geotrans.tasks",
    "mosaic": "geotrans.mosaicking.mosaic",
    "open_bundle": "geotrans.tasks",
    "open_sample": "geotrans.scene",
    "open_scene": "geotrans.scene",
    "plan_tiles": "geotrans.grid",
    "render_map": "geotrans.maps",
    "sample_files": "geotrans.scene",
    "train": "geotrans.training",
    "translate": "geotrans.translation.translate",
}

_MODULES = ("plot",)

__all__ = ["__version__", *_HOMES, *_MODULES]


def __getattr__(name: str) -> Any:
    """Import a public name from its home."""
    if name in _MODULES:
        return importlib.import_module(f"geotrans.{name}")
    if name not in _HOMES:
        raise AttributeError(f"module 'geotrans' has no attribute '{name}'")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)


if "xarray" in sys.modules:  # Else `import geotrans.accessor` adds `.geotrans` to its arrays.
    importlib.import_module("geotrans.accessor")
