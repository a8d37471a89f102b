"""Two domains without pairs: their scenes, and windows drawn from each independently."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import shapely

from geotrans.errors import SamplingError, SceneError
from geotrans.grid import Window
from geotrans.sampling.config import Collection, DataConfig, RasterSide, UnpairedSplit
from geotrans.sampling.ground import find_common_crs, outline
from geotrans.sampling.matching import Skipped, find_files, open_scenes
from geotrans.sampling.reading import SceneSide
from geotrans.sampling.regions import AREA_TOLERANCE, STRIP_ROWS
from geotrans.sampling.windows import (
    Placements,
    WindowDraw,
    find_valid_placements,
    find_whole_placements,
)
from geotrans.scene.base import Scene

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class DomainScene:
    """A scene of a domain.

    Attributes:
        scene: The scene.
        side: Reader of its bands, on the scene's own grid.
        placements: Windows that hold enough valid pixels.
    """

    scene: Scene
    side: SceneSide
    placements: Placements


@dataclass(frozen=True)
class Domain:
    """Scenes of one side that have no partner on the other.

    Attributes:
        name: `"source"` or `"target"`.
        collections: Scenes of each collection; at least one has a window.
        shares: Share of the windows of each collection.
        by_area: Whether a scene is drawn in proportion to its valid pixels.
        seed: Which of the equally good draws.
    """

    name: str
    collections: Sequence[Sequence[DomainScene]]
    shares: Sequence[float]
    by_area: bool
    seed: int

    @classmethod
    def open(cls, config: DataConfig, split: str, name: str, root: Path) -> Domain:
        """The scenes of one side of an unpaired split.

        Scenes that cannot be read, or have no window, are left out and counted in a warning.

        Raises:
            SamplingError: If a folder is empty, no scene is left, or bands and types are mixed.
            BandError: If a scene lacks a band.
        """
        unpaired: UnpairedSplit = config.unpaired[split]
        side: RasterSide = getattr(config, name)
        assert config.patch is not None
        collections = [
            _open_scenes(
                collection, side, root, size=config.patch, min_valid=unpaired.min_valid, domain=name
            )
            for collection in getattr(unpaired, name)
        ]
        _check_kinds([scene for scenes in collections for scene in scenes], name)
        shares = _compute_shares(
            [collection.share for collection in getattr(unpaired, name)], collections
        )
        # Source and target must not be drawn by the same numbers.
        seed = 2 * unpaired.seed + (name == "target")
        return cls(name, collections, shares, unpaired.balance == "area", seed)

    @property
    def scenes(self) -> list[DomainScene]:
        """All scenes, collection by collection."""
        return [scene for scenes in self.collections for scene in scenes]

    @property
    def side(self) -> SceneSide:
        """Bands and type, which all scenes share."""
        return self.scenes[0].side

    def draw(self, n_windows: int | None) -> list[tuple[DomainScene, Window]]:
        """Draw windows without repetition; fewer if there are not as many.

        Args:
            n_windows: How many; None takes as many as would cover the scenes.
        """
        if n_windows is None:
            height, width = self.scenes[0].placements.size
            usable = sum(scene.placements.n_px for scene in self.scenes)
            n_windows = max(1, usable // (height * width))
        drawn = []
        for number, count in enumerate(_apportion(n_windows, self.shares)):
            drawn += list(self._draw_from(number, count))
        return drawn

    def _draw_from(self, number: int, count: int) -> Iterator[tuple[DomainScene, Window]]:
        scenes = self.collections[number]
        placements = [scene.placements for scene in scenes]
        if sum(len(places) for places in placements) <= count:
            for scene in scenes:
                yield from ((scene, scene.placements[i]) for i in range(len(scene.placements)))
            return
        draw = WindowDraw(placements, seed=self.seed, by_area=self.by_area)
        taken_picks: set[tuple[int, Window]] = set()
        index = 0
        # Draws of exhausted scenes are rejected; the bound keeps uneven collections finite.
        while len(taken_picks) < count and index < 64 * count:
            pick = draw(number, index)
            index += 1
            if pick not in taken_picks:
                taken_picks.add(pick)
                yield scenes[pick[0]], pick[1]


def open_domains(config: DataConfig, split: str, root: Path) -> tuple[Domain, Domain]:
    """Source and target of an unpaired split, checked to lie on different ground.

    Raises:
        SamplingError: See `Domain.open`; or if the two share ground and this is not allowed.
    """
    source, target = (Domain.open(config, split, name, root) for name in ("source", "target"))
    if not config.unpaired[split].same_place:
        check_apart(
            [(scene.scene.name, scene.scene.geobox) for scene in source.scenes],
            [(scene.scene.name, scene.scene.geobox) for scene in target.scenes],
            option=f"data.unpaired.{split}.same_place",
        )
    return source, target


def check_apart(
    source: Sequence[tuple[str, Any]], target: Sequence[tuple[str, Any]], *, option: str
) -> None:
    """Refuse two domains that show the same place.

    Args:
        source: Name and grid of each scene.
        target: The same of the target.
        option: Option that allows it.

    Raises:
        SamplingError: If a scene of one overlaps a scene of the other.
    """
    grids = [[grid for _, grid in side] for side in (source, target)]
    if any(grid.crs is None for side in grids for grid in side):
        _log.warning("scenes without a CRS: whether source and target share a place is not known")
    sides = [[(name, grid) for name, grid in side if grid.crs] for side in (source, target)]
    crs = find_common_crs(grid for side in sides for _, grid in side)
    outlines = [[outline(grid, crs) for _, grid in side] for side in sides]
    if not all(outlines):
        return
    lefts, rights = shapely.STRtree(outlines[1]).query(outlines[0], predicate="intersects")
    for left, right in zip(lefts, rights, strict=True):
        first, second = outlines[0][left], outlines[1][right]
        shared = first.intersection(second).area / min(first.area, second.area)
        if shared > AREA_TOLERANCE:
            raise SamplingError(
                f"'{sides[0][left][0]}' (source) and '{sides[1][right][0]}' (target) share "
                f"{100 * shared:.3g} % of their ground; unpaired domains are drawn from different "
                f"places; leave one out, or set {option}: true"
            )


def _open_scenes(
    collection: Collection,
    side: RasterSide,
    root: Path,
    *,
    size: int,
    min_valid: float,
    domain: str,
) -> list[DomainScene]:
    """Scenes of a collection that have a window."""
    paths = [path for entry in collection.files for path in find_files(root / entry)]
    opened = open_scenes(dict.fromkeys(paths))
    kept, failed = [], Skipped("scenes that cannot be read")
    too_small = Skipped(
        f"scenes without a window of {size} x {size} px, {min_valid:.0%} of it valid"
    )
    for scene in opened:
        reader = SceneSide.open(
            scene,
            scene.geobox,
            wanted=collection.bands or side.bands,
            units=side.units,
            derive=side.derive,
            option=f"data.{domain}.bands",
        )
        try:
            placements = find_placements(reader, (size, size), min_valid=min_valid)
        except SceneError as error:
            failed.add(error)
            continue
        finally:
            scene.close()
        if len(placements):
            kept.append(DomainScene(scene, reader, placements))
        else:
            too_small.add(scene.name)
    if not kept:
        raise SamplingError(
            f"{domain}: none of {len(opened)} scenes in {', '.join(collection.files)} has a window "
            f"of {size} x {size} px, {min_valid:.0%} of it valid; make data.patch or min_valid "
            f"smaller{f' ({failed})' if len(failed) else ''}"
        )
    failed.warn(len(opened))
    too_small.warn(len(opened))
    return kept


def find_placements(side: SceneSide, size: tuple[int, int], *, min_valid: float) -> Placements:
    """Windows of a scene that hold enough valid pixels.

    A scene that can have invalid pixels is read once from top to bottom, so that every window
    that counts is known and none that does not is ever drawn.

    Raises:
        SceneError: If the scene cannot be read.
    """
    shape = side.scene.shape
    if not side.scene.maskable:
        return find_whole_placements(shape, size)
    return find_valid_placements(_iter_valid_strips(side), size, min_valid=min_valid)


def _iter_valid_strips(side: SceneSide) -> Iterator[npt.NDArray[np.bool_]]:
    height, width = side.scene.shape
    for row in range(0, height, STRIP_ROWS):
        window = Window(0, row, width, min(STRIP_ROWS, height - row))
        yield side.scene.read(window, [band.index for band in side.bands]).valid


def _check_kinds(scenes: Sequence[DomainScene], domain: str) -> None:
    first = scenes[0]
    for scene in scenes:
        kind, expected = ((s.side.dtype, len(s.side.names)) for s in (scene, first))
        if kind != expected:
            raise SamplingError(
                f"{domain} mixes scenes: '{first.scene.name}' has {expected[1]} bands of "
                f"{expected[0]}, '{scene.scene.name}' {kind[1]} of {kind[0]}; choose bands that "
                f"all scenes have in one type with data.{domain}.bands or those of a collection"
            )


def _compute_shares(
    requested: Sequence[float | None], collections: Sequence[Sequence[DomainScene]]
) -> list[float]:
    """Share of each collection: as requested, the rest by valid pixels; the sum is 1."""
    pixels = [sum(scene.placements.n_px for scene in scenes) for scenes in collections]
    free = sum(n for n, share in zip(pixels, requested, strict=True) if share is None)
    remainder = 1 - sum(share for share in requested if share is not None)
    shares = [
        remainder * n / free if share is None else share
        for n, share in zip(pixels, requested, strict=True)
    ]
    return [share / sum(shares) for share in shares]


def _apportion(n: int, shares: Sequence[float]) -> list[int]:
    """Whole numbers in proportion to shares, whose sum is `n`."""
    exact = np.array(shares) * n
    counts = np.floor(exact).astype(int)
    for i in np.argsort(counts - exact, kind="stable")[: n - int(counts.sum())]:
        counts[i] += 1
    return [int(count) for count in counts]
