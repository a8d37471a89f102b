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
    "list_tasks": "geotrans.tasks",
    "load_bundle": "geotrans.tasks",
    "open_scene": "geotrans.scene",
    "plan_tiles": "geotrans.grid",
    "render": "geotrans.scene",
    "train": "geotrans.training",
    "translate": "geotrans.pipeline",
}

__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> Any:
    """Import a public name from its home."""
    if name not in _HOMES:
        raise AttributeError(f"module 'geotrans' has no attribute '{name}'")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)


# Whoever works with xarray finds `array.geotrans`; nobody else waits for xarray.
if "xarray" in sys.modules:
    importlib.import_module("geotrans.accessor")
