"""A scene that was cut into tiles, and the plan to join them again.

`plan.json` describes it completely; beside it are one file per tile, `plan.parquet` with
their outlines, and `valid.gtiff` with the valid pixels, where some are not.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from affine import Affine
from odc.geo.geobox import GeoBox
from pydantic import BaseModel, ConfigDict, ValidationError

from geotrans.errors import SceneError
from geotrans.grid import Tile, TilePlan, Window, make_geobox, window_geobox
from geotrans.mosaicking.placement import PlacedRaster
from geotrans.mosaicking.sources import Source, list_some

PLAN, PARQUET, VALID = "plan.json", "plan.parquet", "valid.gtiff"

# Where a tile's name stands in the name of a file that other software made of it.
_NAME_PATTERN = re.compile(r"(?<![A-Za-z0-9])r\d{5,}_c\d{5,}(?!\d)")


_Rectangle = tuple[int, int, int, int]


class TileCell(BaseModel):
    """A tile's pixels in the scene, as `col_off, row_off, width, height`.

    Attributes:
        core: Pixels of its core.
        window: Pixels its file holds.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    core: _Rectangle
    window: _Rectangle


class TileSet(BaseModel):
    """What `plan.json` holds.

    Attributes:
        format: What kind of file it is.
        geotrans: Version that wrote it.
        source: The scene that was cut.
        source_identity: Identity of its pixels.
        synthetic: Whether its tags said that a network made it.
        crs: Its CRS, WKT.
        transform: Its pixel-to-CRS transform, `a, b, c, d, e, f`.
        shape: Its `(height, width)`, px.
        dtype: Type of its values.
        nodata: Value of its invalid pixels.
        n_bands: Its bands.
        padded: Whether windows reach beyond the scene, where it was mirrored.
        valid: File with its valid pixels, if some are not.
        empty: Names of tiles without a valid pixel, which were not written.
        tiles: The tiles by name.
        plan: The plan that these follow from.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal["geotrans tiles 1"] = "geotrans tiles 1"
    geotrans: str
    source: str
    source_identity: str
    synthetic: bool
    crs: str | None
    transform: tuple[float, float, float, float, float, float]
    shape: tuple[int, int]
    dtype: str
    nodata: float | None
    n_bands: int
    padded: bool
    valid: str | None = None
    empty: tuple[str, ...] = ()
    tiles: dict[str, TileCell]
    plan: dict[str, Any]

    @cached_property
    def tile_plan(self) -> TilePlan:
        """The plan the scene was cut by."""
        return TilePlan.from_json(json.dumps(self.plan))

    @cached_property
    def geobox(self) -> GeoBox:
        """The grid of the scene."""
        return make_geobox(self.shape, Affine(*self.transform), self.crs)

    def cells(self) -> Iterator[tuple[str, Window, Window]]:
        """Name, core and window of each tile."""
        for name, cell in self.tiles.items():
            yield name, Window(*cell.core), Window(*cell.window)

    def make_grid(self, scale: int) -> GeoBox:
        """The grid of the joined tiles, with `scale` px for each of the scene's."""
        area = window_geobox(self.geobox, self.tile_plan.area)
        height, width = area.shape
        finer = area.affine @ Affine.scale(1 / scale) if scale > 1 else area.affine
        return make_geobox((height * scale, width * scale), finer, area.crs)


def tile_name(tile: Tile) -> str:
    """Name of a tile's file, without suffix."""
    return f"r{tile.row:05d}_c{tile.col:05d}"


def tile_window(tile: Tile, shape: tuple[int, int], *, padded: bool) -> Window:
    """Pixels the file of a tile holds; beyond a scene of `shape` only if they are padded."""
    return tile.read if padded else tile.read.intersection(Window.whole(shape))


def load_tileset(path: Path) -> TileSet:
    """Read a `plan.json`.

    Raises:
        SceneError: If it is missing, damaged or something else.
    """
    path = path / PLAN if path.is_dir() else path
    try:
        return TileSet.model_validate_json(path.read_bytes())
    except OSError as error:
        raise SceneError(f"{path} cannot be read: {error.strerror}") from error
    except ValidationError as error:
        first = error.errors()[0]
        location = ".".join(str(word) for word in first["loc"]) or "the whole"
        raise SceneError(
            f"{path} is no plan of 'geotrans tile' ({location}: {first['msg']}); give its plan.json"
        ) from error


def match_names(tileset: TileSet, paths: Sequence[str]) -> dict[str, str]:
    """Files by the name of their tile, which may be anywhere in the name of the file.

    Raises:
        SceneError: If a tile is missing or duplicated, or a file is no tile.
    """
    paths_by_name: dict[str, list[str]] = {}
    unknown = []
    for path in paths:
        names = [name for name in _NAME_PATTERN.findall(Path(path).stem) if name in tileset.tiles]
        if len(set(names)) == 1:
            paths_by_name.setdefault(names[0], []).append(path)
        else:
            unknown.append(path)
    if unknown:
        raise SceneError(
            f"{len(unknown)} of {len(paths)} files are no tile of the plan: {list_some(unknown)}; "
            "a tile's name, such as r00000_c00001, must stand in the name of its file"
        )
    duplicates = [
        f"{name} ({', '.join(paths_of_tile)})"
        for name, paths_of_tile in paths_by_name.items()
        if len(paths_of_tile) > 1
    ]
    if duplicates:
        raise SceneError(
            f"{len(duplicates)} tiles of the plan are there more than once: "
            f"{list_some(duplicates)}; give one file of each"
        )
    expected = [name for name in tileset.tiles if name not in tileset.empty]
    missing = [name for name in expected if name not in paths_by_name]
    if missing:
        raise SceneError(
            f"{len(missing)} of the {len(expected)} tiles of the plan are missing: "
            f"{list_some(missing)}; give all of them"
        )
    return {name: paths_of_tile[0] for name, paths_of_tile in paths_by_name.items()}


def place_tiles(
    tileset: TileSet, sources: Mapping[str, Source]
) -> tuple[int, tuple[PlacedRaster, ...]]:
    """Place the core of each tile by the plan, whatever the georeference of its file.

    Args:
        tileset: The plan.
        sources: The files by the name of their tile.

    Returns:
        Px of a tile for each of the scene's, and the places.

    Raises:
        SceneError: If the files are not all scaled by the same factor.
    """
    scales: dict[float, list[str]] = {}
    for name, _, window in tileset.cells():
        if name in sources:
            height, width = sources[name].geobox.shape
            ratio = width / window.width if height * window.width == width * window.height else -1
            scales.setdefault(ratio, []).append(sources[name].path)
    (scale, _), *others = sorted(scales.items(), key=lambda group: -len(group[1]))
    if others or scale < 1 or not math.isclose(scale, round(scale)):
        wrong = [path for ratio, paths in others for path in paths] or list(scales[scale])
        raise SceneError(
            f"{len(wrong)} of {len(sources)} tiles have another size than the plan says: "
            f"{list_some(wrong)}; tiles must keep their size, or all grow by one whole factor"
        )
    factor, area = round(scale), tileset.tile_plan.area
    return factor, tuple(
        PlacedRaster(
            sources[name].path,
            core.relative_to(area).scaled(factor),
            ((core.col_off - window.col_off) * factor, (core.row_off - window.row_off) * factor),
        )
        for name, core, window in tileset.cells()
        if name in sources
    )
