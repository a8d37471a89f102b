"""Scenes of an archive: from files, folders, globs, lists and STAC, each scene once."""

from __future__ import annotations

import csv
import glob
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, TypedDict

from geotrans.archive.stac_inputs import is_stac, read_items, search_items
from geotrans.errors import SceneError, UsageError, option
from geotrans.scene import Scene, open_scene
from geotrans.scene.access.urls import is_url, strip_secrets
from geotrans.scene.stac import Mask, get_item_key, list_hrefs, open_item, parse_mask
from geotrans.tasks.spec import TaskSpec

# Position or description of a band in a scene, by the name of a band a task reads.
Bands = Mapping[str, int | str] | None

# Suffixes a folder is searched for; other formats are named, or matched by a glob.
RASTER_SUFFIXES = (".tif", ".tiff", ".vrt", ".jp2", ".img")

_LIST_SUFFIXES = (".txt", ".csv")
# Possible columns of scenes in a list; the first that exists is used.
_COLUMNS = ("scene", "path", "uri", "url", "href", "file", "filename", "location")


class ItemKeywords(TypedDict, total=False):
    """Keywords of `ItemOptions`."""

    stac_api: str | None
    collection: Sequence[str] | None
    bbox: Sequence[float] | None
    datetime: str | None
    mask_asset: str | None
    mask_values: Sequence[int] | str | None


@dataclass(frozen=True)
class ItemOptions:
    """STAC Items to search for, and which of their pixels to leave out.

    Attributes:
        stac_api: URL of a STAC API, whose items are translated beside those named.
        collection: Collections to search there.
        bbox: `xmin, ymin, xmax, ymax` to search in, lon-lat degrees.
        datetime: When items were acquired: a moment or `START/END`, ISO 8601.
        mask_asset: Asset of an item that says which pixels to leave out, such as `"scl"`.
        mask_values: Its values that mark them, such as `"3,8,9,10"`.
    """

    stac_api: str | None = None
    collection: Sequence[str] | None = None
    bbox: Sequence[float] | None = None
    datetime: str | None = None
    mask_asset: str | None = None
    mask_values: Sequence[int] | str | None = None

    @property
    def mask(self) -> Mask | None:
        """The mask of `mask_asset` and `mask_values`.

        Raises:
            UsageError: If asset or values are there without the other, or no whole numbers.
        """
        return parse_mask(self.mask_asset, self.mask_values)


@dataclass(frozen=True)
class Entry:
    """A scene of an archive, not opened yet.

    Attributes:
        key: Unique key of the scene, the same in every run.
        name: Short name, from which that of its product is made.
        uri: URI for `open_scene`.
        item: The STAC Item it is, with absolute hrefs.
    """

    key: str
    name: str
    uri: str
    item: Mapping[str, Any] | None = field(default=None, compare=False, repr=False)

    @property
    def hrefs(self) -> tuple[str, ...]:
        """Files and URLs it may be opened from."""
        return (self.uri,) if self.item is None else list_hrefs(self.item)

    def open(
        self,
        spec: TaskSpec,
        bands: Bands = None,
        mask: Mask | None = None,
    ) -> Scene:
        """Open it for a task; nothing but headers is read.

        Args:
            spec: The task.
            bands: Asset or band of an item, by the name of a band the task reads.
            mask: Which pixels of an item to leave out.
        """
        if self.item is None:
            return open_scene(self.uri)
        return open_item(self.item, spec.source, bands, gsd_range=spec.gsd_m, mask=mask)

    def remaining_bands(self, bands: Bands) -> Bands:
        """The mapping to apply to the scene that `open` returns: an item's is applied already."""
        return bands if self.item is None else None

    @classmethod
    def from_file(cls, path: Path) -> Entry:
        """Entry of a file, the same for all its names."""
        real = os.fspath(path.resolve())
        # SQLite cannot store the bytes of a name that is no UTF-8.
        key = os.fsencode(real).decode("utf-8", "backslashreplace")
        return cls(key, Path(key).stem, real)

    @classmethod
    def from_item(cls, item: Mapping[str, Any]) -> Entry:
        """Entry of a STAC Item."""
        key = get_item_key(item)
        return cls(strip_secrets(key), str(item["id"]).replace("/", "_"), key, item)

    @classmethod
    def from_uri(cls, uri: str) -> Entry:
        """Entry of a URL, or of a name of GDAL or ours; the key leaves out signatures."""
        path = uri.partition("?")[0].rstrip("/")
        return cls(strip_secrets(uri), PurePosixPath(path).stem.rpartition(":")[2], uri)


