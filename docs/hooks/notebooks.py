"""A page a notebook, with the outputs it is kept with: nothing is executed here."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
from mkdocs.structure.files import File, Files

_FOLDER = Path(__file__).parents[2] / "notebooks"
_PICTURES = {"image/png": ".png", "image/jpeg": ".jpg"}
_INDEX = """# Notebooks

Each runs from top to bottom without a network, in a few minutes on two cores; the tests run them.
They lie in `notebooks/`; `pip install ".[notebook]"` brings what they need.

"""


def _notebooks() -> list[Path]:
    return sorted(_FOLDER.glob("*.ipynb"))


def on_config(config: Any) -> None:
    """Put a page a notebook under Notebooks."""
    section = next(item for item in config.nav if "Notebooks" in item)
    pages = [f"notebooks/{path.stem}.md" for path in _notebooks()]
    section["Notebooks"] = ["notebooks/index.md", *pages]


def on_files(files: Files, config: Any) -> None:
    """Make the pages, and their pictures as files beside them."""
    index = _INDEX
    for path in _notebooks():
        notebook = nbformat.read(path, as_version=4)
        title, lead, *_ = notebook.cells[0].source.split("\n\n")
        index += f"- [{title.lstrip('# ')}]({path.stem}.md): {' '.join(lead.split())}\n"
        pictures: dict[str, bytes] = {}
        page = "\n\n".join(_cells(notebook, path.stem, pictures)) + "\n"
        files.append(File.generated(config, f"notebooks/{path.stem}.md", content=page))
        for name, content in pictures.items():
            files.append(File.generated(config, f"notebooks/{name}", content=content))
    files.append(File.generated(config, "notebooks/index.md", content=index))


def _cells(notebook: Any, stem: str, pictures: dict[str, bytes]) -> Iterator[str]:
    """Cells as Markdown; pictures are put by under the names that they are shown by."""
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            yield cell.source
            continue
        yield f"```python\n{cell.source}\n```"
        for output in cell.outputs:
            data = output.get("data", {"text/plain": output.get("text", "")})
            if picture := next((kind for kind in _PICTURES if kind in data), None):
                name = f"pictures/{stem}_{len(pictures)}{_PICTURES[picture]}"
                pictures[name] = base64.b64decode(data[picture])
                yield f"![Output]({name})"
            elif "text/html" in data:
                # A blank line would end the block of HTML.
                lines = filter(str.strip, data["text/html"].splitlines())
                yield "\n".join(["<div>", *lines, "</div>"])
            else:
                yield f"```text\n{data['text/plain'].rstrip()}\n```"
