"""From a photograph to a class raster on disk, window by window."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rasterio
from rasterio.enums import Resampling
from rasterio.windows import Window as RasterioWindow

from geotrans import __version__
from geotrans.errors import OutputError
from geotrans.grid import Window, bbox_window, window_geobox
from geotrans.labelling.recipe import Recipe
from geotrans.labelling.scene import LabelScene
from geotrans.maps.style import BLANK
from geotrans.output import check_output, iter_windows, write_whole_raster
from geotrans.runtime.progress import Progress, show_nothing
from geotrans.scene.base import Scene
from geotrans.scene.open import open_scene
from geotrans.scene.views.classes import CLASSES_TAG, write_category_names

if TYPE_CHECKING:
    import xarray as xr

_BLOCK = 512
# GDAL's own cache would take a twentieth of the machine.
_CACHE_MB = 64


def label(
    scene: str | os.PathLike[str] | xr.DataArray | Scene,
    out: str | os.PathLike[str],
    *,
    recipe: str | os.PathLike[str] | Mapping[str, Any] | Recipe = "landcover",
    bands: Mapping[str, int | str] | None = None,
    vectors: str | os.PathLike[str] | None = None,
    bbox: tuple[float, float, float, float] | None = None,
    any_gsd: bool = False,
    any_values: bool = False,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Path:
    """Classify the pixels of a photograph.

    The file is a tiled GeoTIFF of one band with colour table, class names, overviews, and 255 where
    the photograph is invalid.

    Args:
        scene: Path, URL, `DataArray` or open scene.
        out: File to write; it appears complete or not at all.
        recipe: Name of a shipped recipe, a YAML file, or the mapping such a file holds.
        bands: Position or description of a band of the scene, by its name in the recipe.
        vectors: Vector file of classes painted over the others, such as roads.
        bbox: `xmin, ymin, xmax, ymax` of the part to label, lon-lat degrees.
        any_gsd: Accept pixels of a size the recipe is not meant for.
        any_values: Accept values the recipe is not meant for.
        overwrite: Whether an existing file may be replaced.
        progress: Reports progress.

    Returns:
        The file.

    Raises:
        BandError: If the scene lacks a band.
        ConfigError: If the recipe cannot be read, or needs a layer or field the vectors lack.
        DomainError: If pixels or values are not those the recipe is meant for.
        SceneError: If scene or vectors are missing, damaged or without CRS.
        OutputError: If the file cannot be written.
    """
    path = check_output(
        Path(out), overwrite=overwrite, inputs=(scene, vectors), what="class raster"
    )
    labels = LabelScene(
        open_scene(scene), recipe, bands=bands, vectors=vectors,
        any_gsd=any_gsd, any_values=any_values,
    )  # fmt: skip
    area = Window.whole(labels.shape) if bbox is None else bbox_window(labels.geobox, bbox)
    progress = progress or show_nothing
    n_px = area.width * area.height
    with progress("labelling", n_px) as advance, write_whole_raster(path) as partial:
        _write(labels, area, partial, advance=advance)
    write_category_names(path, [map_class.name for map_class in labels.classes])
    return path


def _write(labels: LabelScene, area: Window, path: Path, *, advance: Callable[[int], None]) -> None:
    geobox = window_geobox(labels.geobox, area)
    profile: dict[str, Any] = {
        "driver": "GTiff", "dtype": "uint8", "count": 1, "height": area.height,
        "width": area.width, "crs": labels.crs_wkt, "nodata": BLANK,
        "tiled": True, "blockxsize": _BLOCK, "blockysize": _BLOCK, "compress": "deflate",
        "photometric": "PALETTE", "bigtiff": "IF_SAFER",
    }  # fmt: skip
    if not geobox.affine.is_identity:
        profile["transform"] = geobox.affine
    n_blocks = max(area.width, area.height) // _BLOCK
    with rasterio.Env(GDAL_CACHEMAX=_CACHE_MB), rasterio.open(path, "w", **profile) as file:
        file.write_colormap(1, dict(labels.colormap or {}))
        file.set_band_description(1, "class")
        file.update_tags(
            GEOTRANS_VERSION=__version__,
            GEOTRANS_RECIPE=labels.recipe.name,
            GEOTRANS_SOURCE=labels.public_uri,
            **{CLASSES_TAG: json.dumps([map_class.name for map_class in labels.classes])},
        )
        checksums = []
        for window in iter_windows(area.height, area.width):
            classes = labels.read(window.shifted(rows=area.row_off, cols=area.col_off)).data
            file_window = RasterioWindow(
                window.col_off, window.row_off, window.width, window.height
            )
            file.write(classes, window=file_window)
            checksums.append((file_window, int(classes.sum(dtype="int64"))))
            advance(window.width * window.height)
    with rasterio.Env(GDAL_CACHEMAX=_CACHE_MB), rasterio.open(path, "r+") as file:
        for file_window, expected in checksums:  # GDAL does not report errors on closing.
            if int(file.read(window=file_window).sum(dtype="int64")) != expected:
                raise OutputError(f"{path.parent} does not keep what is written to it")
        factors = [2**i for i in range(1, n_blocks.bit_length() + 1)] if n_blocks else []
        if factors:
            file.build_overviews(factors, Resampling.mode)
