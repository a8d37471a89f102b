"""An array against the truth: both computed where they lie on the same ground, then scored."""

from __future__ import annotations

from itertools import accumulate

import dask
import xarray as xr

from geotrans.accessor.datasets import as_scene
from geotrans.errors import SceneError
from geotrans.evaluation import Evaluation
from geotrans.evaluation.pictures import evaluate_picture
from geotrans.evaluation.products import Edges
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
    made, true = as_scene(array), as_scene(target)
    both = pair(made, true, resampling=resampling)
    window, is_alike = both.overlap, not isinstance(both.source, WarpedScene)
    part = window if is_alike else _scene_on_truth(made, true, window)
    edges = _tile_edges(made, window) if is_alike else None
    with quiet_gdal():
        cut = dask.compute(_cut(made, part), _cut(true, window))
        product, truth = (as_scene(one) for one in cut)
        return evaluate_picture(
            product, truth, window=Window.whole(truth.shape), square=square,
            resampling=resampling, edges=edges, device=device,
        )  # fmt: skip


def _scene_on_truth(made: Scene, true: Scene, window: Window) -> Window:
    """The part of a scene on another grid that a window of the truth may be made of."""
    part = project_window(true.geobox, made.geobox, window)
    if part is None:
        raise SceneError(f"{made.name} and {true.name} do not overlap on the common grid")
    # As far as the widest kernel reaches, 3 px of the coarser grid.
    margin = 4 + 3 * -(-max(part.shape) // min(window.shape))
    return part.grown(margin).intersection(Window.whole(made.shape))


def _cut(scene: Scene, window: Window) -> xr.DataArray:
    """A part of an array that knows where it lies, with or without coordinates."""
    rows, cols = window.slices
    part = get_array(scene)[:, rows, cols]
    placed: xr.DataArray = part.rio.write_transform(window_geobox(scene.geobox, window).affine)
    return placed


def _tile_edges(scene: Scene, window: Window) -> Edges | None:
    """First rows and columns of the tiles of a lazy product, px of the window."""
    array = get_array(scene)
    if array.chunks is None or "GEOTRANS_TASK" not in array.attrs:
        return None
    rows, cols = ([0, *accumulate(sizes)] for sizes in array.chunks[1:])
    return [row - window.row_off for row in rows], [col - window.col_off for col in cols]
