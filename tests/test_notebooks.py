"""Notebooks run from top to bottom, offline, and are kept without outputs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from geotrans.tasks.registry import shipped_bundles

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))

# In a process of its own: Jupyter's event loop and its warnings stay out of the tests.
_RUN = """
import sys
import nbclient, nbformat

notebook = nbformat.read(sys.argv[1], as_version=4)
nbclient.NotebookClient(notebook, kernel_name="python3", timeout=240).execute()
nbformat.write(notebook, sys.argv[2])
"""


def _cells(path: Path, kind: str) -> list[dict[str, Any]]:
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return [cell for cell in cells if cell["cell_type"] == kind]


def test_there_are_notebooks() -> None:
    assert NOTEBOOKS


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_is_kept_without_outputs(path: Path) -> None:
    for cell in _cells(path, "code"):
        assert cell["outputs"] == []
        assert cell["execution_count"] is None
        assert cell["source"], "an empty cell"


@pytest.mark.skipif(
    not {"map2aerial", "aerial2map"} <= shipped_bundles().keys(), reason="no shipped weights"
)
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_runs(path: Path, tmp_path: Path) -> None:
    run = tmp_path / path.name
    done = subprocess.run(
        [sys.executable, "-c", _RUN, str(path), str(run)],
        cwd=tmp_path, capture_output=True, text=True, check=False, timeout=280,
        env={**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]
    outputs = [output for cell in _cells(run, "code") for output in cell["outputs"]]
    assert any("image/png" in output.get("data", {}) for output in outputs), "no picture"
    said = "".join("".join(output.get("text", "")) for output in outputs)
    assert "GEOTRANS_SYNTHETIC" in said
    errors = [output for output in outputs if output.get("name") == "stderr"]
    assert not errors, errors
