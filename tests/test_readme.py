"""The README: one screen; its examples run as a reader would run them, and what it cites exists."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import rasterio

from geotrans.cli.main import COMMANDS
from geotrans.tasks.registry import shipped_bundles
from tests.helpers.documents import ROOT, run_blocks

README = (ROOT / "README.md").read_text(encoding="utf-8")

needs_weights = pytest.mark.skipif(
    not {"map2aerial", "aerial2map"} <= shipped_bundles().keys(), reason="no shipped weights"
)


def test_it_is_short() -> None:
    assert len(README.splitlines()) <= 200
    assert len(re.findall(r"^!\[", README, re.MULTILINE)) == 1, "one picture"


@pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning")  # rioxarray's
@needs_weights
def test_the_examples_run_one_after_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    printed = run_blocks(README, tmp_path, capsys)
    for name in ("town_map2aerial.tif", "town_map2aerial.png"):
        assert str(tmp_path / name) in printed
        assert (tmp_path / name).is_file()
    with rasterio.open("aerial.tif") as whole, rasterio.open("corner.tif") as corner:
        assert whole.transform == corner.transform
        assert corner.shape == (256, 256)
        assert len(np.unique(corner.read(1))) > 1
        assert corner.colormap(1)
        assert whole.tags()["GEOTRANS_SYNTHETIC"] == "YES"


def test_the_first_command_is_one_line() -> None:
    command = "pip install . && geotrans translate sample:town --task map2aerial"
    assert re.search(r"^```\w+\n(.*?)^```", README, re.MULTILINE | re.DOTALL)[1] == f"{command}\n"  # type: ignore[index]


def test_the_test_command_is_what_ci_runs() -> None:
    command = 'pip install -e ".[test]" && pytest'
    assert f"```sh\n{command}\n```" in README
    assert f"    {command}\n" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


def test_every_task_is_listed() -> None:
    listed = re.findall(r"^\| \[`(\w+)`\]", README, re.MULTILINE)
    assert sorted(listed) == sorted(shipped_bundles())


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`geotrans ([\w-]+)", README))))
def test_commands_exist(name: str) -> None:
    assert name in {*COMMANDS, "--help"}


@pytest.mark.parametrize(
    "path", sorted(set(re.findall(r"`((?:tests|docs|benchmarks)/[^`]*)`", README)))
)
def test_what_checks_a_promise_exists(path: str) -> None:
    assert (ROOT / path).exists()


def _promises() -> Iterator[tuple[str, str]]:
    """First words of each promise, and a file or folder that is said to hold it."""
    _, _, table = README.partition("\n| promise | checked by |\n")
    for row in table.partition("\n\n")[0].splitlines()[1:]:
        _, promise, checked, _ = row.split("|")
        paths = re.findall(r"`(tests/[\w/.]+)`|\]\((benchmarks/[\w/.]+)\)", checked)
        assert paths, promise
        for path in paths:
            yield promise.strip().split(".")[0], "".join(path)


def _quick_tests(path: Path) -> Iterator[str]:
    """Names of the tests in a file, but for those that are marked slow."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    marks = [ast.unparse(n) for n in tree.body if isinstance(n, ast.Assign)]
    if any(mark.startswith("pytestmark") and "slow" in mark for mark in marks):
        return
    for node in ast.walk(tree):
        if not isinstance(node, ast.FunctionDef) or not node.name.startswith("test_"):
            continue
        if not any("mark.slow" in ast.unparse(d) for d in node.decorator_list):
            yield node.name


@pytest.mark.parametrize(("promise", "path"), list(_promises()))
def test_a_promise_is_held_where_it_is_said_by_a_quick_test(promise: str, path: str) -> None:
    """A slow test is the thorough form of a quick one; `benchmarks/` are run by hand."""
    assert (ROOT / path).exists()
    if path.startswith("tests/"):
        files = [ROOT / path] if path.endswith(".py") else (ROOT / path).rglob("test_*.py")
        assert any(name for file in files for name in _quick_tests(file))


def _links() -> Iterator[str]:
    for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "benchmarks/README.md"):
        text = (ROOT / name).read_text(encoding="utf-8")
        for target in re.findall(r"\]\(([^)#]+)\)", text):
            if "://" not in target:
                yield str(Path(name).parent / target)


@pytest.mark.parametrize("target", sorted(set(_links())))
def test_links_lead_somewhere(target: str) -> None:
    assert (ROOT / target).exists()


@pytest.mark.parametrize("option", sorted(set(re.findall(r"--[a-z][a-z-]+", README))))
def test_options_exist(option: str) -> None:
    sources = "".join(
        path.read_text(encoding="utf-8") for path in (ROOT / "geotrans" / "cli").glob("*.py")
    )
    known = {*re.findall(r'"(--[a-z-]+)', sources), "--help"}
    known |= {f"--{word.replace('_', '-')}" for word in re.findall(r"^    (\w+): ", sources, re.M)}
    # Of `rio cogeo validate` and `mkdocs build`.
    assert option in known | {"--strict"}
