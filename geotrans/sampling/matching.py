"""Matching of scenes: files of a split, pairs of source and target, places."""

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
from geotrans.sampling.ground import find_common_crs, outline
from geotrans.sampling.splits import Footprint
from geotrans.scene.base import Scene

_log = logging.getLogger(__name__)

SUFFIXES = (".tif", ".tiff", ".vrt", ".jp2", ".img", ".png", ".nc")


@dataclass(frozen=True)
class ScenePair:
    """Two scenes of one place.

    Attributes:
        grid: Scene on whose pixel grid both are read.
        other: Scene of the other side; None if that side is drawn.
        place: Pairs of one place show the same ground.
        group: Condition of the acquisition, such as its year; empty if none.
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
        files = [p for p in path.iterdir() if p.suffix.lower() in SUFFIXES and p.is_file()]
        requirement = f"a raster ({', '.join(SUFFIXES)})"
    else:
        files = [Path(p) for p in glob.glob(str(where), recursive=True) if os.path.isfile(p)]
        requirement = "a file"
    if not files:
        raise SamplingError(
            f"found no place to sample: {where} holds not {requirement}; check its path"
        )
    return sorted(files, key=lambda p: _natural_key(str(p)))


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
    pairs, unmatched = [], Skipped("scenes without a partner")
    find_partner = _match_by_ground(others) if pattern is None else _match_by_name(others, pattern)
    for grid in grids:
        other = find_partner(grid)
        if other is None:
            unmatched.add(grid.name)
        else:
            pairs.append((grid, other))
    if not pairs:
        criterion = "ground" if pattern is None else f"names by '{pattern.pattern}'"
        raise SamplingError(
            f"paired {len(grids)} scenes with {len(others)} by {criterion} and found no pair"
        )
    unmatched.warn(len(grids))
    return pairs


def match_key(pattern: re.Pattern[str] | None, name: str) -> str | None:
    """The match of a pattern in a name: its groups joined by `_`, else all of it; None if none."""
    if pattern is None:
        return name
    match = pattern.search(name)
    if match is None:
        return None
    groups = [group for group in match.groups() if group is not None]
    return "_".join(groups) if groups else match.group()


def require_key(pattern: re.Pattern[str] | None, name: str, *, option: str) -> str:
    """`match_key` for a name that the pattern must match.

    Raises:
        ConfigError: If it does not.
    """
    key = match_key(pattern, name)
    if key is None:
        assert pattern is not None
        raise ConfigError(f"data.{option}: '{pattern.pattern}' finds nothing in '{name}'")
    return key


class Skipped:
    """Items left out, to be reported in one warning."""

    def __init__(self, label: str) -> None:
        self._label = label
        self._items: list[str] = []

    def add(self, item: object) -> None:
        """Add an item: its name, or the error about it."""
        self._items.append(str(item))

    def __len__(self) -> int:
        return len(self._items)

    def __str__(self) -> str:
        n_more = len(self) - 3
        return "; ".join(self._items[:3]) + (f"; and {n_more} more" if n_more > 0 else "")

    def warn(self, total: int) -> None:
        """Log the number of items out of a total, and the first few by name."""
        if self._items:
            _log.warning("left out %d of %d %s: %s", len(self), total, self._label, self)


def _match_by_name(
    others: Sequence[Scene], pattern: re.Pattern[str]
) -> Callable[[Scene], Scene | None]:
    by_key: dict[str, Scene] = {}
    for scene in others:
        key = match_key(pattern, scene.name)
        if key is None:
            continue
        if key in by_key:
            raise SamplingError(
                f"'{pattern.pattern}' finds '{key}' in both '{by_key[key].name}' and "
                f"'{scene.name}'; it must tell the scenes of one side apart"
            )
        by_key[key] = scene
    return lambda grid: by_key.get(match_key(pattern, grid.name) or "")


def _match_by_ground(others: Sequence[Scene]) -> Callable[[Scene], Scene | None]:
    by_uri: Mapping[str, Scene] = {scene.uri: scene for scene in others}
    trees: dict[object, tuple[list[Scene], CRS | None, shapely.STRtree]] = {}

    def find_partner(grid: Scene) -> Scene | None:
        if grid.uri in by_uri:
            return by_uri[grid.uri]
        own_crs = grid.geobox.crs
        if own_crs not in trees:
            # Ground cannot be compared between scenes with and without a CRS.
            candidates = [
                scene for scene in others if (scene.geobox.crs is None) == (own_crs is None)
            ]
            crs = find_common_crs([grid.geobox, *(scene.geobox for scene in candidates)])
            trees[own_crs] = (
                candidates,
                crs,
                shapely.STRtree([outline(s.geobox, crs) for s in candidates]),
            )
        candidates, crs, tree = trees[own_crs]
        shape = outline(grid.geobox, crs)
        touching = np.sort(tree.query(shape, predicate="intersects"))
        shared = shapely.area(shapely.intersection(tree.geometries[touching], shape))
        if not len(shared) or shared.max() <= 0:
            return None
        return candidates[int(touching[np.argmax(shared)])]

    return find_partner


def _natural_key(text: str) -> list[str | int]:
    """Sort key that puts `_2` before `_10`."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", text)]
