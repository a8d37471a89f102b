"""Notebooks: percent text to read and change, and beside it the `.ipynb` with what it shows.

`python -m tests.helpers.notebooks [NAME ...]` runs texts of `notebooks/`, all unless given, and
keeps what comes out as the `.ipynb` beside each. `--out FOLDER` writes there instead.
"""

from __future__ import annotations

import argparse
import base64
import io
import tempfile
from pathlib import Path
from typing import Any

import jupytext
import nbclient
import nbformat
from PIL import Image

FOLDER = Path(__file__).parents[2] / "notebooks"
# What GitHub shows at full width; what is lighter than this needs no second compression.
_WIDTH_PX, _LIGHT_BYTES = 920, 30_000
# Every warning that Python shows, as an error; deprecations it shows only where a cell itself calls
# what is deprecated.
_STRICT = """
import warnings
warnings.simplefilter("error")
warnings.simplefilter("ignore", PendingDeprecationWarning)
warnings.simplefilter("ignore", DeprecationWarning)
warnings.filterwarnings("error", category=DeprecationWarning, module="__main__")
"""


def list_texts() -> list[Path]:
    """Texts of all notebooks, in order."""
    return sorted(FOLDER.glob("[0-9]*.py"))


def read_text(path: Path) -> Any:
    """The notebook that a text is, without outputs."""
    notebook = jupytext.read(path, fmt="py:percent")
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number:02d}"  # The text has none, and random ones would fill diffs.
    return notebook


def run_text(path: Path, *, timeout_s: float = 900) -> Any:
    """Run a text from top to bottom in an empty folder; a warning in a cell is an error.

    Args:
        path: The text.
        timeout_s: Longest time for a cell, s.

    Returns:
        The notebook with its outputs.

    Raises:
        nbclient.exceptions.CellExecutionError: If a cell fails.
        ValueError: If a cell writes to stderr.
    """
    notebook = read_text(path)
    notebook.cells.insert(0, nbformat.v4.new_code_cell(_STRICT))
    with tempfile.TemporaryDirectory() as folder:
        client = nbclient.NotebookClient(
            notebook, kernel_name="python3", timeout=timeout_s,
            resources={"metadata": {"path": folder}}, record_timing=False, coalesce_streams=True,
        )  # fmt: skip
        client.execute()
    del notebook.cells[0]
    for count, cell in enumerate(code_cells(notebook), 1):
        cell.execution_count = count
        for output in cell.outputs:
            if output.get("name") == "stderr":
                raise ValueError(f"{path.stem}: cell {count} says on stderr: {output.text}")
            if "execution_count" in output:
                output.execution_count = count
            _lighten(output)
    return notebook


def code_cells(notebook: Any) -> list[Any]:
    """Cells that hold code."""
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def _lighten(output: Any) -> None:
    """A picture of a page's width, and as JPEG where PNG is heavy."""
    data = output.get("data", {})
    if "image/png" not in data:
        return
    data.pop("text/plain", None)  # `<Figure size 1200x500 with 2 Axes>`
    raw = base64.b64decode(data["image/png"])
    image = Image.open(io.BytesIO(raw)).convert("RGB")
    if image.width > _WIDTH_PX:
        height = round(image.height * _WIDTH_PX / image.width)
        image = image.resize((_WIDTH_PX, height), Image.Resampling.LANCZOS)
    png, jpeg = io.BytesIO(), io.BytesIO()
    image.save(png, "PNG", optimize=True)
    image.save(jpeg, "JPEG", quality=75, optimize=True)
    del data["image/png"]
    if len(png.getvalue()) <= max(_LIGHT_BYTES, len(jpeg.getvalue())):
        data["image/png"] = base64.b64encode(png.getvalue()).decode()
    else:
        data["image/jpeg"] = base64.b64encode(jpeg.getvalue()).decode()


def main() -> None:
    """Run the texts that are named, and keep what comes out."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="such as 01_translate_a_scene")
    parser.add_argument("--out", type=Path, default=FOLDER, metavar="FOLDER")
    asked = parser.parse_args()
    for path in [FOLDER / f"{name}.py" for name in asked.names] or list_texts():
        nbformat.write(run_text(path), asked.out / f"{path.stem}.ipynb")


if __name__ == "__main__":
    main()
