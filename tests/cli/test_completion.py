"""Completion as a shell asks for it."""

from __future__ import annotations

import os
import pty
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from geotrans.cli.main import COMMANDS
from geotrans.labelling.recipe import list_recipes
from geotrans.maps.style import list_styles
from geotrans.tasks import shipped_bundles
from tests.helpers.thorough import quick

# What bash does when Tab is pressed behind a line: words so far, then the function.
_TAB = r"""
source "$1"
read -r -a COMP_WORDS <<< "$2"
[[ $2 == *' ' ]] && COMP_WORDS+=("")
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
[[ $(complete -p geotrans) =~ -F\ ([^ ]+) ]]
"${BASH_REMATCH[1]}" geotrans "${COMP_WORDS[COMP_CWORD]}"
printf '%s\n' "${COMPREPLY[@]}"
"""

# Lines behind which a task is asked for.
_TASK_LINES = (
    "translate x.tif -t ", "batch x.tif -t ", "tile x.tif --task ", "inspect ", "export ",
    "evaluate ", "evaluate map2aerial --inverse ", "render x.gpkg --style-of ",
)  # fmt: skip


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home where this checkout is `geotrans`, on the PATH."""
    script = tmp_path / "bin" / "geotrans"
    script.parent.mkdir()
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m geotrans "$@"\n')
    script.chmod(0o755)
    return tmp_path


def _environment(home: Path) -> dict[str, str]:
    root = Path(__file__).parents[2]
    path = f"{home / 'bin'}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "HOME": str(home), "PATH": path, "PYTHONPATH": str(root)}


def _run(home: Path, shell: str, *words: str) -> str:
    if shutil.which(shell) is None:
        pytest.skip(f"no {shell} here")
    return subprocess.run(
        [shell, *words], env=_environment(home), cwd=home,
        capture_output=True, text=True, check=True, timeout=120,
    ).stdout  # fmt: skip


def _install(home: Path, shell: str) -> None:
    said = _run(home, shell, "-c", "geotrans --install-completion; true")
    assert said.startswith(f"{shell} completion installed in {home}")


def _offered(home: Path, line: str) -> set[str]:
    """What bash offers when Tab is pressed behind a line."""
    script = str(home / ".bash_completions" / "geotrans.sh")
    return set(_run(home, "bash", "--norc", "-c", _TAB, "bash", script, line).split())


def test_bash_is_offered_commands_options_and_names(home: Path) -> None:
    _install(home, "bash")
    assert _offered(home, "geotrans ") == set(COMMANDS)
    assert _offered(home, "geotrans tra") == {"translate", "train"}
    assert {"--task", "--overwrite", "--help", "--quiet"} <= _offered(home, "geotrans translate --")
    assert _offered(home, "geotrans translate x.tif --as ") == {"rgb", "classes"}
    assert _offered(home, "geotrans translate ") == set(), "files are bash's own"


@pytest.mark.parametrize("line", quick({"inspect "}, _TASK_LINES))
def test_bash_is_offered_tasks(home: Path, line: str) -> None:
    _install(home, "bash")
    assert _offered(home, f"geotrans {line}") == set(shipped_bundles())


@pytest.mark.slow
def test_bash_is_offered_styles_and_recipes(home: Path) -> None:
    _install(home, "bash")
    assert _offered(home, "geotrans render x.gpkg --style ") == set(list_styles())
    assert _offered(home, "geotrans label x.tif --recipe ") == set(list_recipes())


@pytest.mark.slow
def test_tab_in_a_running_bash(home: Path) -> None:
    """Typed into a terminal, a completed task and a completed file name are used at once."""
    _install(home, "bash")
    (home / "long_name.safetensors").symlink_to(shipped_bundles()["cir2rgb"])
    typed = (
        "geotr\tinsp\tsumm\t --json > task.json\ngeotrans inspect long\t --json > file.json\nexit\n"
    )
    keyboard, terminal = pty.openpty()
    bash = subprocess.Popen(
        ["bash", "--noprofile", "--rcfile", home / ".bashrc", "-i"],
        stdin=terminal, stdout=terminal, stderr=terminal,
        env={**_environment(home), "TERM": "dumb"}, cwd=home, start_new_session=True,
    )  # fmt: skip
    os.write(keyboard, typed.encode())
    assert bash.wait(timeout=120) == 0
    os.close(terminal)
    os.close(keyboard)
    assert '"name": "summer2winter"' in (home / "task.json").read_text()
    assert '"name": "cir2rgb"' in (home / "file.json").read_text()


def test_fish_is_offered_the_same(home: Path) -> None:
    _install(home, "fish")
    offered = _run(home, "fish", "-c", "complete -C 'geotrans translate x.tif --task '")
    assert {line.split("\t")[0] for line in offered.splitlines()} == set(shipped_bundles())


def test_zsh_is_offered_the_same(home: Path) -> None:
    _install(home, "zsh")
    offered = _run(
        home, "zsh", "-f", "-c",
        "_TYPER_COMPLETE_ARGS='geotrans translate x.tif --task ' "
        "_GEOTRANS_COMPLETE=complete_zsh geotrans",
    )  # fmt: skip
    assert all(f'"{name}"' in offered for name in shipped_bundles())


def test_completing_brings_in_no_torch(home: Path) -> None:
    code = (
        "import sys\n"
        "from geotrans.cli import completion\n"
        "from geotrans.cli.main import COMMANDS, load_command\n"
        "[load_command(name) for name in COMMANDS]\n"
        "completion.tasks(''), completion.styles(''), completion.recipes('')\n"
        "print({'torch', 'rasterio', 'dask'} & sys.modules.keys())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=_environment(home),
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    assert done.stdout == "set()\n"
