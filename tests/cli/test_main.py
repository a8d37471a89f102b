"""The command line's frame: help, version, one way out."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest

from geotrans import __version__
from geotrans.cli import main
from geotrans.cli.main import COMMANDS, run
from geotrans.errors import OutputError, UsageError


def test_help_lists_the_commands_and_imports_none(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--help"]) == 0
    out = capsys.readouterr().out
    for name, (_, line) in COMMANDS.items():
        assert name in out
        assert line in out
    assert run([]) == 0
    assert capsys.readouterr().out == out


@pytest.mark.xdist_group("serial")
def test_help_is_quick() -> None:
    """Less than half a second of the processor, the best of three on a busy machine."""
    best = min(_seconds_of_help() for _ in range(3))
    assert best < 0.5


def _seconds_of_help() -> float:
    process = subprocess.Popen(
        [sys.executable, "-m", "geotrans", "--help"], stdout=subprocess.DEVNULL
    )
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return used.ru_utime + used.ru_stime


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == 0
    assert capsys.readouterr().out == f"geotrans {__version__}\n"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["translat"], "error: no command 'translat'; did you mean 'translate'?"),
        (["--frob"], "error: no such option: --frob"),
        (["translate"], "error: missing argument"),
        (["translate", "x.tif", "--task", "t", "--tile", "big"], "--tile"),
        (["translate", "x.tif", "--task", "t", "--precision", "half"], "--precision"),
        (["translate", "x.tif", "--task", "a", "-t", "b"], "--task was given twice; a run has one"),
        (["batch", "x.tif", "-t", "a", "-o", "out", "--task=a"], "--task was given twice"),
    ],
)
def test_what_cannot_be_meant_is_one_line(
    words: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(words) == 2
    err = capsys.readouterr().err
    assert told.lower() in err.lower()
    assert err.startswith("error: ")
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("error", "code", "told"),
    [
        (OutputError("disk is full"), 1, "error: disk is full\n"),
        (UsageError("no such thing"), 2, "error: no such thing\n"),
        (
            ModuleNotFoundError("No module named 'lightning'", name="lightning.fabric"),
            1,
            "error: this needs lightning.fabric; pip install 'geotrans[train]'\n",
        ),
        (ModuleNotFoundError("No module named 'x'", name="x"), 1, "error: ModuleNotFoundError: "),
        (ZeroDivisionError("oh"), 1, "error: ZeroDivisionError: oh; run again with -v"),
        (KeyboardInterrupt(), 130, "interrupted\n"),
        (KeyboardInterrupt("3 of 4 kept"), 130, "3 of 4 kept\n"),
        (BrokenPipeError(), 1, ""),
    ],
)
def test_errors_leave_by_one_door(
    error: BaseException,
    code: int,
    told: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    _install(monkeypatch, error)
    assert run(["fail"]) == code
    err = capsys.readouterr().err
    assert err.startswith(told)
    assert err.count("\n") <= 1
    if not isinstance(error, BrokenPipeError):
        monkeypatch.setattr(sys, "stdout", sys.__stdout__)
        assert run(["fail", "-v"]) == code
        assert "Traceback" in capsys.readouterr().err


def test_quiet_and_verbose(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import logging

    def say() -> None:
        log = logging.getLogger("geotrans.test")
        log.warning("beware")
        log.info("by the way")

    _install(monkeypatch, say)
    run(["fail"])
    assert capsys.readouterr().err == "warning: beware\n"
    run(["fail", "-q"])
    assert capsys.readouterr().err == ""
    run(["-v", "fail"])
    assert capsys.readouterr().err == "warning: beware\nby the way\n"


def _install(monkeypatch: pytest.MonkeyPatch, what: Any) -> None:
    """A command `fail` that raises or calls something."""
    import types

    def command() -> None:
        """Fail."""
        if isinstance(what, BaseException):
            raise what
        what()

    module = types.ModuleType("geotrans_test_command")
    module.command = command  # type: ignore[attr-defined]  # made for this test
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setitem(main.COMMANDS, "fail", (module.__name__, "Fail."))
