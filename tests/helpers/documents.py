"""Code blocks of the documents, and running them as a reader would.

`bash` and `python` blocks run, `yaml` blocks are files named by their first line. `sh` and `py`
blocks are shown only: they need a cluster, a store, or data that do not ship.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from geotrans.cli.main import run

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs" / "pages").rglob("*.md"))
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(text: str, *languages: str) -> list[tuple[str, str]]:
    """Language and text of each code block, in order; all of them unless languages are given."""
    return [
        (found[1], found[2])
        for found in _BLOCK.finditer(text)
        if not languages or found[1] in languages
    ]


def commands(block: str) -> Iterator[list[str]]:
    """Words of each command of a shell block."""
    for line in block.replace("\\\n", " ").splitlines():
        for command in line.split("  #")[0].split("&&"):
            if words := shlex.split(command):
                yield words


def file_name(block: str) -> str:
    """The name that a file begins with, in a comment."""
    found = re.match(r"# (\S+)\n", block)
    assert found is not None, "it begins with its name"
    return found[1]


def run_blocks(text: str, folder: Path, capsys: Any) -> set[str]:
    """Run the blocks of a document one after the other.

    Args:
        text: The document.
        folder: The current folder, in which its files are written.
        capsys: What hears the commands.

    Returns:
        Lines that the commands printed.
    """
    printed: set[str] = set()
    names: dict[str, Any] = {}
    for language, block in blocks(text, "bash", "python", "yaml"):
        if language == "yaml":
            (folder / file_name(block)).write_text(block, encoding="utf-8")
        elif language == "python":
            exec(compile(block, "document", "exec"), names)
        else:
            for words in commands(block):
                printed |= set(_run(words, folder, capsys).splitlines())
    return printed


def _run(words: list[str], folder: Path, capsys: Any) -> str:
    """What a command prints."""
    program, *rest = words
    if program == "pip":  # What it installs is here already.
        return ""
    if program == "geotrans":
        code, told = run(rest), capsys.readouterr()
        assert code == 0, f"{words}: {told.err}"
        return str(told.out)
    assert program == "rio", words
    done = subprocess.run(
        [str(Path(sys.executable).with_name(program)), *rest],
        cwd=folder, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, f"{words}: {done.stderr}"
    return done.stdout
