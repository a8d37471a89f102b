"""Errors name options in the words of whoever called; below the command line nothing says flags."""

from __future__ import annotations

import ast
import pickle
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import geotrans
from geotrans import errors
from geotrans.errors import (
    ExtraError,
    GeotransError,
    OutputError,
    SceneError,
    TrainingError,
    UsageError,
    message_of,
    option,
    spell,
    spelling,
)

PACKAGE = Path(geotrans.__file__).parent
# Pages have custom properties of CSS, such as --ink.
MODULES = [
    path
    for path in sorted(PACKAGE.rglob("*.py"))
    if path.relative_to(PACKAGE).parts[0] not in ("cli", "html")
]
ERRORS = {name for name, one in vars(errors).items() if isinstance(one, type)}

_FLAG = re.compile(r"(?<![\w-])(--[a-z{]|-[a-z](?![\w-]))")
# A whole command line in quotes is one for Python users, too.
_COMMAND = re.compile(r"(['`])(geotrans|rio|ogr2ogr) [^'`]*\1")


@pytest.mark.parametrize(
    ("name", "value", "spelled"),
    [
        ("out", None, "out"),
        ("overwrite", True, "overwrite=True"),
        ("preview", False, "preview=False"),
        ("tile", 512, "tile=512"),
        ("norm_stats", "scene", 'norm_stats="scene"'),
        ("bands", {"nir": 1, "red": "N"}, 'bands={"nir": 1, "red": "N"}'),
        ("data", Path("ü⟧.tif"), 'data="ü⟧.tif"'),
    ],
)
def test_python_is_told_keywords(name: str, value: Any, spelled: str) -> None:
    error = UsageError(f"give {option(name, value)}, or do not")
    assert str(error) == f"give {spelled}, or do not"
    assert repr(error) == f"UsageError({str(error)!r})"
    assert error.options == (name,)


def test_options_are_named_once_and_in_order() -> None:
    error = OutputError(f"{option('out')}, {option('overwrite', True)}, {option('out', 'x.tif')}")
    assert error.options == ("out", "overwrite")
    assert OutputError("nothing").options == ()


def test_whoever_calls_may_spell_otherwise() -> None:
    error = UsageError(f"give {option('tile', 512)}")
    with spelling(lambda name, value: f"/{name.upper()}:{value}"):
        assert str(error) == "give /TILE:512"
        assert spell(message_of(error)) == str(error)
    assert str(error) == "give tile=512"


@pytest.mark.parametrize("kind", [UsageError, SceneError, OutputError, ExtraError, TrainingError])
def test_an_error_comes_whole_from_another_process(kind: type[GeotransError]) -> None:
    error = kind(f"x.tif exists; give {option('overwrite', True)}")
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), str(copy), copy.options) == (kind, str(error), ("overwrite",))
    with spelling(lambda name, value: f"--{name}"):
        assert str(copy) == "x.tif exists; give --overwrite"


def test_what_an_error_says_may_be_said_by_another() -> None:
    inner = SceneError(f"give {option('bands')}")
    assert UsageError(f"worker 1: {message_of(inner)}").options == ("bands",)
    assert message_of(KeyboardInterrupt()) == ""
    assert message_of(OSError(2, "gone")) == "[Errno 2] gone"
    assert str(SceneError(2, "gone")) == "[Errno 2] gone"


def test_brackets_of_others_are_left_alone() -> None:
    assert spell("⟦Map 1⟧.tif and ⟦a=b⟧.tif") == "⟦Map 1⟧.tif and ⟦a=b⟧.tif"


def test_nothing_below_the_command_line_says_flags() -> None:
    told = [
        f"{path}:{line}: {text}"
        for path in MODULES
        for line, text in _texts(ast.parse(path.read_text()))
        if _FLAG.search(_COMMAND.sub("", text))
    ]
    assert not told, "name the option with geotrans.errors.option, or in plain words"


@pytest.mark.parametrize(
    ("text", "is_flag"),
    [
        ("replace it with --overwrite", True),
        ("choose another -o", True),
        ("choose -o, or not", True),
        ("--{} describes a search", True),
        ("draw one with 'geotrans render --style-of {}'", False),
        ("draw one with geotrans render --style-of {}", True),
        ("a well-known thing -- really; x - y; {}-inverse", False),
    ],
)
def test_a_flag_is_known_when_seen(text: str, is_flag: bool) -> None:
    assert bool(_FLAG.search(_COMMAND.sub("", text))) is is_flag


def test_an_error_that_is_raised_anew_keeps_its_options() -> None:
    """Not by its text alone, whose options are spelled already."""
    lost = [
        f"{path}:{node.lineno}: {handler.name}"
        for path in MODULES
        for handler in ast.walk(ast.parse(path.read_text()))
        if isinstance(handler, ast.ExceptHandler) and handler.name and handler.type
        if ERRORS & {one.id for one in ast.walk(handler.type) if isinstance(one, ast.Name)}
        for raised in ast.walk(handler)
        if isinstance(raised, ast.Raise) and raised.exc
        for node in ast.walk(raised.exc)
        if ast.unparse(node) in (f"f'{{{handler.name}}}'", f"str({handler.name})")
        or (isinstance(node, ast.FormattedValue) and ast.unparse(node.value) == handler.name)
    ]
    assert not lost, "use geotrans.errors.message_of"


def _texts(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """String literals with their lines, `{}` for what an f-string fills in; docstrings left out."""
    if isinstance(tree, ast.Constant) and isinstance(tree.value, str):
        yield tree.lineno, tree.value
    elif isinstance(tree, ast.JoinedStr):
        parts = (one.value if isinstance(one, ast.Constant) else "{}" for one in tree.values)
        yield tree.lineno, "".join(map(str, parts))
        for one in tree.values:
            if isinstance(one, ast.FormattedValue):
                yield from _texts(one.value)
    else:
        for child in ast.iter_child_nodes(tree):
            is_docstring = isinstance(child, ast.Expr) and isinstance(child.value, ast.Constant)
            if not is_docstring:
                yield from _texts(child)
