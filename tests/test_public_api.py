"""The Python API: its names, examples that run, and the words it shares with the commands."""

from __future__ import annotations

import doctest
import inspect
import subprocess
import sys
from enum import Enum
from pathlib import Path
from typing import Any

import pytest

import geotrans
from geotrans.cli import batch, mosaic, render, train, translate

PUBLIC = {
    "cut_tiles",
    "GeotransError",
    "TaskSpec",
    "Window",
    "__version__",
    "batch",
    "evaluate",
    "list_samples",
    "list_tasks",
    "mosaic",
    "open_bundle",
    "open_sample",
    "open_scene",
    "plan_tiles",
    "plot",
    "render_map",
    "sample_files",
    "train",
    "translate",
}
FUNCTIONS = sorted(name for name in PUBLIC if inspect.isfunction(getattr(geotrans, name)))

# What a command calls otherwise than Python, or asks of the terminal alone.
RENAMED = {"output": "out", "gsd": "gsd_m", "new": "resume"}
TERMINAL = {"dry_run", "plan", "status", "as_json", "style_of"}
PYTHON = {"progress", "geobox", "quiet"}
# Scripts want no picture unless they ask for it; a command that is called for one scene does.
OTHERWISE = {"preview", "resume", "style", "overrides"}


def test_the_public_names_are_these() -> None:
    assert set(geotrans.__all__) == PUBLIC
    assert set(dir(geotrans)) == PUBLIC
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = geotrans.nothing


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_public_function_is_typed_and_explained(name: str) -> None:
    function = getattr(geotrans, name)
    signature = inspect.signature(function)
    assert signature.return_annotation is not signature.empty
    for parameter in signature.parameters.values():
        assert parameter.annotation is not parameter.empty
        assert f"        {parameter.name}: " in (function.__doc__ or ""), parameter.name


# Those left out need rasters of places, which no sample has.
@pytest.mark.parametrize("name", sorted(set(FUNCTIONS) - {"evaluate", "train"}))
def test_the_examples_run(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    function = getattr(geotrans, name)
    (test,) = doctest.DocTestFinder(recurse=False).find(function, name, globs={})
    assert test.examples, f"{name} has no example"
    outcome = doctest.DocTestRunner().run(test)
    assert outcome.failed == 0, capsys.readouterr().out


@pytest.mark.parametrize(
    ("command", "function"),
    [
        (translate.command, geotrans.translate),
        (batch.command, geotrans.batch),
        (render.command, geotrans.render_map),
        (train.command, geotrans.train),
        (mosaic.command, geotrans.mosaic),
    ],
    ids=["translate", "batch", "render", "train", "mosaic"],
)
def test_commands_and_functions_use_the_same_words(command: Any, function: Any) -> None:
    asked = {
        RENAMED.get(name, name): parameter.default
        for name, parameter in inspect.signature(command).parameters.items()
        if name not in TERMINAL or name in inspect.signature(function).parameters
    }
    offered = {
        name: parameter.default
        for name, parameter in inspect.signature(function).parameters.items()
        if name not in PYTHON
    }
    assert asked.keys() == offered.keys()
    for name in asked.keys() - OTHERWISE:
        default = asked[name].value if isinstance(asked[name], Enum) else asked[name]
        if offered[name] is not inspect.Parameter.empty and name != "out":
            assert default == offered[name], name


@pytest.mark.parametrize(
    "imports",
    [
        "import geotrans, xarray",
        "import xarray, geotrans",
        "import geotrans.accessor, xarray",
        "import geotrans, importlib.util; importlib.util.find_spec('xarray'); import xarray",
    ],
)
def test_arrays_have_the_accessor_in_either_order(imports: str) -> None:
    code = f"{imports}\nprint(type(xarray.DataArray([1]).geotrans).__module__)"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert done.stdout == "geotrans.accessor\n"
