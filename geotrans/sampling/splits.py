"""Splits by place: no ground that trains is ever scored.

Scenes that lie in folders of their own are checked not to share ground. Scenes that lie in one
folder are parted by regions, polygons or blocks: a window belongs to a split only if each of its
pixels does, and a pixel belongs to one split at most.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import shapely
from odc.geo.crs import CRS
from odc.geo.geobox import GeoBox
from pyproj import Transformer

from geotrans.errors import SamplingError, SceneError, nearest
from geotrans.grid import Window, window_geobox
from geotrans.sampling.windows import (
    Placements,
    masked_placements,
    philox,
    whole_placements,
)

if TYPE_CHECKING:
    import geopandas as gpd

# Rows rasterised at once.
STRIP = 512
# Share of a footprint that two scenes may have in common by rounding.
ROUNDING = 1e-6


@dataclass(frozen=True)
class Footprint:
    """Ground a scene covers.

    Attributes:
        name: Scene, for messages.
        place: What scenes of the same ground share.
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
    every = [(split, footprint) for split, each in splits.items() for footprint in each]
    crs = next((f.geobox.crs for _, f in every if f.geobox.crs is not None), None)
    for has_crs in (True, False):
        some = [item for item in every if (item[1].geobox.crs is not None) == has_crs]
        _check_ground(some, crs if has_crs else None)


def _check_ground(every: list[tuple[str, Footprint]], crs: CRS | None) -> None:
    shapes = np.array([footprint_shape(f.geobox, crs) for _, f in every], dtype=object)
    if not len(shapes):
        return
    lefts, rights = shapely.STRtree(shapes).query(shapes, predicate="intersects")
    for left, right in zip(lefts, rights, strict=True):
        (split, scene), (other_split, other_scene) = every[left], every[right]
        if split == other_split:
            continue
        shared = shapely.area(shapely.intersection(shapes[left], shapes[right]))
        smaller = min(shapely.area(shapes[left]), shapely.area(shapes[right]))
        if shared > ROUNDING * smaller:
            raise SamplingError(
                f"'{scene.name}' ({split}) and '{other_scene.name}' ({other_split}) share "
                f"{100 * shared / smaller:.3g} % of their ground; keep places that overlap in one "
                "split"
            )


def footprint_shape(geobox: GeoBox, crs: CRS | None) -> Any:
    """Polygon of a grid in a CRS; in the units of the grid if either has none."""
    return project(geobox.extent.geom, geobox.crs, crs, n_steps=32)


def project(shape: Any, source: CRS | None, target: CRS | None, *, n_steps: int = 256) -> Any:
    """A shape in another CRS; as it is if either has none.

    An edge that is straight in one CRS is a curve in another, so edges are cut into steps of the
    longer side of the shape's box over `n_steps`.
    """
    if source is None or target is None or source == target:
        return shape
    left, bottom, right, top = shape.bounds
    dense = shapely.segmentize(shape, max(right - left, top - bottom) / n_steps)
    transformer = Transformer.from_crs(source.proj, target.proj, always_xy=True)
    return shapely.transform(dense, transformer.transform, interleaved=False)


class Regions:
    """Ground of each split, disjoint.

    Attributes:
        shapes: Shape of each split's ground.
        crs: What the shapes are in; None for the units of scenes without a CRS.
    """

    def __init__(self, shapes: Mapping[str, Any], crs: Any) -> None:
        """Take shapes as they are.

        Raises:
            SamplingError: If two of them overlap, or one is empty.
        """
        self.shapes = dict(shapes)
        self.crs = None if crs is None else CRS(crs)
        self._projected: dict[tuple[str, CRS], Any] = {}
        names = list(self.shapes)
        for i, name in enumerate(names):
            if self.shapes[name].is_empty:
                raise SamplingError(
                    f"split '{name}' has no ground left; make its area larger or gap_m smaller"
                )
            for other in names[:i]:
                shared = self.shapes[name].intersection(self.shapes[other]).area
                if shared > ROUNDING * min(self.shapes[name].area, self.shapes[other].area):
                    raise SamplingError(
                        f"the polygons of the splits '{other}' and '{name}' overlap; "
                        "every piece of ground may be in one split only"
                    )

    def placements(self, split: str, geobox: GeoBox, size: tuple[int, int]) -> Placements:
        """Positions of windows of a scene that lie in a split with every pixel."""
        return masked_placements(self.strips(split, geobox), size)

    def contains(self, split: str, geobox: GeoBox) -> bool:
        """Whether every pixel of a grid lies in a split."""
        return all(bool(strip.all()) for strip in self.strips(split, geobox))

    def strips(self, split: str, geobox: GeoBox) -> Iterator[npt.NDArray[np.bool_]]:
        """A grid from top to bottom, True where the middle of a pixel lies in a split."""
        from rasterio.features import rasterize

        label = 1 + list(self.shapes).index(split)
        shapes = [(self.shape_in(name, geobox.crs), i + 1) for i, name in enumerate(self.shapes)]
        height, width = geobox.shape
        for row in range(0, height, STRIP):
            strip = window_geobox(geobox, Window(0, row, width, min(STRIP, height - row)))
            # All splits are burnt into one array, so that no pixel can fall to two of them.
            labels = rasterize(shapes, out_shape=strip.shape, transform=strip.affine, dtype="uint8")
            yield labels == label

    def shape_in(self, split: str, crs: CRS | None) -> Any:
        """Shape of a split's ground in a CRS; as it is if either has none."""
        if self.crs is None or crs is None or crs == self.crs:
            return self.shapes[split]
        if (split, crs) not in self._projected:
            self._projected[split, crs] = project(self.shapes[split], self.crs, crs)
        return self._projected[split, crs]


