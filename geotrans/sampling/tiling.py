"""From a configuration to a patch cache."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from geotrans.errors import SamplingError, SceneError
from geotrans.grid import Window, gsd_m, window_geobox
from geotrans.sampling.cache import (
    ClassRecord,
    Manifest,
    PatchCache,
    PatchRecord,
    SideRecord,
)
from geotrans.sampling.config import (
    DataConfig,
    DerivedSide,
    MapSide,
    PolygonSplits,
    RasterSide,
    Side,
    data_root,
)
from geotrans.sampling.matching import ScenePair, Skipped
from geotrans.sampling.pairs import PairedData, scene_folders, side_files
from geotrans.sampling.reading import ClassSide, DrawnSide, PairReader, SceneSide
from geotrans.sampling.windows import grid_windows
from geotrans.sampling.writing import CachedPatch, check_free, write_cache
from geotrans.scene.recipe import load_recipe

log = logging.getLogger(__name__)


def tile(
    config: DataConfig,
    out: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    progress: Callable[[str, int], Callable[[int], None]] | None = None,
) -> PatchCache:
    """Cut the pairs of a configuration into a patch cache.

    A scene that cannot be read is left out and counted in a warning.

    Args:
        config: Which pairs, splits and patches.
        out: Folder to make; it appears whole or not at all.
        overwrite: Whether a cache already there gives way.
        progress: Given a split and its number of windows, returns what to call with each number
            of windows done.

    Raises:
        SamplingError: If a split has no pair or no patch, or two splits share ground.
        OutputError: If the folder cannot be written.
    """
    check_free(Path(out), overwrite=overwrite)
    data = PairedData.find(config)
    cutter = _Cutter(data, progress or (lambda split, total: lambda done: None))
    splits = {split: cutter.patches(split) for split in data.pairs}
    cache = write_cache(out, _manifest(data), splits, overwrite=overwrite)
    log.info("%s: %s", out, ", ".join(f"{len(r)} {s}" for s, r in cache.manifest.splits.items()))
    return cache


def ensure_cache(
    config: DataConfig,
    *,
    progress: Callable[[str, int], Callable[[int], None]] | None = None,
) -> PatchCache:
    """The patch cache of a configuration, cut if it is not there yet.

    A cache named by `config.cache` may have been carried to a machine without the rasters: it is
    then only held against the configuration. Without a name it lies among the user's cache files
    under a digest of configuration and files, so that a change of either cuts another.

    Raises:
        SamplingError: If the named cache was cut by another configuration, or from files that
            have changed.
    """
    if config.cache is None:
        home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        out = home / "geotrans" / "patches" / fingerprint(config)[:16]
        out.parent.mkdir(parents=True, exist_ok=True)
    else:
        out = config.cache.expanduser()
    if not out.exists():
        log.info("cutting patches into %s", out)
        return tile(config, out, progress=progress)
    cache = PatchCache.open(out)
    if cache.manifest.config != _described(config):
        raise SamplingError(
            f"{out} was cut by another configuration; give another 'data.cache', "
            "or cut it again with 'geotrans tile --overwrite'"
        )
    try:
        current = fingerprint(config)
    except (SamplingError, SceneError):
        log.info("the rasters behind %s are not here; it is taken as it is", out)
        return cache
    if current != cache.manifest.fingerprint:
        raise SamplingError(
            f"files behind {out} have changed since it was cut; "
            "cut it again with 'geotrans tile --overwrite'"
        )
    return cache


def fingerprint(config: DataConfig) -> str:
    """Digest of a configuration and of the name, size and time of each file it names.

    Raises:
        SamplingError: If a folder is missing or empty.
    """
    root = data_root(config)
    files: set[Path] = set()
    for side in (config.source, config.target):
        if isinstance(side, MapSide):
            files.add(root / side.vectors)
        elif isinstance(side, RasterSide):
            for entry in scene_folders(config):
                files.update(side_files(root, side, entry))
    if isinstance(config.splits, PolygonSplits):
        files.add(root / config.splits.polygons)
    digest = hashlib.sha256(json.dumps(_described(config), sort_keys=True).encode())
    for path in sorted(files):
        try:
            stat = path.stat()
        except OSError as error:
            raise SceneError(f"cannot read {path}: {error.strerror}") from error
        name = os.path.relpath(path, root)
        digest.update(f"{name}\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode())
    return digest.hexdigest()


class _Cutter:
    """Cuts the patches of one split after the other, all of one shape within a split."""

    def __init__(
        self, data: PairedData, progress: Callable[[str, int], Callable[[int], None]]
    ) -> None:
        self._data = data
        self._progress = progress
        # (dtype, bands, classes) of source and target, as the first pair has them.
        self._kind: tuple[tuple[Any, ...], ...] | None = None

    def patches(self, split: str) -> Iterator[CachedPatch]:
        """Patches scene by scene, row by row."""
        pairs = self._data.pairs[split]
        size = self._size(pairs)
        plan = [(pair, self._windows(pair, size, split)) for pair in pairs]
        advance = self._progress(split, sum(len(windows) for _, windows in plan))
        failed = Skipped("scenes that cannot be read")
        for pair, windows in plan:
            try:
                yield from self._scene_patches(pair, windows, advance)
            except SceneError as error:
                failed.add(error)
        if len(failed) == len(plan):
            raise SamplingError(f"no scene of split '{split}' can be read: {failed}")
        failed.warn(len(plan))

    def _scene_patches(
        self, pair: ScenePair, windows: Sequence[Window], advance: Callable[[int], None]
    ) -> Iterator[CachedPatch]:
        reader = self._data.reader(pair)
        self._check_kind(pair, reader)
        try:
            for window in windows:
                patch = reader.read(window)
                advance(1)
                share = float(patch.valid.mean())
                if share > 0 and share >= self._data.config.min_valid:
                    record = _record(pair, window)
                    yield CachedPatch(
                        record, patch.source, patch.target, patch.valid, patch.classes
                    )
        finally:
            reader.close()

    def _size(self, pairs: Sequence[ScenePair]) -> tuple[int, int]:
        """Shape of every patch of a split, px."""
        if self._data.config.patch is not None:
            return self._data.config.patch, self._data.config.patch
        heights, widths = zip(*(pair.grid.shape for pair in pairs), strict=True)
        return max(heights), max(widths)

    def _windows(self, pair: ScenePair, size: tuple[int, int], split: str) -> list[Window]:
        if self._data.config.patch is None:
            windows = [Window.whole(size)]
        else:
            cells = grid_windows(pair.grid.shape, size, stride=self._data.config.stride)
            windows = [cell.window for cell in cells]
        if self._data.regions is None:
            return windows
        regions = self._data.regions.on(pair.grid.geobox)
        return [window for window in windows if regions.contains(split, window)]

    def _check_kind(self, pair: ScenePair, reader: PairReader) -> None:
        sides = reader.source, reader.target
        kind = tuple((s.dtype, s.names, getattr(s, "classes", None)) for s in sides)
        if self._kind is None:
            self._kind = kind
        for side, found, first in zip(("source", "target"), kind, self._kind, strict=True):
            if (found[0], len(found[1])) != (first[0], len(first[1])):
                raise SamplingError(
                    f"{side} of '{pair.grid.name}' has {len(found[1])} bands of {found[0]}, those "
                    f"before it {len(first[1])} of {first[0]}; choose bands that all scenes have "
                    "in one type"
                )
            if found[2] != first[2]:
                raise SamplingError(
                    f"{side} of '{pair.grid.name}' has other classes or colours than those before "
                    "it; label all scenes by one recipe"
                )


def _record(pair: ScenePair, window: Window) -> PatchRecord:
    geobox = window_geobox(pair.grid.geobox, window)
    whole = Window.whole(pair.grid.shape)
    is_whole = window.contains(whole)
    place = "" if is_whole else f"_{window.col_off}_{window.row_off}"
    a = geobox.affine
    return PatchRecord(
        name=f"{pair.grid.name}{place}",
        place=pair.place,
        group=pair.group,
        crs=None if geobox.crs is None else str(geobox.crs),
        transform=(a.a, a.b, a.c, a.d, a.e, a.f),
        shape=window.intersection(whole).shape,
        window=(window.col_off, window.row_off, window.width, window.height),
    )


def _manifest(data: PairedData) -> Manifest:
    """Everything about a cache but its patches."""
    config = data.config
    every = [pair for pairs in data.pairs.values() for pair in pairs]
    reader = data.reader(every[0])
    sides = {
        name: _side_record(side, getattr(config, name))
        for name, side in (("source", reader.source), ("target", reader.target))
    }
    drawn = config.drawn_side
    side = None if drawn is None else getattr(config, drawn)
    found = [gsd for pair in every if (gsd := gsd_m(pair.grid.geobox)) is not None]
    return Manifest(
        source=sides["source"],
        target=sides["target"],
        gsd_m=(min(found), max(found)) if found else None,
        margin=side.margin if isinstance(side, MapSide) else 0,
        drawn=drawn,
        style=_style(side) if isinstance(side, MapSide) else None,
        palette=_palette(side) if isinstance(side, MapSide) else None,
        config=_described(config),
        fingerprint=fingerprint(config),
    )


def _described(config: DataConfig) -> dict[str, Any]:
    """What decides the patches, as plain values; not where files lie on this machine."""
    plain: dict[str, Any] = config.model_dump(mode="json", exclude={"root", "cache"})
    for name in ("source", "target"):
        side = getattr(config, name)
        if isinstance(side, MapSide):
            plain[name]["style"] = _style(side)
        if isinstance(side, DerivedSide):
            plain[name]["recipe"] = load_recipe(side.recipe).model_dump(mode="json", by_alias=True)
    return plain


def _side_record(side: SceneSide | DrawnSide | ClassSide, config: Side) -> SideRecord:
    classes = None
    if isinstance(side, ClassSide):
        classes = tuple(ClassRecord(**asdict(one)) for one in side.classes)
    return SideRecord(
        bands=side.names,
        dtype=str(side.dtype),
        units=side.units,
        classes=classes,
        value_range=config.range if isinstance(config, RasterSide) else None,
    )


def _style(side: MapSide) -> dict[str, Any]:
    from geotrans.scene.style import load_style

    plain: dict[str, Any] = load_style(side.style).model_dump(mode="json", by_alias=True)
    return plain


def _palette(side: MapSide) -> tuple[tuple[str, tuple[int, int, int]], ...]:
    from geotrans.scene.style import load_style, palette

    return palette(load_style(side.style))
