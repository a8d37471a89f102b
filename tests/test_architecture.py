"""The order of the packages, and what may be imported to print a help text."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import pytest

import geotrans

PACKAGE = Path(geotrans.__file__).parent

# A module imports only from its left; packages in one set stand side by side and know nothing of
# each other. CONTRIBUTING.md says the same.
ORDER: tuple[set[str], ...] = (
    {"errors"},
    {"runtime"},
    {"html"},
    {"grid", "models", "execution"},
    {"output", "scene", "metrics"},
    {"maps", "tasks"},
    {"labelling", "inference", "parts"},
    {"sampling", "product"},
    {"training", "translation"},
    {"mosaicking", "archive", "evaluation"},
    {"accessor", "cli"},
    {"plot", "__main__"},
)
RANK = {name: rank for rank, names in enumerate(ORDER) for name in names}

TRAINING_ONLY = ("torchgeo", "lightning", "torchmetrics", "tensorboard")


def _modules() -> list[Path]:
    return sorted(p for p in PACKAGE.rglob("*.py") if p != PACKAGE / "__init__.py")


def _home(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def _name(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {_name(path): path for path in _modules()}


def _imports(path: Path) -> Iterator[tuple[str, int]]:
    """Modules of the package that a file imports, at the top, lazily or for types; and the line."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import in line {node.lineno}"
            module = node.module or ""
            full = [f"{module}.{alias.name}" for alias in node.names]
            names = [name if name in MODULES else module for name in full]
        else:
            continue
        for name in names:
            if name in MODULES:
                yield name, node.lineno


GRAPH = {name: dict(_imports(path)) for name, path in MODULES.items()}


@pytest.mark.parametrize("name", MODULES)
def test_a_module_imports_only_from_its_left(name: str) -> None:
    home = _home(MODULES[name])
    assert home in RANK, f"{home} has no place in the order"
    wrong = [
        f"line {line}: {home} imports {other}"
        for other, line in GRAPH[name].items()
        if (there := _home(MODULES[other])) != home and RANK[there] >= RANK[home]
    ]
    assert not wrong, "; ".join(wrong)


def _circle(graph: Mapping[str, Iterable[str]]) -> list[str]:
    """Names along some circle; empty if there is none."""
    finished: set[str] = set()

    def search(name: str, path: list[str]) -> list[str]:
        if name in path:
            return [*path[path.index(name) :], name]
        if name not in finished:
            for other in graph.get(name, ()):
                if found := search(other, [*path, name]):
                    return found
            finished.add(name)
        return []

    return next((found for name in graph if (found := search(name, []))), [])


def test_no_module_imports_itself_in_a_circle() -> None:
    assert _circle({"a": ["b"], "b": ["c"], "c": ["b"]}) == ["b", "c", "b"]
    assert not _circle({"a": ["b", "c"], "b": ["c"], "c": []})
    assert not _circle(GRAPH)


def test_the_contributing_guide_states_the_same_order() -> None:
    text = (PACKAGE.parent / "CONTRIBUTING.md").read_text()
    line = next(line for line in text.splitlines() if line.strip().startswith("errors > "))
    stated = [set(names.split(", ")) for names in line.strip().split(" > ")]
    assert stated == [{*names} - {"__main__"} for names in ORDER]


def test_no_folder_is_too_full_to_be_read() -> None:
    folders = Counter(path.parent for path in PACKAGE.rglob("*.py"))
    assert {folder: n for folder, n in folders.items() if n > 25} == {}


def _loaded_by(code: str) -> set[str]:
    """Top-level modules in memory after a fresh interpreter ran some code."""
    script = f"{code}\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    return {name.split(".")[0] for name in json.loads(done.stdout.splitlines()[-1])}


def test_importing_the_package_brings_in_nothing_heavy() -> None:
    loaded = _loaded_by("import geotrans")
    assert not loaded & {"numpy", "torch", "rasterio", "xarray", "dask", *TRAINING_ONLY}


def test_help_brings_in_no_torch() -> None:
    loaded = _loaded_by(
        "import contextlib, io, sys\n"
        "from geotrans.cli.start import main\n"
        "sys.argv = ['geotrans', '--help']\n"
        "with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()):\n"
        "    main()"
    )
    assert "typer" in loaded or "click" in loaded
    assert not loaded & {"torch", "rasterio", "xarray", "dask", "geopandas", *TRAINING_ONLY}


def test_opening_a_scene_brings_in_no_torch() -> None:
    loaded = _loaded_by("import geotrans.scene.raster, geotrans.scene.open, geotrans.scene.padding")
    assert not loaded & {"torch", "geopandas", "pandas", "rioxarray", "distributed", *TRAINING_ONLY}


def test_every_public_name_is_where_it_is_said_to_be() -> None:
    from geotrans import scene

    assert set(scene.__all__) == set(scene._MODULES)
    for name in scene.__all__:
        assert getattr(scene, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = scene.nothing


def test_training_libraries_are_not_core_dependencies() -> None:
    project = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text())["project"]
    core = {item.split(">")[0].split("[")[0].strip() for item in project["dependencies"]}
    assert not core & set(TRAINING_ONLY)
