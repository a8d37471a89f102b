"""Cutting a scene into tiles for other software, with a plan to join them again."""

from __future__ import annotations

import json
import logging
import os
import shutil
import uuid
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import rasterio
from rasterio.windows import Window as RasterioWindow

from geotrans import __version__
from geotrans.errors import GeotransError, OutputError, SceneError, option
from geotrans.grid import (
    TilePlan,
    Window,
    bbox_window,
    ground_anchor,
    plan_tiles,
    window_geobox,
)
from geotrans.mosaicking.tile_files import (
    Format,
    can_write_parquet,
    check_format,
    write_parquet,
    write_tile,
)
from geotrans.mosaicking.tileset import (
    PARQUET,
    PLAN,
    VALID,
    TileCell,
    TileSet,
    tile_name,
    tile_window,
)
from geotrans.runtime.gdal import quiet_gdal
from geotrans.runtime.progress import Progress, show_nothing
from geotrans.scene import Scene, open_scene
from geotrans.scene.padding import read_mirrored
from geotrans.tasks import Bundle, open_bundle
from geotrans.translation.budget import default_tile

if TYPE_CHECKING:
    import xarray as xr

_log = logging.getLogger(__name__)

# Largest core edge unless a task knows better, px.
TILE_PX = 512


@dataclass(frozen=True)
class Cut:
    """A scene that was cut.

    Attributes:
        path: The folder.
        plan: Its `plan.json`.
        n_tiles: Files that were written.
        n_empty: Tiles without a valid pixel, which were not written.
        has_parquet: Whether the plan was also written as GeoParquet.
    """

    path: Path
    plan: Path
    n_tiles: int
    n_empty: int
    has_parquet: bool

    def to_dict(self) -> dict[str, Any]:
        """The same, for JSON."""
        return {k: str(v) if isinstance(v, Path) else v for k, v in asdict(self).items()}


