"""The reference of Python, from docstrings: what `import geotrans` offers, and every module."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

import geotrans.accessor

# Where the package is, in a checkout or in site-packages, and where this file is, in a checkout.
_ROOT = Path(geotrans.__file__).parents[1]
_CHANGES = Path(__file__).parents[2] / "CHANGELOG.md"
_PUBLIC = """# Python API

What `import geotrans` offers. Every name is imported when it is first used, so that the import
itself is quick. [Modules](modules/errors.md) has the rest.
"""
# Where a name is told twice, links lead to its module.
_PUBLIC_NAME = "    options: {skip_local_inventory: true}\n"
_WHOLE_MODULE = "    options: {heading_level: 2, show_root_full_path: true}\n"
_ACCESSOR = """
## On arrays

`import geotrans.accessor` adds `.geotrans` to what xarray makes.

"""


def _packages() -> dict[str, list[Path]]:
    """Modules of each package, and of each module beside the packages; less the commands."""
    found: dict[str, list[Path]] = {}
    for path in sorted((_ROOT / "geotrans").rglob("*.py")):
        top = path.relative_to(_ROOT / "geotrans").parts[0].removesuffix(".py")
        if not path.stem.startswith("__") and top != "cli":
            found.setdefault(top, []).append(path)
    return found


def on_config(config: Any) -> None:
    """Put a page a package under Modules."""
    reference = next(item["Reference"] for item in config.nav if "Reference" in item)
    modules = next(item for item in reference if "Modules" in item)
    modules["Modules"] = [{name: f"reference/modules/{name}.md"} for name in _packages()]


def on_files(files: Files, config: Any) -> None:
    """Make the pages."""

    def add(uri: str, content: str) -> None:
        files.append(File.generated(config, uri, content=content))

    names = [getattr(geotrans, name) for name in geotrans.__all__ if name != "__version__"]
    public = [_PUBLIC, *map(_block, names), _ACCESSOR, *map(_block, _accessors())]
    add("reference/python.md", "\n".join(public))
    for name, paths in _packages().items():
        blocks = "\n".join(f"::: {_dotted(path)}\n{_WHOLE_MODULE}" for path in paths)
        add(f"reference/modules/{name}.md", f"# geotrans.{name}\n\n{blocks}")
    add("reference/changes.md", _CHANGES.read_text(encoding="utf-8"))


def _accessors() -> list[type]:
    """What `.geotrans` is, on each kind of array that has it."""
    import xarray

    kinds = xarray.DataArray, xarray.Dataset
    return [kind.geotrans for kind in kinds if hasattr(kind, "geotrans")]


def _block(what: Any) -> str:
    """A public name, where it is defined."""
    home = what.__name__ if inspect.ismodule(what) else f"{what.__module__}.{what.__qualname__}"
    return f"::: {home}\n{_PUBLIC_NAME}"


def _dotted(path: Path) -> str:
    return ".".join(path.relative_to(_ROOT).with_suffix("").parts)
