"""Classes from photographs: recipes of fixed rules, and class scenes made by them."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from geotrans.labelling.label import label

# Imported on first use: completing a command line needs no rasterio.
_MODULES = {
    "label": "label",
}

__all__ = ["label"]


def __getattr__(name: str) -> Any:
    """Import a public name from its module."""
    if name not in _MODULES:
        raise AttributeError(f"module 'geotrans.labelling' has no attribute '{name}'")
    return getattr(importlib.import_module(f"geotrans.labelling.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
