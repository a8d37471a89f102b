"""The manual: it builds without a warning, needs nothing from elsewhere, and says what is so."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest
import yaml

import geotrans
from geotrans.cli.main import COMMANDS, load_command
from geotrans.maps.style import load_style
from geotrans.product import tags
from geotrans.tasks import shipped_bundles
from geotrans.training.config import load_config

ROOT = Path(__file__).parents[1]
PAGES = sorted((ROOT / "docs" / "pages").rglob("*.md"))
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# Programs of others that the manual shows beside ours.
_OTHERS = {"dask", "gdalinfo", "gdalwarp", "pip"}
# What a command finds in its environment.
_SETTING = re.compile(r"[A-Z_]+=")


def _blocks(*languages: str) -> Iterator[tuple[str, str]]:
    """Page and text of each code block."""
    for page in PAGES:
        for language, text in _BLOCK.findall(page.read_text(encoding="utf-8")):
            if language in languages:
                yield page.stem, text


def _lines() -> Iterator[tuple[str, str]]:
    for page, text in _blocks("sh", "bash"):
        for line in text.replace("\\\n", " ").splitlines():
            yield page, line.split("  #")[0].strip()


@pytest.mark.parametrize(("page", "line"), sorted(set(_lines())))
def test_a_command_can_be_meant(page: str, line: str) -> None:
    program, *words = (word for word in shlex.split(line) if not _SETTING.match(word))
    if program == "kubectl":  # It runs ours elsewhere.
        program, *words = words[words.index("--") + 1 :]
    if program == "rio" and words[0] == "geotrans":
        program, words = "geotrans", words[1:]
    if program != "geotrans":
        assert program in {*_OTHERS, "rio"}
    elif words[0] != "--install-completion":
        load_command(words[0]).make_context(words[0], words[1:])


@pytest.mark.parametrize(("page", "text"), list(_blocks("python")))
def test_python_can_be_read(page: str, text: str) -> None:
    compile(text, page, "exec")


@pytest.mark.parametrize(("page", "text"), list(_blocks("yaml")))
def test_a_file_can_be_read(page: str, text: str, tmp_path: Path) -> None:
    found = re.match(r"# (\S+\.yaml)\n", text)
    assert found is not None, "it begins with its name"
    path = tmp_path / found[1]
    path.write_text(text, encoding="utf-8")
    if "extends" in yaml.safe_load(text):
        assert load_style(path).mappings
    else:
        assert load_config(path).task.name


def test_every_tag_is_told() -> None:
    told = (ROOT / "docs" / "pages" / "formats.md").read_text(encoding="utf-8")
    source = Path(tags.__file__).read_text(encoding="utf-8")
    written = set(re.findall(r'"(GEOTRANS_[A-Z0-9_]*[A-Z0-9])"', source)) | {
        "GEOTRANS_CLASSES",
        "GEOTRANS_NORM_STATS",
    }
    assert written
    assert {tag for tag in written if f"`{tag}`" not in told} == set()


class _Elsewhere(HTMLParser):
    """What a browser would fetch from elsewhere to show a page."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        fetched = {"script": "src", "img": "src", "iframe": "src", "source": "src"}.get(tag)
        if tag == "link" and given.get("rel") in {"stylesheet", "icon", "preload", "preconnect"}:
            fetched = "href"
        if fetched and re.match(r"(https?:)?//", given.get(fetched) or ""):
            self.found.append(f"<{tag}> {given[fetched]}")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site; a warning fails it."""
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [
            sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet",
            "-f", str(ROOT / "docs" / "mkdocs.yml"), "-d", str(folder),
        ],
        capture_output=True, text=True, check=False, timeout=580,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]
    return folder


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_no_page_fetches_anything_from_elsewhere(site: Path) -> None:
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 20
    for page in pages:
        parser = _Elsewhere()
        parser.feed(page.read_text(encoding="utf-8"))
        assert not parser.found, f"{page.relative_to(site)}: {parser.found}"
    for sheet in site.rglob("*.css"):
        assert not re.search(r"(url\(|@import)\s*['\"]?(https?:)?//", sheet.read_text())


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_there_is_a_page_for_everything(site: Path) -> None:
    for task, bundle in shipped_bundles().items():
        page = (site / "tasks" / task / "index.html").read_text(encoding="utf-8")
        assert f'src="../{task}.png"' in page
        assert (site / "tasks" / f"{task}.png").read_bytes() == bundle.with_suffix(
            ".png"
        ).read_bytes()
    commands = (site / "reference" / "commands" / "index.html").read_text(encoding="utf-8")
    assert all(f'<h2 id="{name}">' in commands for name in COMMANDS)
    for notebook in (ROOT / "notebooks").glob("*.ipynb"):
        assert (site / "notebooks" / notebook.stem / "index.html").is_file()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_public_names_are_told(site: Path) -> None:
    index = json.loads((site / "search" / "search_index.json").read_text(encoding="utf-8"))
    shown = {
        doc["location"].rpartition(".")[2] for doc in index["docs"] if "python" in doc["location"]
    }
    assert set(geotrans.__all__) - {"__version__"} <= shown
