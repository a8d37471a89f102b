"""Errors of the package in the words of the command line."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import geotrans
from geotrans.cli.main import COMMANDS, load_command, run
from geotrans.cli.options import FLAGS, spell_flag
from geotrans.errors import OutputError
from tests.helpers.bundles import identity_bundle, random_bundle
from tests.helpers.scenes import write_scene

PACKAGE = Path(geotrans.__file__).parent


def _flags() -> set[str]:
    """Every option of every command."""
    params = [param for name in COMMANDS for param in load_command(name).params]
    return {flag for param in params for flag in (*param.opts, *param.secondary_opts)}


def _named() -> Iterator[tuple[str, bool]]:
    """Options that errors of the package name, and whether they are said to be off."""
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "option":
                name = node.args[0]
                is_off = any(ast.unparse(value) == "False" for value in node.args[1:])
                if isinstance(name, ast.Constant):
                    yield str(name.value), is_off


def test_every_option_that_errors_name_is_one_of_a_command() -> None:
    named, flags = set(_named()), _flags()
    assert len(named) > 20
    unknown = {name for name, _ in named if spell_flag(name) not in flags}
    assert not unknown, "no command has these; call them what a command does, or list them in FLAGS"
    assert not any(is_off for _, is_off in named), "the command line has no word for it"


def test_the_table_of_flags_holds_exceptions_alone() -> None:
    unknown = {name: flag for name, flag in FLAGS.items() if flag not in _flags()}
    assert not unknown, "no command has these"
    regular = {name for name, flag in FLAGS.items() if flag == f"--{name.replace('_', '-')}"}
    assert not regular


@pytest.mark.parametrize(
    ("name", "value", "flag"),
    [
        ("overwrite", True, "--overwrite"),
        ("any_gsd", True, "--any-gsd"),
        ("out", None, "-o"),
        ("as_", "rgb", "--as rgb"),
        ("creation_options", None, "--co"),
        ("tile", 512, "--tile 512"),
        ("bands", {"nir": 1, "red": "N"}, "--bands nir=1,red=N"),
        ("norm_stats", "my town.tif", "--norm-stats 'my town.tif'"),
    ],
)
def test_flags(name: str, value: Any, flag: str) -> None:
    assert spell_flag(name, value) == flag


@pytest.fixture
def scene(tmp_path: Path) -> str:
    return str(write_scene(tmp_path / "scene.tif", gsd_m=0.6))


@pytest.fixture
def task(tmp_path: Path) -> list[str]:
    return ["--task", str(random_bundle(tmp_path / "noisy.safetensors", gsd_m=(0.6, 0.6)))]


def _told(words: list[str], code: int, capsys: pytest.CaptureFixture[str]) -> str:
    capsys.readouterr()
    assert run(words) == code
    err = capsys.readouterr().err
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    return err


def test_the_command_line_is_told_flags(
    scene: str, task: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    there = tmp_path / "there.tif"
    there.write_bytes(b"x")
    coarse = str(write_scene(tmp_path / "coarse.tif", gsd_m=10.0))
    nameless = str(write_scene(tmp_path / "nameless.tif", gsd_m=0.6, bands=["x", "y", "z"]))
    out = ["-o", str(tmp_path / "x.tif")]
    for words, code, told in (
        ([scene, *task, "-o", str(there)], 1, "replace it with --overwrite or choose another -o"),
        ([scene, *task, "-o", scene], 1, "is the source itself; choose another -o"),
        ([nameless, *task, *out], 2, "pass --bands red=N,green=N,blue=N"),
        ([coarse, *task, *out], 2, "or give --any-gsd if this is meant"),
        ([scene, *task, *out, "--memory", "1MB"], 2, "--memory 1MB is too little for task"),
        ([scene, *task, *out, "--as", "classes"], 2, "use --as rgb"),
        ([scene, *task, *out, "--norm-stats", "scen"], 2, "--norm-stats scen is neither"),
        ([scene, *task, *out, "--co", "COMPRESS=X"], 2, "refuses these --co: "),
    ):
        err = _told(["translate", *words], code, capsys)
        assert told in err
    with pytest.raises(OutputError, match="with overwrite=True or choose another out"):
        geotrans.translate(scene, task=task[1], out=there)


def test_other_commands_are_told_flags(
    scene: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tiles = str(tmp_path / "tiles")
    assert run(["tile", scene, "-o", tiles, "-q"]) == 0
    assert "replace them with --overwrite" in _told(["tile", scene, "-o", tiles], 1, capsys)
    search = ["batch", "--task", "map2aerial", "-o", tiles, "--datetime", "2024", scene]
    assert "--datetime describes a search; give --stac-api" in _told(search, 2, capsys)


def test_a_folder_of_another_batch_is_told_flags(
    scene: str, task: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = ["-o", str(tmp_path / "out")]
    assert run(["batch", scene, *task, *out, "-q"]) == 0
    other = ["--task", str(identity_bundle(tmp_path / "same.safetensors"))]
    err = _told(["batch", scene, *other, *out], 1, capsys)
    assert "(task random, now same" in err
    assert "choose another -o, or do all of it anew with --overwrite" in err


def test_a_reason_in_a_journal_is_spelled_for_whoever_reads_it(
    task: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever wrote it: here the command line, in a process of its own for each scene."""
    out = tmp_path / "out"
    (tmp_path / "in").mkdir()
    for i in range(2):
        write_scene(tmp_path / "in" / f"coarse{i}.tif", gsd_m=10.0)
    words = ["batch", str(tmp_path / "in"), *task, "-o", str(out)]
    assert run([*words, "--workers", "2", "-q"]) == 3
    assert capsys.readouterr().out.count("or give --any-gsd if") == 2
    assert run(["batch", str(out), "--status", "--json"]) == 0
    failures = json.loads(capsys.readouterr().out)["failures"]
    assert all("or give --any-gsd if" in failure["reason"] for failure in failures)
    state = geotrans.archive.read_status(out)
    assert all("or give any_gsd=True if" in failure.reason for failure in state.failures)
    assert run([*words[:-1], str(tmp_path / "plan"), "--dry-run"]) == 0
    assert "or give --any-gsd if" in capsys.readouterr().out
