"""The README: its examples run as a reader would run them, and what it lists is what there is."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

from geotrans.cli.main import COMMANDS, run
from geotrans.tasks.registry import shipped_bundles
from tests.helpers.osm import Way, write_pbf

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

needs_weights = pytest.mark.skipif(
    not {"map2aerial", "aerial2map"} <= shipped_bundles().keys(), reason="no shipped weights"
)


def _blocks(*languages: str) -> list[tuple[str, str]]:
    """Language and text of the README's code blocks, in order."""
    return [(found[1], found[2]) for found in _BLOCK.finditer(README) if found[1] in languages]


def _commands(block: str) -> Iterator[list[str]]:
    """Words after `geotrans` of each command of a shell block, less what installs."""
    for line in block.splitlines():
        for command in line.split("&&"):
            program, *words = shlex.split(command)
            if program != "pip":
                assert program == "geotrans", command
                yield words


def _street(y: float, kind: str = "residential") -> Way:
    return Way([(9.728, y), (9.737, y)], {"highway": kind})


def _town(path: Path) -> Path:
    """Three streets across two uses of land, where the README's bbox lies."""
    land = [
        Way(
            [(9.728, low), (9.737, low), (9.737, high), (9.728, high), (9.728, low)],
            {"landuse": use},
        )
        for low, high, use in ((52.368, 52.3715, "residential"), (52.3715, 52.375, "retail"))
    ]
    streets = [_street(52.3705), _street(52.3715, "primary"), _street(52.3725)]
    avenues = [
        Way([(x, 52.368), (x, 52.375)], {"highway": "residential"}) for x in (9.731, 9.7325, 9.734)
    ]
    return write_pbf(path, [*land, *streets, *avenues])


@needs_weights
def test_the_examples_run_one_after_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _town(tmp_path / "my_town.osm.pbf")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    names: dict[str, Any] = {}
    printed: set[str] = set()
    for language, text in _blocks("bash", "python"):
        if language == "python":
            exec(compile(text, "README.md", "exec"), names)
            continue
        for words in _commands(text):
            assert run(words) == 0, f"{words}: {capsys.readouterr().err}"
            printed |= set(capsys.readouterr().out.splitlines())
    for name in ("town_map2aerial.tif", "town_map2aerial.png"):
        assert str(tmp_path / name) in printed
        assert (tmp_path / name).is_file()
    _check_agreement(tmp_path)


def _check_agreement(folder: Path) -> None:
    """What the README says about its own products."""
    with rasterio.open(folder / "aerial.tif") as whole, rasterio.open(folder / "corner.tif") as cut:
        assert np.array_equal(whole.read()[:, :256, :256], cut.read()), "the accessor's own pixels"
        assert whole.transform == cut.transform
        tags = whole.tags()
    assert tags["GEOTRANS_SYNTHETIC"] == "YES"
    for tag in tags:
        assert not tag.startswith("GEOTRANS_") or f"`{tag}`" in README, f"the README names {tag}"
    with (
        rasterio.open(folder / "another.tif") as aerial,
        rasterio.open(folder / "map_again.tif") as drawn,
    ):
        assert (drawn.crs, drawn.transform, drawn.shape) == (
            aerial.crs, aerial.transform, aerial.shape,
        )  # fmt: skip
        assert drawn.count == 1
        assert drawn.colormap(1)


@pytest.mark.parametrize("text", [text for _, text in _blocks("yaml")])
def test_a_training_example_is_a_configuration(tmp_path: Path, text: str) -> None:
    from geotrans.sampling.config import load_data_config
    from geotrans.training.config import load_config

    name = re.match(r"# (\S+)\n", text)
    assert name is not None
    assert re.search(rf"geotrans train {re.escape(name[1])}\b", README)
    (tmp_path / name[1]).write_text(text, encoding="utf-8")
    config = load_config(tmp_path / name[1], ["training.max_minutes=120"])
    assert load_data_config(tmp_path / name[1]) == config.data
    assert f"runs/{config.task.name}/{config.task.name}.safetensors" in README
    assert len(text.splitlines()) <= 45, "short enough to read"


def test_the_test_command_is_what_ci_runs() -> None:
    command = 'pip install -e ".[test]" && pytest'
    assert f"```sh\n{command}\n```" in README
    assert f"    {command}\n" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


def test_every_command_is_listed() -> None:
    assert re.findall(r"^\| `geotrans ([\w-]+)` \|", README, re.MULTILINE) == list(COMMANDS)


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
    # Of `rio cogeo validate`, of `dask worker`, and typer's own.
    known |= {"--strict", "--lifetime", "--lifetime-stagger", "--install-completion"}
    assert option in known
