"""The Python API: its names, examples that run, and the words it shares with the commands."""

from __future__ import annotations

import ast
import doctest
import inspect
import re
import subprocess
import sys
from dataclasses import fields
from enum import Enum
from pathlib import Path
from typing import Any, get_type_hints

import pytest

import geotrans
from geotrans.archive.batch import BatchKeywords
from geotrans.archive.inputs import ItemKeywords, ItemOptions
from geotrans.cli import batch, mosaic, render, train, translate
from geotrans.errors import UsageError
from geotrans.mosaicking.options import MosaicKeywords, MosaicOptions
from geotrans.translation.options import PixelKeywords, PixelOptions, RunKeywords, RunOptions

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
TERMINAL = {"dry_run", "old_plan", "status", "as_json", "style_of"}
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
        assert (
            f"        {'*' * 2 * (parameter.kind is parameter.VAR_KEYWORD)}{parameter.name}: "
            in (function.__doc__ or "")
        ), parameter.name


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
    offered = {name: default for name, default in _keywords(function).items() if name not in PYTHON}
    asked = {
        RENAMED.get(name, name): parameter.default
        for name, parameter in inspect.signature(command).parameters.items()
        if name not in TERMINAL or name in offered
    }
    assert asked.keys() == offered.keys()
    for name in asked.keys() - OTHERWISE:
        default = asked[name].value if isinstance(asked[name], Enum) else asked[name]
        if offered[name] is not inspect.Parameter.empty and name != "out":
            assert default == offered[name], name


# What `**options` of each function stands for.
OPTIONS: dict[Any, tuple[type[Any], ...]] = {
    geotrans.translate: (PixelOptions, RunOptions),
    geotrans.batch: (PixelOptions, RunOptions, ItemOptions),
    geotrans.mosaic: (MosaicOptions,),
}


def _keywords(function: Any) -> dict[str, Any]:
    """Defaults of the parameters of a function, those of its options among them."""
    defaults = {
        name: parameter.default
        for name, parameter in inspect.signature(function).parameters.items()
        if parameter.kind is not parameter.VAR_KEYWORD
    }
    for kind in OPTIONS.get(function, ()):
        defaults |= {field.name: field.default for field in fields(kind)}
    return defaults


@pytest.mark.parametrize(
    ("keywords", "kinds"),
    [
        (PixelKeywords, (PixelOptions,)),
        (RunKeywords, (RunOptions,)),
        (ItemKeywords, (ItemOptions,)),
        (MosaicKeywords, (MosaicOptions,)),
        (BatchKeywords, (PixelOptions, RunOptions, ItemOptions)),
    ],
)
def test_options_are_the_same_as_keywords(keywords: Any, kinds: tuple[type[Any], ...]) -> None:
    hints = {name: hint for kind in kinds for name, hint in get_type_hints(kind).items()}
    assert get_type_hints(keywords) == hints
    for kind in kinds:
        for field in fields(kind):
            assert f"        {field.name}: " in (kind.__doc__ or ""), field.name


@pytest.mark.parametrize("function", OPTIONS)
def test_the_options_of_a_function_are_named_where_it_is_explained(function: Any) -> None:
    text = (function.__doc__ or "").partition("**options: ")[2].partition("Returns:")[0]
    named = {word for part in re.findall(r"\(([^)]*)\)|: ([^().]*)\.\s*$", text, re.S)
             for word in re.findall(r"[a-z_]+", " ".join(part))}  # fmt: skip
    wanted = {field.name for kind in OPTIONS[function] for field in fields(kind)}
    assert wanted <= named


def test_no_function_but_a_public_door_has_more_than_ten_arguments() -> None:
    doors = {"translate", "batch", "mosaic", "evaluate", "render_map", "train", "cut_tiles"}
    many = {}
    for path in sorted(Path(geotrans.__file__).parent.rglob("*.py")):
        # The options of a command, and the keys of a configuration that builds a network.
        if path.parent.name in ("cli", "models"):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef):
                names = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
                n = sum(arg.arg not in ("self", "cls") for arg in names)
                if n > 10 and node.name not in doors:
                    many[f"{path.name}:{node.lineno} {node.name}"] = n
    assert not many


def test_an_unknown_option_names_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"no option 'sede'; did you mean 'seed'\?|mean 'seed'"):
        geotrans.translate("sample:town", "map2aerial", sede=1)  # type: ignore[call-arg]


@pytest.mark.parametrize(
    "imports",
    [
        "import xarray, geotrans",
        "import geotrans.accessor, xarray",
        "import geotrans.accessor; import xarray",
    ],
)
def test_arrays_have_the_accessor_once_it_is_imported(imports: str) -> None:
    code = f"{imports}\nprint(type(xarray.DataArray([1]).geotrans).__module__)"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert done.stdout == "geotrans.accessor\n"
