"""Where tests are: each package has its tests in a folder of its name, at the mirrored paths."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.test_architecture import GRAPH, MODULES, PACKAGE

TESTS = Path(__file__).parent
FILES = sorted(path.relative_to(TESTS) for path in TESTS.rglob("test_*.py"))

# Files in a package's folder that are about no single module of it.
ACROSS = {
    "cli/test_denied.py": "every command that writes, as somebody without rights",
    "cli/test_killed.py": "translate and batch, and whom `kill -9` may hit",
    "product/test_readers.py": "products, in other software",
}
# Folders beside those of the packages: of the benchmarks, and what tests are helped by.
BESIDE = {"benchmarks", "helpers"}


def _has_own_file(module: str) -> bool:
    *folders, name = module.split(".")[1:]
    return Path(*folders, f"test_{name}.py") in FILES


def _is_named_after(file: Path) -> bool:
    """Whether a module or a folder beside it has the file's name, or the first words of it."""
    words = file.stem.removeprefix("test_").split("_")
    names = {"_".join(words[:n]) for n in range(1, len(words) + 1)}
    beside = PACKAGE / file.parent
    return any((beside / f"{name}.py").is_file() or (beside / name).is_dir() for name in names)


@pytest.mark.parametrize(
    "file", [f for f in FILES if len(f.parts) > 1 and f.parts[0] not in BESIDE], ids=str
)
def test_a_file_of_tests_is_at_the_path_of_what_it_tests(file: Path) -> None:
    assert (PACKAGE / file.parent / "__init__.py").is_file(), f"{file.parent} is no package"
    assert _is_named_after(file) != (str(file) in ACROSS)


def _reached(seeds: Iterable[str]) -> set[str]:
    """Some modules, and those that they bring in."""
    found, waiting = set[str](), list(seeds)
    while waiting:
        module = waiting.pop()
        if module not in found:
            found.add(module)
            waiting.extend(GRAPH[module])
    return found


def test_a_module_without_a_file_of_its_own_is_brought_in_by_one_that_has() -> None:
    # The names that packages pass on, and the lines of `python -m geotrans`, are others' work.
    modules = {name for name, path in MODULES.items() if not path.name.startswith("__")}
    own = {module for module in modules if _has_own_file(module)}
    assert len(own) > len(modules) / 2
    assert modules - _reached(own) == set()


def test_what_is_said_to_be_across_is_there() -> None:
    assert {file for file in ACROSS if not (TESTS / file).is_file()} == set()
