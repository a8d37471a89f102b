"""Which pixels to look at: pairs, windows, splits by place, the patch cache."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from geotrans.sampling.cache import Manifest, PatchCache, PatchRecord, PatchSet
    from geotrans.sampling.config import DataConfig, load_data_config
    from geotrans.sampling.datasets import PairedScenes
    from geotrans.sampling.regions import Regions
    from geotrans.sampling.samplers import GridWindows, RandomWindows, SceneWindow
    from geotrans.sampling.splits import block_regions, check_disjoint, polygon_regions
    from geotrans.sampling.tiling import ensure_cache, write_patches
    from geotrans.sampling.unpaired import SceneCollection, UnpairedWindows
    from geotrans.sampling.writing import CachedPatch, write_cache

# Imported on first use: a cache is read with numpy alone, and only datasets need torchgeo.
_HOMES = {
    "CachedPatch": "writing",
    "DataConfig": "config",
    "GridWindows": "samplers",
    "Manifest": "cache",
    "PairedScenes": "datasets",
    "PatchCache": "cache",
    "PatchRecord": "cache",
    "PatchSet": "cache",
    "RandomWindows": "samplers",
    "Regions": "regions",
    "SceneCollection": "unpaired",
    "SceneWindow": "samplers",
    "UnpairedWindows": "unpaired",
    "block_regions": "splits",
    "check_disjoint": "splits",
    "ensure_cache": "tiling",
    "load_data_config": "config",
    "polygon_regions": "splits",
    "write_patches": "tiling",
    "write_cache": "writing",
}

__all__ = [
    "CachedPatch",
    "DataConfig",
    "GridWindows",
    "Manifest",
    "PairedScenes",
    "PatchCache",
    "PatchRecord",
    "PatchSet",
    "RandomWindows",
    "Regions",
    "SceneCollection",
    "SceneWindow",
    "UnpairedWindows",
    "block_regions",
    "check_disjoint",
    "ensure_cache",
    "load_data_config",
    "polygon_regions",
    "write_cache",
    "write_patches",
]


def __getattr__(name: str) -> Any:
    """Import a public name from its module."""
    if name not in _HOMES:
        raise AttributeError(f"module 'geotrans.sampling' has no attribute '{name}'")
    return getattr(importlib.import_module(f"geotrans.sampling.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
