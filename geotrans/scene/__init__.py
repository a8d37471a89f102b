"""What pixels mean on the way in: opening, band names, radiometry, `valid`, pairing."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from geotrans.scene.access.identity import SourceIdentity
    from geotrans.scene.bands import match_bands, parse_mapping
    from geotrans.scene.base import Band, Patch, Scene
    from geotrans.scene.open import open_scene
    from geotrans.scene.padding import FILL_RADIUS, padded_extent, read_padded
    from geotrans.scene.radiometry import to_units
    from geotrans.scene.samples import list_samples, open_sample, sample_files
    from geotrans.scene.views.nodata import mark_nodata
    from geotrans.scene.views.pairing import PairedPatch, PairedScene, pair
    from geotrans.scene.views.palette import expand_palette
    from geotrans.scene.views.warped import warp_to_grid

# Imported on first use: rasterio and pydantic are not needed to print a help text.
_MODULES = {
    "FILL_RADIUS": "padding",
    "Band": "base",
    "PairedPatch": "views.pairing",
    "PairedScene": "views.pairing",
    "Patch": "base",
    "Scene": "base",
    "SourceIdentity": "access.identity",
    "expand_palette": "views.palette",
    "list_samples": "samples",
    "mark_nodata": "views.nodata",
    "match_bands": "bands",
    "warp_to_grid": "views.warped",
    "open_sample": "samples",
    "open_scene": "open",
    "pair": "views.pairing",
    "parse_mapping": "bands",
    "padded_extent": "padding",
    "read_padded": "padding",
    "sample_files": "samples",
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
    "list_samples",
    "mark_nodata",
    "match_bands",
    "open_sample",
    "open_scene",
    "padded_extent",
    "pair",
    "parse_mapping",
    "read_padded",
    "sample_files",
    "to_units",
    "warp_to_grid",
]


def __getattr__(name: str) -> Any:
    """Import a public name from its module."""
    if name not in _MODULES:
        raise AttributeError(f"module 'geotrans.scene' has no attribute '{name}'")
    return getattr(importlib.import_module(f"geotrans.scene.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
