"""The rasters a mosaic is made of: found, opened once, and checked to be of one kind."""

from __future__ import annotations

import glob
import hashlib
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from odc.geo.geobox import GeoBox

from geotrans.errors import BandError, SceneError, UsageError, message_of, option
from geotrans.scene import Scene, open_scene
from geotrans.scene.access.urls import is_url, strip_secrets
from geotrans.scene.base import SceneInfo

# What a directory is searched for.
_SUFFIXES = {".tif", ".tiff", ".png", ".jpg", ".jpeg", ".jp2", ".vrt", ".img"}

# Names an error tells of each kind of raster.
_TOLD = 3


@dataclass(frozen=True, slots=True)
class Source:
    """One raster of a mosaic, as its header describes it.

    Attributes:
        path: Where it was opened from.
        geobox: Its pixel grid.
        crs_wkt: Its CRS in the file's own words.
        stamp: Size and time of a local file: whether it is still the same.
        synthetic: Whether it says that a network painted it.
        task: Task and weights that did, if it says.
    """

    path: str
    geobox: GeoBox
    crs_wkt: str | None
    stamp: str
    synthetic: bool
    task: tuple[str, str] | None


@dataclass(frozen=True)
class Sources:
    """Rasters of one kind.

    Attributes:
        items: The rasters, in the order they were given.
        info: Bands, type, classes and nodata they share; the rest is the first one's.
    """

    items: tuple[Source, ...]
    info: SceneInfo

    @property
    def n_synthetic(self) -> int:
        """How many say that a network painted them."""
        return sum(one.synthetic for one in self.items)

    def digest(self) -> str:
        """What tells these files from others: SHA-256 of their names, sizes and times."""
        lines = (f"{strip_secrets(one.path)} {one.stamp}\n" for one in self.items)
        return hashlib.sha256("".join(lines).encode()).hexdigest()


def find_rasters(words: Iterable[Any]) -> list[str]:
    """Paths behind files, directories, patterns and URLs, each file once.

    Raises:
        SceneError: If one of them is nothing, or holds no raster.
        UsageError: If there is none at all.
    """
    found: dict[str, str] = {}
    for word in words:
        for path in _expand(str(word)):
            found.setdefault(str(Path(path).resolve()) if Path(path).exists() else path, path)
    if not found:
        raise UsageError("no tiles; give files, directories or patterns such as 'tiles/*.tif'")
    return list(found.values())


def _expand(word: str) -> list[str]:
    path = Path(word).expanduser()
    if is_url(word) or word.startswith("sample:"):
        return [word]
    if path.is_file():
        return [str(path)]
    if path.is_dir():
        inside = _rasters(sorted(map(str, path.iterdir())))
        if not inside:
            raise SceneError(f"{word} holds no raster ({', '.join(sorted(_SUFFIXES))})")
        return inside
    if glob.has_magic(word):
        matched = sorted(glob.glob(str(path), recursive=True))
        inside = _rasters(matched)
        if not inside:
            raise SceneError(f"{word} matches no raster ({len(matched)} other files)")
        return inside
    raise SceneError(f"{word}: no such file or directory")


def _rasters(paths: Sequence[str]) -> list[str]:
    """Those of some files that are rasters, and no previews: PNGs beside a TIFF of their name."""
    suffixes = {path: Path(path).suffix.lower() for path in paths}
    tiffs = {Path(p).with_suffix("") for p, s in suffixes.items() if s in (".tif", ".tiff")}
    return [
        path
        for path, suffix in suffixes.items()
        if suffix in _SUFFIXES and not (suffix == ".png" and Path(path).with_suffix("") in tiffs)
    ]


