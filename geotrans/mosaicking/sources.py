"""The rasters of a mosaic: found, opened once, and checked to be of one kind."""

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
_N_LISTED = 3


@dataclass(frozen=True, slots=True)
class Source:
    """One raster of a mosaic, as its header describes it.

    Attributes:
        path: Path or URL it was opened from.
        geobox: Its pixel grid.
        crs_wkt: Its CRS as WKT, as the file states it.
        stamp: Size and time of a local file, to detect changes; else its identity.
        synthetic: Whether its tags say that a network made it.
        task: Task and hash of the weights, if its tags name them.
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
        """Number of rasters made by a network."""
        return sum(source.synthetic for source in self.items)

    def digest(self) -> str:
        """SHA-256 of the names, sizes and times of the files."""
        lines = (f"{strip_secrets(source.path)} {source.stamp}\n" for source in self.items)
        return hashlib.sha256("".join(lines).encode()).hexdigest()


def find_rasters(words: Iterable[Any]) -> list[str]:
    """Expand files, directories, patterns and URLs to paths, each file once.

    Raises:
        SceneError: If one of them does not exist, or holds no raster.
        UsageError: If there is none at all.
    """
    paths_by_file: dict[str, str] = {}
    for word in words:
        for path in _expand(str(word)):
            paths_by_file.setdefault(
                str(Path(path).resolve()) if Path(path).exists() else path, path
            )
    if not paths_by_file:
        raise UsageError("no tiles; give files, directories or patterns such as 'tiles/*.tif'")
    return list(paths_by_file.values())


def _expand(word: str) -> list[str]:
    path = Path(word).expanduser()
    if is_url(word) or word.startswith("sample:"):
        return [word]
    if path.is_file():
        return [str(path)]
    if path.is_dir():
        rasters = _select_rasters(sorted(map(str, path.iterdir())))
        if not rasters:
            raise SceneError(f"{word} holds no raster ({', '.join(sorted(_SUFFIXES))})")
        return rasters
    if glob.has_magic(word):
        matches = sorted(glob.glob(str(path), recursive=True))
        rasters = _select_rasters(matches)
        if not rasters:
            raise SceneError(f"{word} matches no raster ({len(matches)} other files)")
        return rasters
    raise SceneError(f"{word}: no such file or directory")


def _select_rasters(paths: Sequence[str]) -> list[str]:
    """Rasters among files, without previews, which are PNGs beside a TIFF of the same name."""
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
    """Open every raster once and check that they are of one kind.

    Args:
        paths: Paths or URLs of the rasters.
        located: Whether each must be georeferenced.
        advance: Called with 1 for each raster that was opened.

    Raises:
        SceneError: If some cannot be opened, or are not georeferenced.
        BandError: If they differ in bands, type, radiometry or classes.
    """
    items: list[Source] = []
    infos: list[SceneInfo] = []  # The first of each kind.
    kinds: dict[tuple[str, ...], list[str]] = {}
    failures: list[str] = []
    for path in paths:
        try:
            with open_scene(path) as scene:
                items.append(_make_source(scene))
                paths_of_kind = kinds.setdefault(_describe_kind(scene.info), [])
                if not paths_of_kind:
                    infos.append(scene.info)
                paths_of_kind.append(path)
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


def _make_source(scene: Scene) -> Source:
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


def _describe_kind(info: SceneInfo) -> tuple[str, ...]:
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
    for number, name in enumerate(_KINDS):
        groups: dict[str, list[str]] = {}
        for kind, paths in kinds.items():
            groups.setdefault(kind[number], []).extend(paths)
        if name == "band names":  # Bands without names are taken by position.
            groups.pop("", None)
        if len(groups) > 1:
            listing = "; ".join(f"{value}: {list_some(paths)}" for value, paths in groups.items())
            raise BandError(
                f"the tiles differ in {name}, so they cannot be one raster: {listing}; make a "
                "mosaic of each kind, or bring them to one kind first"
            )


def _check_located(items: Sequence[Source]) -> None:
    """Check that every tile is georeferenced, and that all or none have a CRS."""
    unlocated = [
        source.path
        for source in items
        if source.crs_wkt is None and source.geobox.affine.is_identity
    ]
    if unlocated:
        raise SceneError(
            f"{len(unlocated)} of {len(items)} tiles do not say where they lie: "
            f"{list_some(unlocated)}; "
            f"give the {option('plan')} they were cut by, or a world file beside each"
        )
    without_crs = [source.path for source in items if source.crs_wkt is None]
    if without_crs and len(without_crs) < len(items):
        raise SceneError(
            f"{len(without_crs)} of {len(items)} tiles have no CRS: {list_some(without_crs)}; give "
            "them the one they are in first"
        )


def list_some(words: Sequence[str], separator: str = ", ") -> str:
    """The first few words, and the number of the others."""
    n_more = len(words) - _N_LISTED
    listed = separator.join(words[:_N_LISTED])
    return f"{listed} and {n_more} more" if n_more > 0 else listed