def scene_placements(
    geobox: GeoBox, size: tuple[int, int], *, regions: Regions | None, split: str
) -> Placements:
    """Positions of windows in a scene, or in the part of it that is a split's."""
    if regions is None:
        return whole_placements((geobox.shape[0], geobox.shape[1]), size)
    return regions.placements(split, geobox, size)


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
        found = [column for column in frame.columns if column != frame.geometry.name]
        raise SamplingError(
            f"{path} has no column '{attribute}'{nearest(attribute, found)}; it has "
            f"{', '.join(found) or 'none'}"
        )
    return _regions(frame, frame[attribute].astype(str), gap_m=gap_m)


def block_regions(
    geoboxes: Sequence[GeoBox],
    *,
    block_m: float,
    shares: Mapping[str, float],
    seed: int = 0,
    gap_m: float = 0.0,
) -> Regions:
    """Splits dealt out by square blocks of ground.

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
    crs = _metric_crs(geoboxes)
    shapes = shapely.union_all([footprint_shape(geobox, crs) for geobox in geoboxes])
    left, bottom, right, top = (edge / block_m for edge in shapes.bounds)
    # Blocks are counted from the origin of the CRS: more scenes do not move them.
    cells = [
        (row, col)
        for row in range(math.floor(bottom), math.ceil(top))
        for col in range(math.floor(left), math.ceil(right))
    ]
    blocks = [
        shapely.box(col * block_m, row * block_m, (col + 1) * block_m, (row + 1) * block_m)
        for row, col in cells
    ]
    shapely.prepare(shapes)
    used = [i for i, block in enumerate(blocks) if shapes.intersects(block)]
    if len(used) < len(shares):
        raise SamplingError(
            f"{len(used)} blocks of {block_m:g} m for {len(shares)} splits; make block_m smaller"
        )
    used.sort(key=lambda i: philox(seed, cells[i][0], cells[i][1]))
    owners = _dealt(len(used), shares)
    frame = gpd.GeoDataFrame(geometry=[blocks[i] for i in used], crs=crs.proj)
    return _regions(frame, owners, gap_m=gap_m)


def _dealt(n_blocks: int, shares: Mapping[str, float]) -> list[str]:
    """Name of the split of each block: every split has one, the rest as the shares say."""
    total = sum(shares.values())
    owned = dict.fromkeys(shares, 1)
    for _ in range(n_blocks - len(shares)):
        behind = min(shares, key=lambda name: owned[name] / (shares[name] / total))
        owned[behind] += 1
    return [name for name, count in owned.items() for _ in range(count)]


def _metric_crs(geoboxes: Sequence[GeoBox]) -> CRS:
    """The scenes' own CRS if they share one in metres, else the UTM zone in their middle."""
    found = {geobox.crs for geobox in geoboxes}
    if len(found) == 1:
        crs = found.pop()
        if crs is not None and crs.projected and crs.proj.axis_info[0].unit_conversion_factor == 1:
            return crs
    import geopandas as gpd

    lonlat = [footprint_shape(geobox, CRS("EPSG:4326")) for geobox in geoboxes]
    return CRS(gpd.GeoSeries(lonlat, crs="EPSG:4326").estimate_utm_crs())


def _regions(frame: gpd.GeoDataFrame, owners: Any, *, gap_m: float) -> Regions:
    if gap_m and frame.crs is not None and not frame.crs.is_projected:
        frame = frame.to_crs(frame.estimate_utm_crs())
    joined = frame.geometry.groupby(list(owners)).agg(shapely.union_all)
    shapes = {
        str(name): shapely.buffer(shape, -gap_m / 2, join_style="mitre") if gap_m else shape
        for name, shape in joined.items()
    }
    return Regions(shapes, frame.crs)
