"""What pixels mean on the way in: opening, band names, radiometry, `valid`, pairing, rendering."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from geotrans.scene.bands import match_bands, parse_mapping
    from geotrans.scene.base import Band, Patch, Scene
    from geotrans.scene.identity import SourceIdentity
    from geotrans.scene.labelling import label
    from geotrans.scene.padding import FILL_RADIUS, reach, read_padded
    from geotrans.scene.pairing import PairedPatch, PairedScene, pair
    from geotrans.scene.palette import expand_palette
    from geotrans.scene.radiometry import to_units
    from geotrans.scene.rendering import render_map
    from geotrans.scene.samples import open_sample
    from geotrans.scene.source import open_scene
    from geotrans.scene.style import load_style
    from geotrans.scene.warped import on_grid

# Imported on first use: rasterio and pydantic are not needed to print a help text.
_HOMES = {
    "FILL_RADIUS": "padding",
    "Band": "base",
    "PairedPatch": "pairing",
    "PairedScene": "pairing",
    "Patch": "base",
    "Scene": "base",
    "SourceIdentity": "identity",
    "expand_palette": "palette",
    "label": "labelling",
    "load_style": "style",
    "match_bands": "bands",
    "on_grid": "warped",
    "open_sample": "samples",
    "open_scene": "source",
    "pair": "pairing",
    "parse_mapping": "bands",
    "reach": "padding",
    "read_padded": "padding",
    "render_map": "rendering",
    "to_units": "radiometry",
}

__all__ = [
    "FILL_RADIUS",
    "Band",
    "PairedPatch",
    "PairedScene",
    "Patch",
    "Scene",
    "SourceIdentity",
    "expand_palette",
    "label",
    "load_style",
    "match_bands",
    "on_grid",
    "open_sample",
    "open_scene",
    "pair",
    "parse_mapping",
    "reach",
    "read_padded",
    "render_map",
    "to_units",
]


def __getattr__(name: str) -> Any:
    """Import a public name from its module."""
    if name not in _HOMES:
        raise AttributeError(f"module 'geotrans.scene' has no attribute '{name}'")
    return getattr(importlib.import_module(f"geotrans.scene.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
