"""Cutting the patch cache of a configuration."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

from geotrans.errors import SamplingError, SceneError
from geotrans.grid import gsd_m
from geotrans.labelling.recipe import load_recipe
from geotrans.runtime.progress import Progress, show_nothing
from geotrans.sampling.cache import ClassRecord, Manifest, PatchCache, SideRecord
from geotrans.sampling.config import (
    DataConfig,
    DerivedSide,
    MapSide,
    PolygonSplits,
    RasterSide,
    Side,
    find_data_root,
)
from geotrans.sampling.cutting import PairCutter, cut_domain
from geotrans.sampling.domains import Domain, open_domains
from geotrans.sampling.matching import find_files, match_key
from geotrans.sampling.pairs import PairedData, find_side_files, list_scene_folders
from geotrans.sampling.reading import ClassSide, DrawnSide, SceneSide
from geotrans.sampling.splits import Footprint, check_disjoint
from geotrans.sampling.writing import check_free, write_cache

_log = logging.getLogger(__name__)


def write_patches(
    config: DataConfig,
    out: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> PatchCache:
    """Cut the pairs of a configuration into a patch cache.

    A scene that cannot be read is left out and counted in a warning.

    Args:
        config: Which pairs, splits and patches.
        out: Folder to make; it appears complete or not at all.
        overwrite: Whether an existing cache may be replaced.
        progress: Reports progress; called for each split, and counts windows.

    Raises:
        SamplingError: If a split has no pair or no patch, or two splits share ground.
        OutputError: If the folder cannot be written.
    """
    check_free(Path(out), overwrite=overwrite)
    progress = progress or show_nothing
    data = PairedData.open(config)
    for split in data.pairs.keys() & config.unpaired.keys():
        raise SamplingError(f"split '{split}' is both in data.splits and in data.unpaired")
    domains = {split: open_domains(config, split, data.root) for split in config.unpaired}
    check_disjoint(_list_footprints(config, data, domains))
    with ExitStack() as bars:

        def begin(split: str, total: int) -> Callable[[int], None]:
            bars.close()  # The split before is done.
            return bars.enter_context(progress(split, total))

        cutter = PairCutter(data, begin)
        splits = {split: cutter.iter_patches(split) for split in data.pairs}
        unpaired = {
            split: (
                cut_domain(source, config, split, begin),
                cut_domain(target, config, split, begin),
            )
            for split, (source, target) in domains.items()
        }
        manifest = _make_manifest(data, domains)
        cache = write_cache(out, manifest, splits, unpaired=unpaired, overwrite=overwrite)
    _log.info("%s: %s", out, ", ".join(f"{len(r)} {s}" for s, r in cache.manifest.splits.items()))
    return cache


def ensure_cache(
    config: DataConfig,
    *,
    progress: Progress | None = None,
) -> PatchCache:
    """The patch cache of a configuration, cut if it is not there yet.

    A cache named by `config.cache` may have been copied to a machine without the rasters: it is
    then checked against the configuration only. Without a name it is kept among the user's cache
    files under a digest of configuration and files, so that a change of either cuts a new one.

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
        _log.info("cutting patches into %s", out)
        return write_patches(config, out, progress=progress)
    cache = PatchCache.open(out)
    if cache.manifest.config != _describe_config(config):
        raise SamplingError(
            f"{out} was cut by another configuration; give another 'data.cache', "
            f"or cut it again with 'geotrans tile CONFIG.yaml -o {out} --overwrite'"
        )
    try:
        current = fingerprint(config)
    except (SamplingError, SceneError):
        _log.info("the rasters behind %s are not here; it is taken as it is", out)
        return cache
    if current != cache.manifest.fingerprint:
        raise SamplingError(
            f"files behind {out} have changed since it was cut; "
            f"cut it again with 'geotrans tile CONFIG.yaml -o {out} --overwrite'"
        )
    return cache