def select_entries(
    inputs: Iterable[str | os.PathLike[str]] | str | os.PathLike[str],
    options: ItemOptions = ItemOptions(),
    *,
    outside: Path,
) -> list[Entry]:
    """Find the scenes of the inputs of `batch`, and those of a STAC API.

    Args:
        inputs: See `find_entries`.
        options: The search.
        outside: The folder of the products.

    Raises:
        UsageError: If a search is described and there is nothing to search.
    """
    if isinstance(inputs, str | os.PathLike):
        inputs = [inputs]
    search = {
        "collection": options.collection, "bbox": options.bbox, "datetime": options.datetime,
    }  # fmt: skip
    if options.stac_api is None:
        if described := [name for name, value in search.items() if value]:
            raise UsageError(
                f"{option(described[0])} describes a search; give {option('stac_api')}, too"
            )
        return find_entries(inputs, outside=outside)
    items = search_items(
        options.stac_api, collection=options.collection, bbox=options.bbox,
        datetime=options.datetime,
    )  # fmt: skip
    return find_entries(inputs, outside=outside, items=items)


def find_entries(
    inputs: Iterable[str | os.PathLike[str]],
    *,
    outside: Path,
    items: Iterable[Mapping[str, Any]] = (),
) -> list[Entry]:
    """Find the scenes of inputs.

    Args:
        inputs: Files, folders (searched to the bottom for rasters), globs, URLs; lists: `.txt`
            with a scene a line, `.csv` with a column named `path` or the like, relative to the
            list; STAC documents (`.json`) and stac-geoparquet files (`.parquet`).
        outside: The folder of the products, which a search passes over.
        items: Further STAC Items.

    Returns:
        Each scene once, in the order given; a folder's by name.

    Raises:
        SceneError: If an input is not there, or all together hold no scene.
        UsageError: If a list cannot be read.
    """
    entries: dict[str, Entry] = {}
    texts = [os.fspath(text) for text in inputs]
    for text in texts:
        for entry in _expand(os.path.expanduser(text), outside.resolve()):
            entries.setdefault(entry.key, entry)
    for entry in map(Entry.from_item, items):
        entries.setdefault(entry.key, entry)
    if not entries:
        raise SceneError(
            f"{', '.join(texts) or 'nothing'} holds no scene; give rasters, folders with "
            f"{', '.join(RASTER_SUFFIXES)}, globs, or lists of them"
        )
    return list(entries.values())


def _expand(text: str, outside: Path) -> Iterator[Entry]:
    path = Path(text)
    if is_stac(text) and (is_url(text) or path.is_file()):
        yield from map(Entry.from_item, read_items(text))
    elif is_url(text) or text.startswith("sample:"):
        yield Entry.from_uri(text)
    elif path.is_dir():
        yield from map(Entry.from_file, _find_rasters(path, outside))
    elif path.suffix.lower() in _LIST_SUFFIXES and path.is_file():
        for line in _read_list(path):
            yield from _expand(_resolve_line(path, line), outside)
    elif path.exists():
        yield Entry.from_file(path)
    elif glob.has_magic(text):
        matches = sorted(glob.glob(text, recursive=True))
        if not matches:
            raise SceneError(f"nothing matches {text}")
        for match in matches:
            yield from _expand(match, outside)
    elif text.partition(":")[0].isupper() and ":" in text:  # NETCDF:file.nc:variable
        yield Entry.from_uri(text)
    else:
        # A missing file is one failed scene, not an error of the run.
        yield Entry.from_file(path)


def _find_rasters(folder: Path, outside: Path) -> list[Path]:
    """Rasters in a folder and below; links are followed, and each folder is entered once."""
    rasters: list[Path] = []
    entered: set[tuple[int, int]] = set()
    for name, folders, files in os.walk(folder, followlinks=True):
        current = Path(name)
        stat = current.stat()
        if (stat.st_dev, stat.st_ino) in entered or current.resolve() == outside:
            folders.clear()
            continue
        entered.add((stat.st_dev, stat.st_ino))
        folders[:] = sorted(folder for folder in folders if not _is_scratch(folder))
        rasters += [current / file for file in sorted(files) if _is_raster(file)]
    return rasters


def _is_scratch(name: str) -> bool:
    return name.startswith(".") or name.endswith(".parts")


def _is_raster(name: str) -> bool:
    return not name.startswith(".") and name.lower().endswith(RASTER_SUFFIXES)


def _resolve_line(path: Path, line: str) -> str:
    if is_url(line) or line.startswith("sample:") or line.partition(":")[0].isupper():
        return line
    return str(path.parent / os.path.expanduser(line))


def _read_list(path: Path) -> list[str]:
    """Read the scenes of a list."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"list {path} cannot be read: {error}") from error
    if path.suffix.lower() == ".csv":
        return _read_column(path, list(csv.reader(text.splitlines())))
    lines = (line.strip() for line in text.splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def _read_column(path: Path, rows: list[list[str]]) -> list[str]:
    header = [cell.strip().lower() for cell in rows[0]] if rows else []
    index = next((header.index(name) for name in _COLUMNS if name in header), None)
    if index is None:
        raise UsageError(
            f"list {path} has the columns {', '.join(header) or 'none'}; name that of the scenes "
            f"one of {', '.join(_COLUMNS)}"
        )
    cells = (row[index].strip() for row in rows[1:] if len(row) > index)
    return [cell for cell in cells if cell]
