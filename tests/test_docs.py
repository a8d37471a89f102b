"""The manual: it builds without a warning, needs nothing from elsewhere, and says what is so."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest
import yaml

import geotrans
from geotrans.cli.console import EXTRAS
from geotrans.cli.main import COMMANDS, load_command
from geotrans.maps.style import load_style
from geotrans.product import xmp as tags
from geotrans.tasks import shipped_bundles
from geotrans.training.config import load_config
from tests.helpers.documents import PAGES, ROOT, blocks, commands, file_name, run_blocks

# Programs of others that the manual shows beside ours.
_OTHERS = {"dask", "gdalinfo", "gdalwarp", "kubectl", "pip", "rio"}
# What a command finds in its environment.
_SETTING = re.compile(r"[A-Z_]+=")


def _of_pages(*languages: str) -> Iterator[tuple[str, str]]:
    """Page and text of each code block."""
    for page in PAGES:
        for _, text in blocks(page.read_text(encoding="utf-8"), *languages):
            yield page.stem, text


def _lines() -> Iterator[tuple[str, str]]:
    for page, text in _of_pages("sh", "bash"):
        for words in commands(text):
            yield page, shlex.join(words)


@pytest.mark.parametrize(("page", "line"), sorted(set(_lines())))
def test_a_command_can_be_meant(page: str, line: str) -> None:
    program, *words = (word for word in shlex.split(line) if not _SETTING.match(word))
    if program == "kubectl":  # It runs ours elsewhere.
        program, *words = words[words.index("--") + 1 :]
    if program == "rio" and words[0] == "geotrans":
        program, words = "geotrans", words[1:]
    if program != "geotrans":
        assert program in _OTHERS
    else:
        load_command(words[0]).make_context(words[0], words[1:])


@pytest.mark.parametrize(("page", "text"), list(_of_pages("py")))
def test_python_that_is_shown_only_can_be_read(page: str, text: str) -> None:
    compile(text, page, "exec")


@pytest.mark.parametrize(("page", "text"), list(_of_pages("yaml")))
def test_a_file_can_be_read(page: str, text: str, tmp_path: Path) -> None:
    path = tmp_path / file_name(text)
    path.write_text(text, encoding="utf-8")
    if "extends" in yaml.safe_load(text):
        assert load_style(path).mappings
    else:
        assert load_config(path).task.name


def test_few_blocks_are_shown_only() -> None:
    assert {block[0] for page in PAGES for block in blocks(page.read_text("utf-8"))} <= {
        "bash", "python", "yaml", "sh", "py",
    }  # fmt: skip
    shown = [page for page, _ in _of_pages("sh", "py")]
    assert {page: shown.count(page) for page in shown} == {"archives": 9, "gis": 1, "train": 2}


# The blocks of a page run one after the other in a folder of their own.
@pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning")  # rioxarray's
@pytest.mark.filterwarnings("ignore:The 'shapely.ops.transform:DeprecationWarning")  # odc-geo's
@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    "page", [page for page in PAGES if blocks(page.read_text("utf-8"))], ids=lambda page: page.stem
)
def test_the_examples_of_a_page_run(
    page: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    run_blocks(page.read_text(encoding="utf-8"), tmp_path, capsys)


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


# What hides the extras but `docs` from a process: `pip install ".[docs]"` brings none of them.
_NO_EXTRAS = """
import sys

class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {names}:
            raise ModuleNotFoundError(f"No module named '{{name}}'", name=name)

sys.meta_path.insert(0, Hidden())
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the package as `pip install ".[docs]"` leaves it, away from this checkout."""
    wheels, folder = tmp_path_factory.mktemp("wheel"), tmp_path_factory.mktemp("installed")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(wheels)],
        cwd=ROOT, capture_output=True, check=True, timeout=120,
    )  # fmt: skip
    (wheel,) = wheels.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(folder)
    extras = {name.replace("-", "_") for names in EXTRAS.values() for name in names}
    names = extras - {"pandas"} | {"matplotlib"}  # pandas is xarray's own.
    text = _NO_EXTRAS.format(names=repr(sorted(names)))
    (folder / "sitecustomize.py").write_text(text, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def site(installed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built from a plain install; a warning fails it."""
    folder, elsewhere = tmp_path_factory.mktemp("site"), tmp_path_factory.mktemp("elsewhere")
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    where = subprocess.run(
        [sys.executable, "-c", "import geotrans; print(geotrans.__file__)"],
        cwd=elsewhere, env=environment, capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    assert Path(where.stdout.strip()) == installed / "geotrans" / "__init__.py"
    done = subprocess.run(
        [
            sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet",
            "-f", str(ROOT / "docs" / "mkdocs.yml"), "-d", str(folder),
        ],
        cwd=elsewhere, env=environment, capture_output=True, text=True, check=False, timeout=580,
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