def fingerprint(config: DataConfig) -> str:
    """Digest of a configuration and of the name, size and time of each file it names.

    Raises:
        SamplingError: If a folder is missing or empty.
    """
    root = find_data_root(config)
    files: set[Path] = set()
    for side in (config.source, config.target):
        if isinstance(side, MapSide):
            files.add(root / side.vectors)
        elif isinstance(side, RasterSide):
            for entry in list_scene_folders(config):
                files.update(find_side_files(root, side, entry))
    if isinstance(config.splits, PolygonSplits):
        files.add(root / config.splits.polygons)
    for split in config.unpaired.values():
        for collection in (*split.source, *split.target):
            for entry in collection.files:
                files.update(find_files(root / entry))
    digest = hashlib.sha256(json.dumps(_describe_config(config), sort_keys=True).encode())
    for path in sorted(files):
        try:
            stat = path.stat()
        except OSError as error:
            raise SceneError(f"cannot read {path}: {error.strerror}") from error
        name = os.path.relpath(path, root)
        digest.update(f"{name}\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def _make_manifest(data: PairedData, domains: Mapping[str, tuple[Domain, Domain]]) -> Manifest:
    """The manifest of a cache, without its patches.

    Raises:
        SamplingError: If pairs and unpaired domains differ in bands or type.
    """
    config = data.config
    all_pairs = [pair for pairs in data.pairs.values() for pair in pairs]
    readers: list[Any] = [data.open_reader(all_pairs[0])] if all_pairs else []
    kinds = [
        *((r.source, r.target) for r in readers),
        *((s.side, t.side) for s, t in domains.values()),
    ]
    sides = {}
    for name, kind in zip(("source", "target"), zip(*kinds, strict=True), strict=True):
        first, *others = (_make_side_record(side, getattr(config, name)) for side in kind)
        for other in others:
            if other != first:
                raise SamplingError(
                    f"{name} of the splits differs: {', '.join(first.bands)} of {first.dtype}, and "
                    f"{', '.join(other.bands)} of {other.dtype}; name the same bands of one type "
                    f"with data.{name}.bands"
                )
        sides[name] = first
    drawn = config.drawn_side
    side = None if drawn is None else getattr(config, drawn)
    grids = [pair.grid.geobox for pair in all_pairs]
    grids += [scene.scene.geobox for source, _ in domains.values() for scene in source.scenes]
    gsds = [gsd for grid in grids if (gsd := gsd_m(grid)) is not None]
    return Manifest(
        source=sides["source"],
        target=sides["target"],
        gsd_m=(min(gsds), max(gsds)) if gsds else None,
        margin=side.margin if isinstance(side, MapSide) else 0,
        drawn=drawn,
        style=_dump_style(side) if isinstance(side, MapSide) else None,
        palette=_read_palette(side) if isinstance(side, MapSide) else None,
        config=_describe_config(config),
        fingerprint=fingerprint(config),
    )


def _list_footprints(
    config: DataConfig, data: PairedData, domains: Mapping[str, tuple[Domain, Domain]]
) -> dict[str, list[Footprint]]:
    """Ground of every split, where an unpaired one must not share it with another."""
    if not domains:
        return {}  # pairs have been compared already
    footprints: dict[str, list[Footprint]] = {}
    for split, pairs in data.pairs.items():
        # Regions separate scenes that all splits share.
        name = split if data.regions is None else ", ".join(data.pairs)
        footprints[name] = [pair.footprint for pair in pairs]
    for split, sides in domains.items():
        scenes = {scene.scene.uri: scene.scene for side in sides for scene in side.scenes}
        footprints[split] = [
            Footprint(scene.name, match_key(config.place, scene.name) or scene.name, scene.geobox)
            for scene in scenes.values()
        ]
    return footprints


def _describe_config(config: DataConfig) -> dict[str, Any]:
    """The configuration that determines the patches, as plain values without local paths."""
    plain: dict[str, Any] = config.model_dump(mode="json", exclude={"root", "cache"})
    if not config.unpaired:
        del plain["unpaired"]  # as caches of pairs have always been described
    for name in ("source", "target"):
        side = getattr(config, name)
        if isinstance(side, MapSide):
            plain[name]["style"] = _dump_style(side)
        if isinstance(side, DerivedSide):
            plain[name]["recipe"] = load_recipe(side.recipe).model_dump(mode="json", by_alias=True)
    return plain


def _make_side_record(side: SceneSide | DrawnSide | ClassSide, config: Side) -> SideRecord:
    classes = None
    if isinstance(side, ClassSide):
        classes = tuple(ClassRecord(**asdict(class_value)) for class_value in side.classes)
    return SideRecord(
        bands=side.names,
        dtype=str(side.dtype),
        units=side.units,
        classes=classes,
        value_range=config.range if isinstance(config, RasterSide) else None,
    )


def _dump_style(side: MapSide) -> dict[str, Any]:
    from geotrans.maps.style import load_style

    plain: dict[str, Any] = load_style(side.style).model_dump(mode="json", by_alias=True)
    return plain


def _read_palette(side: MapSide) -> tuple[tuple[str, tuple[int, int, int]], ...]:
    from geotrans.maps.style import load_style, palette

    return palette(load_style(side.style))
