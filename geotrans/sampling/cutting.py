"""Cutting patches from scenes: those of pairs, and those of unpaired domains."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from geotrans.errors import SamplingError, SceneError
from geotrans.grid import Window, window_geobox
from geotrans.sampling.cache import PatchRecord
from geotrans.sampling.config import DataConfig
from geotrans.sampling.domains import Domain, DomainScene
from geotrans.sampling.matching import ScenePair, Skipped, match_key
from geotrans.sampling.pairs import PairedData
from geotrans.sampling.reading import PairReader
from geotrans.sampling.windows import grid_windows
from geotrans.sampling.writing import CachedPatch, CachedWindow
from geotrans.scene.base import Scene

# Given a split and its number of windows, returns what to call with each number of them done.
Begin = Callable[[str, int], Callable[[int], None]]


class PairCutter:
    """Cuts the patches of pairs, split by split; within a split all have one shape."""

    def __init__(self, data: PairedData, begin: Begin) -> None:
        self._data = data
        self._begin = begin
        # (dtype, bands, classes) of source and target, as the first pair has them.
        self._kind: tuple[tuple[Any, ...], ...] | None = None

    def iter_patches(self, split: str) -> Iterator[CachedPatch]:
        """Patches scene by scene, row by row."""
        pairs = self._data.pairs[split]
        size = self._find_size(pairs)
        plan = [(pair, self._list_windows(pair, size, split)) for pair in pairs]
        advance = self._begin(split, sum(len(windows) for _, windows in plan))
        failed = Skipped("scenes that cannot be read")
        for pair, windows in plan:
            try:
                yield from self._cut_scene(pair, windows, advance)
            except SceneError as error:
                failed.add(error)
        if len(failed) == len(plan):
            raise SamplingError(f"no scene of split '{split}' can be read: {failed}")
        failed.warn(len(plan))

    def _cut_scene(
        self, pair: ScenePair, windows: Sequence[Window], advance: Callable[[int], None]
    ) -> Iterator[CachedPatch]:
        reader = self._data.open_reader(pair)
        self._check_kind(pair, reader)
        try:
            for window in windows:
                patch = reader.read(window)
                advance(1)
                share = float(patch.valid.mean())
                if share > 0 and share >= self._data.config.min_valid:
                    record = make_record(pair.grid, window, place=pair.place, group=pair.group)
                    yield CachedPatch(
                        record, patch.source, patch.target, patch.valid, patch.classes
                    )
        finally:
            reader.close()

    def _find_size(self, pairs: Sequence[ScenePair]) -> tuple[int, int]:
        """Shape of every patch of a split, px."""
        if self._data.config.patch is not None:
            return self._data.config.patch, self._data.config.patch
        heights, widths = zip(*(pair.grid.shape for pair in pairs), strict=True)
        return max(heights), max(widths)

    def _list_windows(self, pair: ScenePair, size: tuple[int, int], split: str) -> list[Window]:
        if self._data.config.patch is None:
            windows = [Window.whole(size)]
        else:
            cells = grid_windows(pair.grid.shape, size, stride=self._data.config.stride)
            windows = [cell.window for cell in cells]
        if self._data.regions is None:
            return windows
        regions = self._data.regions.project_to(pair.grid.geobox)
        return [window for window in windows if regions.contains(split, window)]

    def _check_kind(self, pair: ScenePair, reader: PairReader) -> None:
        sides = reader.source, reader.target
        kind = tuple((s.dtype, s.names, getattr(s, "classes", None)) for s in sides)
        if self._kind is None:
            self._kind = kind
        for side, current, first in zip(("source", "target"), kind, self._kind, strict=True):
            if (current[0], len(current[1])) != (first[0], len(first[1])):
                raise SamplingError(
                    f"{side} of '{pair.grid.name}' has {len(current[1])} bands of {current[0]}, "
                    f"those before it {len(first[1])} of {first[0]}; choose bands that all scenes "
                    "have in one type"
                )
            if current[2] != first[2]:
                raise SamplingError(
                    f"{side} of '{pair.grid.name}' has other classes or colours than those before "
                    "it; label all scenes by one recipe"
                )


def cut_domain(
    domain: Domain, config: DataConfig, split: str, begin: Begin
) -> Iterator[CachedWindow]:
    """Windows of one side of an unpaired split, scene by scene.

    Raises:
        SamplingError: If no scene can be read.
    """
    windows_drawn = domain.draw(config.unpaired[split].windows)
    by_scene: dict[str, tuple[DomainScene, list[Window]]] = {}
    for scene, window in windows_drawn:
        by_scene.setdefault(scene.scene.uri, (scene, []))[1].append(window)
    advance = begin(f"{split} {domain.name}", len(windows_drawn))
    failed = Skipped("scenes that cannot be read")
    for scene, windows in by_scene.values():
        place = match_key(config.place, scene.scene.name) or scene.scene.name
        group = "" if config.group is None else match_key(config.group, scene.scene.name) or ""
        try:
            for window in windows:
                values, valid, _ = scene.side.read(window)
                advance(1)
                record = make_record(scene.scene, window, place=place, group=group)
                yield CachedWindow(record, values, valid)
        except SceneError as error:
            failed.add(error)
        finally:
            scene.side.scene.close()
    if len(failed) == len(by_scene):
        raise SamplingError(f"no scene of {domain.name} in split '{split}' can be read: {failed}")
    failed.warn(len(by_scene))


def make_record(scene: Scene, window: Window, *, place: str, group: str = "") -> PatchRecord:
    """The record of a window of a scene."""
    geobox = window_geobox(scene.geobox, window)
    whole = Window.whole(scene.shape)
    is_whole = window.contains(whole)
    suffix = "" if is_whole else f"_{window.col_off}_{window.row_off}"
    a = geobox.affine
    return PatchRecord(
        name=f"{scene.name}{suffix}",
        place=place,
        group=group,
        crs=None if geobox.crs is None else str(geobox.crs),
        transform=(a.a, a.b, a.c, a.d, a.e, a.f),
        shape=window.intersection(whole).shape,
        window=(window.col_off, window.row_off, window.width, window.height),
    )