def read_sources(
    paths: Sequence[str], *, located: bool = True, advance: Callable[[int], None] | None = None
) -> Sources:
    """Open every raster once and make sure that they fit together.

    Args:
        paths: Where they are.
        located: Whether each must say where it lies.
        advance: Called with 1 for each raster that was opened.

    Raises:
        SceneError: If some cannot be opened, or do not say where they lie.
        BandError: If they differ in bands, type, radiometry or classes.
    """
    items: list[Source] = []
    infos: list[SceneInfo] = []  # The first of each kind.
    kinds: dict[tuple[str, ...], list[str]] = {}
    failures: list[str] = []
    for path in paths:
        try:
            with open_scene(path) as scene:
                items.append(_describe(scene))
                same = kinds.setdefault(_kind(scene.info), [])
                if not same:
                    infos.append(scene.info)
                same.append(path)
        except SceneError as error:
            failures.append(message_of(error))
        if advance:
            advance(1)
    if failures:
        raise SceneError(
            f"{len(failures)} of {len(paths)} tiles cannot be opened: {list_some(failures, '; ')}; "
            "mend them or leave them out"
        )
    if located:
        _check_located(items)
    _check_kinds(kinds)
    same_nodata = len({str(info.nodata) for info in infos}) == 1
    return Sources(tuple(items), infos[0] if same_nodata else replace(infos[0], nodata=None))


def _describe(scene: Scene) -> Source:
    tags, path = scene.tags, Path(scene.uri)
    stat = path.stat() if path.is_file() else None
    task = tags.get("GEOTRANS_TASK")
    return Source(
        path=scene.uri,
        geobox=scene.geobox,
        crs_wkt=scene.crs_wkt and sys.intern(scene.crs_wkt),
        stamp=f"{stat.st_size} {stat.st_mtime_ns}" if stat else str(scene.identity),
        synthetic=tags.get("GEOTRANS_SYNTHETIC") == "YES",
        task=(task, tags.get("GEOTRANS_WEIGHTS_SHA256", "")) if task else None,
    )


# What must be the same in all, in the words an error uses; nodata may differ.
_KINDS = ("bands", "band names", "scale and offset", "units", "colour table")


def _kind(info: SceneInfo) -> tuple[str, ...]:
    bands = info.bands
    names = [band.name for band in bands]
    colors = "" if info.colormap is None else str(sorted(info.colormap.items()))
    return (
        f"{len(bands)} x {info.dtype}",
        ", ".join(map(str, names)) if all(names) else "",
        ", ".join(f"{band.scale:g} and {band.offset:g}" for band in bands),
        ", ".join(band.units or "none" for band in bands),
        f"one of sha256 {hashlib.sha256(colors.encode()).hexdigest()[:8]}" if colors else "none",
        str(info.nodata),
    )


def _check_kinds(kinds: Mapping[tuple[str, ...], Sequence[str]]) -> None:
    for number, what in enumerate(_KINDS):
        groups: dict[str, list[str]] = {}
        for kind, paths in kinds.items():
            groups.setdefault(kind[number], []).extend(paths)
        if what == "band names":  # Bands without names are taken by position.
            groups.pop("", None)
        if len(groups) > 1:
            told = "; ".join(f"{value}: {list_some(paths)}" for value, paths in groups.items())
            raise BandError(
                f"the tiles differ in {what}, so they cannot be one raster: {told}; make a mosaic "
                "of each kind, or bring them to one kind first"
            )


def _check_located(items: Sequence[Source]) -> None:
    """Every tile says where it lies, in a CRS, or all without one."""
    lost = [one.path for one in items if one.crs_wkt is None and one.geobox.affine.is_identity]
    if lost:
        raise SceneError(
            f"{len(lost)} of {len(items)} tiles do not say where they lie: {list_some(lost)}; "
            f"give the {option('plan')} they were cut by, or a world file beside each"
        )
    without = [one.path for one in items if one.crs_wkt is None]
    if without and len(without) < len(items):
        raise SceneError(
            f"{len(without)} of {len(items)} tiles have no CRS: {list_some(without)}; give them "
            "the one they are in first"
        )


def list_some(words: Sequence[str], separator: str = ", ") -> str:
    """A few of many words, and how many are not told."""
    more = len(words) - _TOLD
    told = separator.join(words[:_TOLD])
    return f"{told} and {more} more" if more > 0 else told
