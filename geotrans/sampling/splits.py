"""Splits by place: no ground is in both training and evaluation.

Scenes that lie in folders of their own are checked not to share ground. Scenes that lie in one
folder are separated by regions, polygons or blocks: a window belongs to a split only if each of its
pixels does, and a pixel belongs to one split at most.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
from odc.geo.geobox import GeoBox

from geotrans.errors import SamplingError, SceneError, suggest
from geotrans.sampling.ground import (
    LONLAT,
    choose_metric_crs,
    choose_metric_crs_of,
    find_common_crs,
    outline,
)
from geotrans.sampling.regions import AREA_TOLERANCE, Regions
from geotrans.sampling.windows import philox

if TYPE_CHECKING:
    import geopandas as gpd


@dataclass(frozen=True)
class Footprint:
    """Ground a scene covers.

    Attributes:
        name: Scene, for messages.
        place: Key shared by scenes of the same ground.
        geobox: Grid of the scene.
    """

    name: str
    place: str
    geobox: GeoBox


def check_disjoint(splits: Mapping[str, Sequence[Footprint]]) -> None:
    """Refuse splits that share a place or ground.

    Raises:
        SamplingError: If two scenes of different splits are of one place or overlap.
    """
    owners: dict[str, str] = {}
    for split, footprints in splits.items():
        for place in sorted({footprint.place for footprint in footprints}):
            if owners.setdefault(place, split) != split:
                raise SamplingError(
                    f"place '{place}' lies in the splits '{owners[place]}' and '{split}'; "
                    "keep all scenes of a place in one split"
                )
    footprints_by_split = [
        (split, footprint) for split, members in splits.items() for footprint in members
    ]
    for has_crs in (True, False):
        _check_ground(
            [item for item in footprints_by_split if (item[1].geobox.crs is not None) == has_crs]
        )


def _check_ground(footprints: list[tuple[str, Footprint]]) -> None:
    crs = find_common_crs(footprint.geobox for _, footprint in footprints)
    shapes = np.array([outline(footprint.geobox, crs) for _, footprint in footprints], dtype=object)
    if not len(shapes):
        return
    lefts, rights = shapely.STRtree(shapes).query(shapes, predicate="intersects")
    for left, right in zip(lefts, rights, strict=True):
        (split, scene), (other_split, other_scene) = footprints[left], footprints[right]
        if split == other_split:
            continue
        shared = shapely.area(shapely.intersection(shapes[left], shapes[right]))
        smaller = min(shapely.area(shapes[left]), shapely.area(shapes[right]))
        if shared > AREA_TOLERANCE * smaller:
            raise SamplingError(
                f"'{scene.name}' ({split}) and '{other_scene.name}' ({other_split}) share "
                f"{100 * shared / smaller:.3g} % of their ground; keep places that overlap in one "
                "split"
            )


def polygon_regions(path: Path, *, attribute: str = "split", gap_m: float = 0.0) -> Regions:
    """Splits drawn as polygons.

    Args:
        path: Any vector file.
        attribute: Column that names the split of a polygon.
        gap_m: Ground left unused between two splits, m.

    Raises:
        SceneError: If the file cannot be read.
        SamplingError: If it has no such column, or its splits overlap.
    """
    import geopandas as gpd
    from pyogrio.errors import DataSourceError

    try:
        frame = gpd.read_file(path)
    except (OSError, DataSourceError) as error:
        raise SceneError(f"cannot read polygons {path}: {error}") from error
    if attribute not in frame.columns:
        columns = [column for column in frame.columns if column != frame.geometry.name]
        raise SamplingError(
            f"{path} has no column '{attribute}'{suggest(attribute, columns)}; it has "
            f"{', '.join(columns) or 'none'}"
        )
    return _make_regions(frame, frame[attribute].astype(str), gap_m=gap_m)


def box_regions(
    boxes: Mapping[str, Sequence[tuple[float, float, float, float]]], *, gap_m: float = 0.0
) -> Regions:
    """Splits drawn as boxes.

    Args:
        boxes: `west, south, east, north` by split, degrees of longitude and latitude.
        gap_m: Ground left unused between two splits, m.

    Raises:
        SamplingError: If splits overlap.
    """
    import geopandas as gpd

    owners = [split for split, members in boxes.items() for _ in members]
    shapes = [shapely.box(*box) for members in boxes.values() for box in members]
    return _make_regions(gpd.GeoDataFrame(geometry=shapes, crs="EPSG:4326"), owners, gap_m=gap_m)


def block_regions(
    geoboxes: Sequence[GeoBox],
    *,
    block_m: float,
    shares: Mapping[str, float],
    seed: int = 0,
    gap_m: float = 0.0,
) -> Regions:
    """Splits by square blocks of ground.

    Args:
        geoboxes: Grids of the scenes.
        block_m: Edge of a block, m.
        shares: Share of the blocks by split; scaled to a sum of 1.
        seed: Which of the equally good assignments.
        gap_m: Ground left unused between two splits, m.

    Raises:
        SamplingError: If a scene has no CRS, or there are fewer blocks than splits.
    """
    import geopandas as gpd

    if any(geobox.crs is None for geobox in geoboxes):
        raise SamplingError("blocks are laid out in metres, and a scene has no CRS; use folders")
    crs = choose_metric_crs(geoboxes)
    cells = sorted(
        {cell for geobox in geoboxes for cell in _find_cells(outline(geobox, crs), block_m)}
    )
    if len(cells) < len(shares):
        raise SamplingError(
            f"{len(cells)} blocks of {block_m:g} m for {len(shares)} splits; make block_m smaller"
        )
    cells.sort(key=lambda cell: philox(seed, *cell))
    blocks = [_make_block(*cell, block_m) for cell in cells]
    frame = gpd.GeoDataFrame(geometry=blocks, crs=crs.proj)
    return _make_regions(frame, _assign_blocks(len(blocks), shares), gap_m=gap_m)


def _find_cells(shape: Any, block_m: float) -> list[tuple[int, int]]:
    """`(row, col)` of the blocks a shape meets, counted from the origin of its CRS.

    Further scenes therefore do not move the blocks.
    """
    left, bottom, right, top = (edge / block_m for edge in shape.bounds)
    shapely.prepare(shape)
    return [
        (row, col)
        for row in range(math.floor(bottom), math.ceil(top))
        for col in range(math.floor(left), math.ceil(right))
        if shape.intersects(_make_block(row, col, block_m))
    ]


def _make_block(row: int, col: int, block_m: float) -> Any:
    return shapely.box(col * block_m, row * block_m, (col + 1) * block_m, (row + 1) * block_m)


def _assign_blocks(n_blocks: int, shares: Mapping[str, float]) -> list[str]:
    """Name of the split of each block: one block per split, the others by the shares."""
    total = sum(shares.values())
    counts = dict.fromkeys(shares, 1)
    for _ in range(n_blocks - len(shares)):
        name_behind = min(shares, key=lambda name: counts[name] / (shares[name] / total))
        counts[name_behind] += 1
    return [name for name, count in counts.items() for _ in range(count)]


def _make_regions(frame: gpd.GeoDataFrame, owners: Any, *, gap_m: float) -> Regions:
    if gap_m and frame.crs is not None and not frame.crs.is_projected:
        frame = frame.to_crs(choose_metric_crs_of(frame.geometry.to_crs(LONLAT.proj)).proj)
    merged = frame.geometry.groupby(list(owners)).agg(shapely.union_all)
    shapes = {
        str(name): shapely.buffer(shape, -gap_m / 2, join_style="mitre") if gap_m else shape
        for name, shape in merged.items()
    }
    return Regions(shapes, frame.crs)