def cut_tiles(
    scene: str | os.PathLike[str] | xr.DataArray | Scene,
    *,
    out: str | os.PathLike[str],
    tile: int | None = None,
    halo: int | None = None,
    align: int | None = None,
    task: str | os.PathLike[str] | Bundle | None = None,
    bbox: tuple[float, float, float, float] | None = None,
    format_: Format = "tif",
    pad: bool = False,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Cut:
    """Cut a scene into tiles for other software; `mosaic(plan=...)` joins them again.

    Args:
        scene: Path, URL, `sample:NAME`, `DataArray` or open scene.
        out: Folder to make.
        tile: Largest core edge of a tile, px; 512 unless given, or what suits the task.
        halo: Context around each core, px; 0 unless given, or what the task's network sees.
        align: Stride on which windows start, px; 1 unless given, or that of the task's network.
        task: Task or bundle whose network the tiles are for; they are then padded.
        bbox: `xmin, ymin, xmax, ymax` of the part to cut, lon-lat degrees.
        format_: `"tif"`, or `"png"` with a world file.
        pad: Mirror the scene at its edge, so that all tiles have one size, a multiple of `align`;
            otherwise they end where it ends.
        overwrite: Replace existing tiles.
        progress: Reports progress.

    Returns:
        What was written.

    Raises:
        GeotransError: One of its kinds, for everything that can be wrong with these arguments, the
            scene, the bundle or the folder.

    Examples:
        >>> import geotrans
        >>> cut = geotrans.cut_tiles("sample:town", out="tiles", tile=512, halo=32)
        >>> cut.n_tiles
        6
        >>> town = geotrans.mosaic("tiles", out="town.tif", plan=cut.plan)
        >>> town.shape
        (900, 1200)
    """
    progress = progress or show_nothing
    folder = Path(out).expanduser()
    with quiet_gdal():
        source = open_scene(scene)
        check_format(source, format_)
        plan, pad = _make_plan(source, task, tile=tile, halo=halo, align=align, bbox=bbox, pad=pad)
        _check_free(folder, overwrite=overwrite)
        run = uuid.uuid4().hex[:8]
        part, old = (folder.with_name(f".{folder.name}.{run}.{end}") for end in ("part", "old"))
        try:
            part.mkdir()
            tileset = _write_tiles(source, plan, part, kind=format_, padded=pad, progress=progress)
            if has_parquet := can_write_parquet():
                write_parquet(tileset, part / PARQUET)
            else:
                _log.warning(
                    "%s is not written: it needs pyarrow; pip install 'geotrans[archive]'", PARQUET
                )
            (part / PLAN).write_text(tileset.model_dump_json(indent=1) + "\n", encoding="utf-8")
            if folder.exists():
                folder.rename(old)
            part.rename(folder)
        except GeotransError:
            raise
        except OSError as error:
            raise OutputError(f"{folder} cannot be written: {error}") from error
        finally:
            shutil.rmtree(part, ignore_errors=True)
            shutil.rmtree(old, ignore_errors=True)
    n_empty = len(tileset.empty)
    return Cut(folder, folder / PLAN, len(tileset.tiles) - n_empty, n_empty, has_parquet)


def _make_plan(
    scene: Scene,
    task: str | os.PathLike[str] | Bundle | None,
    *,
    tile: int | None,
    halo: int | None,
    align: int | None,
    bbox: tuple[float, float, float, float] | None,
    pad: bool,
) -> tuple[TilePlan, bool]:
    """The tiles, and whether they reach beyond the scene."""
    if task is None:
        sizes = {"tile": TILE_PX, "halo": 0, "align": 1}
    else:
        spec = open_bundle(task).spec
        sizes = {"tile": default_tile(spec), "halo": spec.halo, "align": spec.align}
    requested = {"tile": tile, "halo": halo, "align": align}
    sizes |= {name: value for name, value in requested.items() if value is not None}
    area = None if bbox is None else bbox_window(scene.geobox, bbox)
    plan = plan_tiles(scene.shape, **sizes, area=area, anchor=ground_anchor(scene.geobox))
    return plan, pad or task is not None


def _check_free(folder: Path, *, overwrite: bool) -> None:
    if not folder.parent.is_dir():
        raise OutputError(f"output directory {folder.parent} does not exist; make it first")
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    if not (folder / PLAN).is_file():
        raise OutputError(f"{folder} exists and holds no tiles; give another folder")
    if not overwrite:
        raise OutputError(
            f"{folder} already holds tiles; replace them with {option('overwrite', True)}"
        )


def _write_tiles(
    scene: Scene,
    plan: TilePlan,
    folder: Path,
    *,
    kind: Format,
    padded: bool,
    progress: Progress,
) -> TileSet:
    """Write the tiles and their valid pixels; returns the plan that describes them."""
    tiles: dict[str, TileCell] = {}
    empty, is_whole = [], True
    area = plan.area
    with (
        rasterio.open(
            folder / VALID, "w", driver="GTiff", height=area.height, width=area.width, count=1,
            dtype="uint8", compress="deflate", nbits=1, tiled=True, crs=scene.crs_wkt,
            transform=window_geobox(scene.geobox, area).affine,
        ) as mask,
        progress("cutting", area.height * area.width) as advance,
    ):  # fmt: skip
        for tile in plan:
            name, window = tile_name(tile), tile_window(tile, scene.shape, padded=padded)
            patch = read_mirrored(scene, window)
            valid = patch.valid[tile.core.relative_to(window).slices]
            core = tile.core.relative_to(area)
            mask.write(
                valid.astype(np.uint8),
                1,
                window=RasterioWindow(core.col_off, core.row_off, core.width, core.height),
            )
            is_whole &= bool(valid.all())
            tiles[name] = TileCell(core=_as_tuple(tile.core), window=_as_tuple(window))
            if valid.any():
                grid = window_geobox(scene.geobox, window)
                write_tile(folder / f"{name}.{kind}", scene, patch, grid, kind)
            else:
                empty.append(name)
            advance(tile.core.width * tile.core.height)
    if len(empty) == len(plan):
        raise SceneError(f"{scene.name} holds no valid pixel there; nothing to cut")
    if is_whole:
        (folder / VALID).unlink()
    return TileSet(
        geotrans=__version__,
        source=scene.public_uri,
        source_identity=str(scene.identity),
        synthetic=scene.tags.get("GEOTRANS_SYNTHETIC") == "YES",
        crs=scene.crs_wkt,
        transform=tuple(scene.geobox.affine)[:6],
        shape=scene.shape,
        dtype=str(scene.dtype),
        nodata=scene.nodata,
        n_bands=len(scene.bands),
        padded=padded,
        valid=None if is_whole else VALID,
        empty=tuple(empty),
        tiles=tiles,
        plan=json.loads(plan.to_json()),
    )


def _as_tuple(window: Window) -> tuple[int, int, int, int]:
    return window.col_off, window.row_off, window.width, window.height
