"""What an installation carries, and that it declares what it imports."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

import geotrans
from geotrans.cli.console import EXTRAS

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "geotrans"
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

# Modules whose distribution has another name.
DISTRIBUTIONS = {"odc": "odc-geo", "yaml": "pyyaml"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The wheel, built from this checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=ROOT, capture_output=True, check=True, timeout=120,
    )  # fmt: skip
    (built,) = folder.glob("*.whl")
    assert built.name == f"geotrans-{geotrans.__version__}-py3-none-any.whl"
    return zipfile.ZipFile(built)


def _carried(wheel: zipfile.ZipFile) -> set[str]:
    return {name for name in wheel.namelist() if not name.endswith("/")}


def _beside(folder: Path, *patterns: str) -> Iterator[Path]:
    for pattern in patterns:
        yield from folder.rglob(pattern)


def test_the_wheel_carries_code_types_and_licence(wheel: zipfile.ZipFile) -> None:
    carried = _carried(wheel)
    expected = {str(path.relative_to(ROOT)) for path in _beside(PACKAGE, "*.py", "py.typed")}
    assert expected <= carried
    assert any(name.endswith("licenses/LICENSE") for name in carried)
    tops = {name.split("/")[0] for name in carried}
    assert tops == {"geotrans", f"geotrans-{geotrans.__version__}.dist-info"}, "nothing else"


def test_the_wheel_carries_styles_and_configurations(wheel: zipfile.ZipFile) -> None:
    configs = {str(path.relative_to(ROOT)) for path in _beside(ROOT / "configs", "*.yaml")}
    assert {"configs/styles/plain.yaml", "configs/recipes/landcover.yaml"} <= configs
    assert {f"geotrans/{name}" for name in configs} <= _carried(wheel)


def test_the_wheel_carries_the_zoo(wheel: zipfile.ZipFile) -> None:
    zoo = {str(p.relative_to(ROOT)) for p in _beside(PACKAGE / "tasks" / "zoo", "*.*")}
    assert zoo <= _carried(wheel)
    first = {
        f"geotrans/tasks/zoo/{task}{suffix}"
        for task in ("map2aerial", "aerial2map")
        for suffix in (".safetensors", ".md", ".png")
    }
    assert first <= zoo
    assert sum((ROOT / name).stat().st_size for name in first) < 20e6
    assert sum((ROOT / name).stat().st_size for name in zoo) < 45e6


def test_styles_are_found_where_a_wheel_puts_them(wheel: zipfile.ZipFile, tmp_path: Path) -> None:
    wheel.extractall(tmp_path)
    code = (
        "import geotrans; from geotrans.maps.style import list_styles, find_style;"
        "print(geotrans.__file__); print(*list_styles()); print(find_style('plain'))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path, capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    file, styles, plain = done.stdout.splitlines()
    assert Path(file) == tmp_path / "geotrans" / "__init__.py"
    assert "plain" in styles.split()
    assert Path(plain) == tmp_path / "geotrans" / "configs" / "styles" / "plain.yaml"


def _names(requirements: Iterable[str]) -> set[str]:
    return {_normal(re.split(r"[\[<>=!~; ]", item)[0]) for item in requirements}


def _normal(distribution: str) -> str:
    return re.sub(r"[-_.]+", "-", distribution).lower()


def _imported(folder: Path) -> dict[str, str]:
    """Distributions of others that the code imports, and where."""
    found: dict[str, str] = {}
    for path in sorted(folder.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            else:
                continue
            for name in names:
                top = name.split(".")[0]
                if top not in sys.stdlib_module_names and top != "geotrans":
                    distribution = DISTRIBUTIONS.get(top, _normal(top))
                    found.setdefault(distribution, str(path.relative_to(ROOT)))
    return found


def test_whatever_is_imported_is_declared() -> None:
    extras = PROJECT["optional-dependencies"]
    declared = _names(PROJECT["dependencies"]) | {n for e in extras.values() for n in _names(e)}
    for name, path in _imported(PACKAGE).items():
        assert name in declared, f"{path} imports {name}, which pyproject.toml lacks"


def test_whatever_is_declared_is_imported() -> None:
    assert _names(PROJECT["dependencies"]) <= _imported(PACKAGE).keys()


def test_a_missing_library_is_told_with_the_extra_that_has_it() -> None:
    for extra, requirements in PROJECT["optional-dependencies"].items():
        told = {_normal(module) for module in EXTRAS.get(extra, ())}
        if extra in {"train", "quality", "perceptual", "export", "archive", "store"}:
            assert told == _names(requirements) - {"geotrans"}
        else:
            assert not told


def test_all_is_every_extra_a_user_may_want() -> None:
    extras = PROJECT["optional-dependencies"]

    def reached(name: str) -> set[str]:
        inner = {
            word
            for item in extras[name]
            if (match := re.match(r"geotrans\[(.*)\]", item))
            for word in match[1].split(",")
        }
        return {name, *(other for word in inner for other in reached(word))}

    assert reached("all") == {"all", "train", "quality", "export", "archive", "store", "notebook"}
    assert "notebook" not in reached("test"), "tests need no editor"
