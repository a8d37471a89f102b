"""An array against the truth: both computed where they lie on the same ground, then scored."""

from __future__ import annotations

from itertools import accumulate

import dask
import xarray as xr

from geotrans.accessor.datasets import as_scene
from geotrans.errors import SceneError
from geotrans.evaluation import Evaluation
from geotrans.evaluation.pictures import evaluate_picture
from geotrans.evaluation.products import TileEdges
from geotrans.grid import Window, window_geobox
from geotrans.runtime.gdal import quiet_gdal
from geotrans.scene import Scene, pair
from geotrans.scene.array import get_array
from geotrans.scene.views.warped import WarpedScene, project_window


def evaluate_array(
    array: xr.DataArray | xr.Dataset,
    target: xr.DataArray | xr.Dataset,
    *,
    square: int,
    resampling: str,
    device: str,
) -> Evaluation:
    """What `array.geotrans.evaluate` does."""
    product, truth = as_scene(array), as_scene(target)
    matched = pair(product, truth, resampling=resampling)
    window, is_same_grid = matched.overlap, not isinstance(matched.source, WarpedScene)
    product_window = window if is_same_grid else _window_on_product(product, truth, window)
    edges = _lazy_tile_edges(product, window) if is_same_grid else None
    with quiet_gdal():
        parts = dask.compute(_crop(product, product_window), _crop(truth, window))
        product_part, truth_part = (as_scene(array) for array in parts)
        return evaluate_picture(
            product_part, truth_part, window=Window.whole(truth_part.shape), square=square,
            resampling=resampling, edges=edges, device=device,
        )  # fmt: skip


def _window_on_product(product: Scene, truth: Scene, window: Window) -> Window:
    """The part of a scene on another grid that a window of the truth may be made of."""
    window_in_product = project_window(truth.geobox, product.geobox, window)
    if window_in_product is None:
        raise SceneError(f"{product.name} and {truth.name} do not overlap on the common grid")
    # As far as the widest kernel reaches, 3 px of the coarser grid.
    margin = 4 + 3 * -(-max(window_in_product.shape) // min(window.shape))
    return window_in_product.grown(margin).intersection(Window.whole(product.shape))


def _crop(scene: Scene, window: Window) -> xr.DataArray:
    """A part of an array that knows where it lies, with or without coordinates."""
    rows, cols = window.slices
    part = get_array(scene)[:, rows, cols]
    georeferenced: xr.DataArray = part.rio.write_transform(
        window_geobox(scene.geobox, window).affine
    )
    return georeferenced


def _lazy_tile_edges(scene: Scene, window: Window) -> TileEdges | None:
    """First rows and columns of the tiles of a lazy product, px of the window."""
    array = get_array(scene)
    if array.chunks is None or "GEOTRANS_TASK" not in array.attrs:
        return None
    rows, cols = ([0, *accumulate(sizes)] for sizes in array.chunks[1:])
    return [row - window.row_off for row in rows], [col - window.col_off for col in cols]
