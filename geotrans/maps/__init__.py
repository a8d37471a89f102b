"""Maps from vectors: styles, and the rendering of features by them."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from geotrans.maps.render import render_map
    from geotrans.maps.style import load_style

# Imported on first use: completing a command line needs no rasterio.
_MODULES = {
    "load_style": "style",
    "render_map": "render",
}

__all__ = ["load_style", "render_map"]


def __getattr__(name: str) -> Any:
    """Import a public name from its module."""
    if name not in _MODULES:
        raise AttributeError(f"module 'geotrans.maps' has no attribute '{name}'")
    return getattr(importlib.import_module(f"geotrans.maps.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
