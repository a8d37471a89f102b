"""Which scenes belong together: files of a split, pairs of source and target, places."""

from __future__ import annotations

import glob
import logging
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import shapely
from odc.geo.crs import CRS

from geotrans.errors import ConfigError, SamplingError, SceneError
from geotrans.sampling.ground import common_crs, outline
from geotrans.sampling.splits import Footprint
from geotrans.scene.base import Scene

log = logging.getLogger(__name__)

SUFFIXES = (".tif", ".tiff", ".vrt", ".jp2", ".img", ".png", ".nc")


@dataclass(frozen=True)
class ScenePair:
    """Two scenes of one place.

    Attributes:
        grid: Scene on whose pixel grid both are read.
        other: Scene of the other side; None if that side is drawn.
        place: Pairs of one place show the same ground.
        group: What the place is seen under, as a year; empty if nothing.
    """

    grid: Scene
    other: Scene | None
    place: str
    group: str = ""

    @property
    def footprint(self) -> Footprint:
        """Ground the pair covers."""
        return Footprint(self.grid.name, self.place, self.grid.geobox)


def find_files(where: str | os.PathLike[str]) -> list[Path]:
    """Rasters in a folder, or files that a glob names, sorted by name.

    Raises:
        SamplingError: If there is none.
    """
    path = Path(where)
    if path.is_dir():
        found = [p for p in path.iterdir() if p.suffix.lower() in SUFFIXES and p.is_file()]
        kind = f"a raster ({', '.join(SUFFIXES)})"
    else:
        found = [Path(p) for p in glob.glob(str(where), recursive=True) if os.path.isfile(p)]
        kind = "a file"
    if not found:
        raise SamplingError(f"found no place to sample: {where} holds not {kind}; check its path")
    return sorted(found, key=lambda p: _natural(str(p)))


def open_scenes(paths: Iterable[str | os.PathLike[str]]) -> list[Scene]:
    """Open scenes; those that cannot be read are left out, and counted in a warning.

    Raises:
        SamplingError: If none can be read.
    """
    from geotrans.scene import open_scene

    scenes, failed = [], Skipped("scenes that cannot be read")
    for path in paths:
        try:
            with open_scene(path) as scene:
                scenes.append(scene)
        except SceneError as error:
            failed.add(error)
    if not scenes:
        raise SamplingError(f"no scene to sample: {failed}")
    failed.warn(len(scenes) + len(failed))
    return scenes


def match_scenes(
    grids: Sequence[Scene], others: Sequence[Scene], *, pattern: re.Pattern[str] | None = None
) -> list[tuple[Scene, Scene]]:
    """Pair the scenes of two sides.

    Args:
        grids: Scenes on whose grids the pairs are read; each is in one pair at most.
        others: Scenes of the other side.
        pattern: On names: scenes whose matches agree are a pair. None pairs by ground, each scene
            with the one that covers most of it, with itself before any other.

    Raises:
        SamplingError: If there is no pair at all, or names leave the choice open.
    """
    pairs, alone = [], Skipped("scenes without a partner")
    partner = _by_ground(others) if pattern is None else _by_name(others, pattern)
    for grid in grids:
        other = partner(grid)
        if other is None:
            alone.add(grid.name)
        else:
            pairs.append((grid, other))
    if not pairs:
        how = "ground" if pattern is None else f"names by '{pattern.pattern}'"
        raise SamplingError(
            f"paired {len(grids)} scenes with {len(others)} by {how} and found no pair"
        )
    alone.warn(len(grids))
    return pairs


def match_key(pattern: re.Pattern[str] | None, name: str) -> str | None:
    """What a pattern finds in a name: its groups joined by `_`, else all of it; None if nothing."""
    if pattern is None:
        return name
    match = pattern.search(name)
    if match is None:
        return None
    groups = [group for group in match.groups() if group is not None]
    return "_".join(groups) if groups else match.group()


def require_key(pattern: re.Pattern[str] | None, name: str, *, option: str) -> str:
    """The same, for a name that the pattern must fit.

    Raises:
        ConfigError: If it does not.
    """
    found = match_key(pattern, name)
    if found is None:
        assert pattern is not None
        raise ConfigError(f"data.{option}: '{pattern.pattern}' finds nothing in '{name}'")
    return found


class Skipped:
    """Things left out, to be told once and with their number."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._told: list[str] = []

    def add(self, what: object) -> None:
        """Leave one out: its name, or the error that says which it is."""
        self._told.append(str(what))

    def __len__(self) -> int:
        return len(self._told)

    def __str__(self) -> str:
        n_more = len(self) - 3
        return "; ".join(self._told[:3]) + (f"; and {n_more} more" if n_more > 0 else "")

    def warn(self, total: int) -> None:
        """Say how many of how many, and the first few by name."""
        if self._told:
            log.warning("left out %d of %d %s: %s", len(self), total, self._what, self)


def _by_name(others: Sequence[Scene], pattern: re.Pattern[str]) -> Callable[[Scene], Scene | None]:
    found: dict[str, Scene] = {}
    for scene in others:
        name = match_key(pattern, scene.name)
        if name is None:
            continue
        if name in found:
            raise SamplingError(
                f"'{pattern.pattern}' finds '{name}' in both '{found[name].name}' and "
                f"'{scene.name}'; it must tell the scenes of one side apart"
            )
        found[name] = scene
    return lambda grid: found.get(match_key(pattern, grid.name) or "")


def _by_ground(others: Sequence[Scene]) -> Callable[[Scene], Scene | None]:
    itself: Mapping[str, Scene] = {scene.uri: scene for scene in others}
    trees: dict[object, tuple[list[Scene], CRS | None, shapely.STRtree]] = {}

    def partner(grid: Scene) -> Scene | None:
        if grid.uri in itself:
            return itself[grid.uri]
        own = grid.geobox.crs
        if own not in trees:
            # Ground cannot be compared between scenes with and without a CRS.
            alike = [scene for scene in others if (scene.geobox.crs is None) == (own is None)]
            crs = common_crs([grid.geobox, *(scene.geobox for scene in alike)])
            trees[own] = alike, crs, shapely.STRtree([outline(s.geobox, crs) for s in alike])
        alike, crs, tree = trees[own]
        shape = outline(grid.geobox, crs)
        touching = np.sort(tree.query(shape, predicate="intersects"))
        shared = shapely.area(shapely.intersection(tree.geometries[touching], shape))
        if not len(shared) or shared.max() <= 0:
            return None
        return alike[int(touching[np.argmax(shared)])]

    return partner


def _natural(text: str) -> list[str | int]:
    """Sort key that puts `_2` before `_10`."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", text)]
