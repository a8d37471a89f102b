"""geotrans translates georeferenced rasters between visual domains with image-to-image GANs."""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.util
import sys
from typing import Any

__version__ = "0.1.0"

# Imported on first use, so that `import geotrans` stays fast and brings in no torch.
_HOMES = {
    "GeotransError": "geotrans.errors",
    "TaskSpec": "geotrans.tasks",
    "Window": "geotrans.grid",
    "batch": "geotrans.archive",
    "cut_tiles": "geotrans.cutting",
    "evaluate": "geotrans.evaluation",
    "list_tasks": "geotrans.tasks",
    "mosaic": "geotrans.mosaics",
    "open_bundle": "geotrans.tasks",
    "open_sample": "geotrans.scene",
    "open_scene": "geotrans.scene",
    "plan_tiles": "geotrans.grid",
    "render_map": "geotrans.scene",
    "train": "geotrans.training",
    "translate": "geotrans.pipeline",
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


class _AfterXarray(importlib.abc.MetaPathFinder):
    """Adds `.geotrans` to arrays as soon as xarray is imported.

    Importing xarray here instead would take 0.6 s, three times what `geotrans --help` takes.
    """

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> Any:
        """The spec of xarray, and of nothing else, with one more thing to do after loading."""
        if fullname != "xarray":
            return None
        sys.meta_path.remove(self)
        try:
            spec = importlib.util.find_spec(fullname)
        finally:  # Who asks for the spec need not import it.
            sys.meta_path.insert(0, self)
        if spec is not None and spec.loader is not None:
            load = spec.loader.exec_module

            def load_and_register(module: Any) -> None:
                load(module)
                sys.meta_path.remove(self)
                importlib.import_module("geotrans.accessor")

            spec.loader.exec_module = load_and_register  # type: ignore[method-assign]
        return spec


if "xarray" in sys.modules:
    importlib.import_module("geotrans.accessor")
else:
    sys.meta_path.insert(0, _AfterXarray())
