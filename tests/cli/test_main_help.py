"""What every command's `--help` ends with: examples that can be meant."""

from __future__ import annotations

import shlex

import pytest

from geotrans.cli.main import COMMANDS, load_command, run

WIDTH = 90  # columns; longer lines break where a terminal ends


def _parse(command: str, words: list[str]) -> None:
    """Read a command's words as it would, and run nothing."""
    load_command(command).make_context(command, words)


@pytest.mark.parametrize("name", COMMANDS)
def test_help_ends_with_examples(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([name, "--help"]) == 0
    _, found, told = capsys.readouterr().out.partition("\n  Examples:\n")
    assert found
    assert all(len(line) <= WIDTH for line in told.splitlines())
    lines = told.replace("\\\n", "").strip().splitlines()
    assert 1 <= len(lines) <= 3
    for line in lines:
        program, command, *words = shlex.split(line)
        assert (program, command) == ("geotrans", name)
        _parse(command, words)


def test_an_example_with_an_option_that_is_not_there_would_be_found() -> None:
    with pytest.raises(Exception, match=r"(?i)no such option: --frob"):
        _parse("translate", ["scene.tif", "--task", "map2aerial", "--frob"])
    with pytest.raises(Exception, match="not one of"):
        _parse("translate", ["scene.tif", "--task", "map2aerial", "--as", "nothing"])
