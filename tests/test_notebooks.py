"""Notebooks run from top to bottom, offline, and are kept as text and with what they show."""

from __future__ import annotations

import os
import re
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient.exceptions import CellExecutionError

from geotrans.tasks import open_bundle
from geotrans.tasks.registry import shipped_bundles
from tests.helpers.notebooks import FOLDER, code_cells, list_texts, read_text, run_text

TEXTS = list_texts()
NOTEBOOKS = [path.with_suffix(".ipynb") for path in TEXTS]
# Three minutes on two cores, s of processor time.
_MOST_S = 2 * 180
_LARGEST_BYTES = 500_000

by_name = {"ids": lambda path: path.stem}


def _runs() -> list[Any]:
    """Every notebook; those whose first words name `GEOTRANS_DATA` need it."""
    real = {path for path in TEXTS if "GEOTRANS_DATA" in read_text(path).cells[0].source}
    return [
        pytest.param(path, marks=[pytest.mark.realdata] if path in real else [], id=path.stem)
        for path in TEXTS
    ]


def _outputs(notebook: Any) -> list[Any]:
    return [output for cell in code_cells(notebook) for output in cell.outputs]


def _check_outputs(notebook: Any) -> None:
    outputs = _outputs(notebook)
    assert all(output.output_type != "error" for output in outputs)
    assert any(kind.startswith("image/") for o in outputs for kind in o.get("data", {}))


def test_every_notebook_has_its_text() -> None:
    assert TEXTS
    assert sorted(FOLDER.glob("*.ipynb")) == NOTEBOOKS


@pytest.mark.parametrize("path", TEXTS, **by_name)
def test_text_and_notebook_agree(path: Path) -> None:
    kept = nbformat.read(path.with_suffix(".ipynb"), as_version=4)
    text = read_text(path)
    assert [(c.cell_type, c.source) for c in kept.cells] == [
        (c.cell_type, c.source) for c in text.cells
    ], f"run `python -m tests.helpers.notebooks {path.stem}`"
    assert kept.metadata.jupytext.formats == "ipynb,py:percent"


@pytest.mark.parametrize("path", NOTEBOOKS, **by_name)
def test_is_kept_with_small_outputs_of_one_whole_run(path: Path) -> None:
    assert path.stat().st_size <= _LARGEST_BYTES
    notebook = nbformat.read(path, as_version=4)
    cells = code_cells(notebook)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    _check_outputs(notebook)
    private = re.compile(r"/(tmp|home|root|work|Users|mnt)/")
    assert not private.search(path.read_text(encoding="utf-8")), "a path of one machine"


def test_what_is_kept_was_made_by_the_weights_that_ship() -> None:
    shown = NOTEBOOKS[0].read_text(encoding="utf-8")
    (sha256,) = re.findall(r"GEOTRANS_WEIGHTS_SHA256 +([0-9a-f]{64})", shown)
    assert sha256 == open_bundle("map2aerial").sha256, "run `python -m tests.helpers.notebooks`"


@pytest.mark.parametrize("path", TEXTS, **by_name)
def test_says_which_data_it_reads(path: Path) -> None:
    first = read_text(path).cells[0].source
    assert re.search(r"\*\*Data:\*\* .*(`sample:|`GEOTRANS_DATA`)", first)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(
    not {"map2aerial", "aerial2map"} <= shipped_bundles().keys(), reason="no shipped weights"
)
@pytest.mark.parametrize("path", _runs())
def test_runs(path: Path, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")}
    if request.node.get_closest_marker("realdata"):
        environment["GEOTRANS_DATA"] = str(request.getfixturevalue("data_dir"))
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    # In a process of its own: Jupyter's event loop and its warnings stay out of the tests.
    done = subprocess.run(
        [sys.executable, "-m", "tests.helpers.notebooks", path.stem, "--out", str(tmp_path)],
        cwd=FOLDER.parent, capture_output=True, text=True, check=False, timeout=880,
        env=environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]
    _check_outputs(nbformat.read(tmp_path / f"{path.stem}.ipynb", as_version=4))
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert spent <= _MOST_S, f"{spent:.0f} s of processor time"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # Jupyter's own
@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import warnings\nwarnings.warn('watch out')", "watch out"),
        ("import logging\nlogging.warning('look here')", "look here"),
    ],
    ids=["warning", "log"],
)
def test_a_warning_fails_a_notebook(tmp_path: Path, code: str, said: str) -> None:
    text = tmp_path / "loud.py"
    text.write_text(f"# %% [markdown]\n# # Loud\n\n# %%\n{code}\n", encoding="utf-8")
    with pytest.raises((CellExecutionError, ValueError), match=said):
        run_text(text)
