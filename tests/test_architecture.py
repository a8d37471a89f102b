"""The order of DESIGN.md section 2, and what may be imported to print a help text."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

import geotrans

PACKAGE = Path(geotrans.__file__).parent

# A module imports only from its left; packages in one set stand side by side.
ORDER: tuple[set[str], ...] = (
    {"errors"},
    {"files", "threads"},
    {"html"},
    {"grid"},
    {"scene"},
    {"sampling"},
    {"models"},
    {"metrics"},
    {"tasks"},
    {"training"},
    {"inference"},
    {"mosaicking"},
    {"product"},
    {"pipeline"},
    {"archive", "cutting", "evaluation", "mosaics", "serve"},
    {"accessor"},
    {"plot"},
    {"cli"},
    {"__main__"},
)
RANK = {name: rank for rank, names in enumerate(ORDER) for name in names}

TRAINING_ONLY = ("torchgeo", "lightning", "torchmetrics", "tensorboard")


def _modules() -> list[Path]:
    return sorted(p for p in PACKAGE.rglob("*.py") if p != PACKAGE / "__init__.py")


def _home(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def _imports(path: Path) -> Iterator[tuple[str, int]]:
    """Modules of the package that a file imports anywhere, and the line."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import in line {node.lineno}"
            module = node.module or ""
            names = (
                [f"geotrans.{alias.name}" for alias in node.names]
                if module == "geotrans"
                else [module]
            )
        else:
            continue
        for name in names:
            if name.startswith("geotrans."):
                yield name.split(".")[1], node.lineno


@pytest.mark.parametrize("path", _modules(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_a_module_imports_only_from_its_left(path: Path) -> None:
    home = _home(path)
    assert home in RANK, f"{home} has no place in DESIGN.md section 2"
    wrong = [
        f"line {line}: {home} imports {name}"
        for name, line in _imports(path)
        if name in RANK and name != home and RANK[name] >= RANK[home]
    ]
    assert not wrong, "; ".join(wrong)


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
    loaded = _loaded_by(
        "import geotrans.scene.raster, geotrans.scene.source, geotrans.scene.padding"
    )
    assert not loaded & {"torch", "geopandas", "pandas", "rioxarray", "distributed", *TRAINING_ONLY}


def test_every_public_name_is_where_it_is_said_to_be() -> None:
    from geotrans import scene

    assert set(scene.__all__) == set(scene._HOMES)
    for name in scene.__all__:
        assert getattr(scene, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = scene.nothing


def test_training_libraries_are_not_core_dependencies() -> None:
    project = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text())["project"]
    core = {item.split(">")[0].split("[")[0].strip() for item in project["dependencies"]}
    assert not core & set(TRAINING_ONLY)
