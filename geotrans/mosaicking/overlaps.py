"""Reading the overlaps of a mosaic: statistics for the balance, and seams."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from geotrans.errors import OutputError
from geotrans.grid import Window
from geotrans.mosaicking.balance import Overlaps
from geotrans.mosaicking.seams import Seam, find_seam, save_seam, seam_path

if TYPE_CHECKING:
    from geotrans.mosaicking.scene import MosaicScene


# Longer edge at which an overlap is looked at, and the fewest pixels that say something, px.
_OVERVIEW_PX = 256


_MIN_SHARED_PX = 32


def measure_overlaps(
    scene: MosaicScene, *, advance: Callable[[int], None] | None = None
) -> Overlaps:
    """Measure every overlap of a mosaic, decimated.

    Args:
        scene: The mosaic.
        advance: Called with 1 for each tile.
    """
    tiles, weights, means, spreads = [], [], [], []
    for number, tile in enumerate(scene.placed):
        for other in scene.find_tiles_in(tile.window):
            if other <= number:
                continue
            window = tile.window.intersection(scene.placed[other].window)
            factor = max(1.0, max(window.shape) / _OVERVIEW_PX)
            shape = max(1, round(window.height / factor)), max(1, round(window.width / factor))
            pair = [
                scene.read_tile(i, window, scene.bands, out_shape=shape) for i in (number, other)
            ]
            both = pair[0].valid & pair[1].valid
            if both.sum() < _MIN_SHARED_PX:
                continue
            values = [patch.data[:, both].astype(np.float64) for patch in pair]
            tiles.append((number, other))
            weights.append(float(both.mean()) * window.height * window.width)
            means.append([v.mean(axis=1) for v in values])
            spreads.append([v.std(axis=1) for v in values])
        if advance:
            advance(1)
    n_bands = len(scene.bands)
    return Overlaps(
        np.array(tiles, np.intp).reshape(-1, 2),
        np.array(weights, np.float64),
        np.array(means, np.float64).reshape(-1, 2, n_bands),
        np.array(spreads, np.float64).reshape(-1, 2, n_bands),
    )


# Larger overlaps are looked at in cells of several pixels, so that memory stays bounded.
_MAX_CELLS = 4 * 2**20


def draw_seams(
    scene: MosaicScene, folder: Path, *, advance: Callable[[int], None] | None = None
) -> None:
    """Decide for every tile, in their order, where it covers those before it.

    Args:
        scene: The mosaic; it reads along the seams from then on.
        folder: Folder of the seams; existing ones are not computed again.
        advance: Called with 1 for each tile.

    Raises:
        OutputError: If the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        scene.seams = folder
        for number in range(len(scene.placed)):
            if not seam_path(folder, number).exists():
                save_seam(_compute_seam(scene, number), seam_path(folder, number))
            if advance:
                advance(1)
    except OSError as error:
        if isinstance(error, OutputError) or error.filename is None:
            raise
        raise OutputError(f"{folder} cannot be written: {error.strerror}") from error


def _compute_seam(scene: MosaicScene, number: int) -> Seam | None:
    tile_window = scene.placed[number].window
    below = [i for i in scene.find_tiles_in(tile_window) if i < number]
    if not below:
        return None
    shared = [scene.placed[i].window.intersection(tile_window) for i in below]
    left, top = min(w.col_off for w in shared), min(w.row_off for w in shared)
    right, bottom = max(w.col_end for w in shared), max(w.row_end for w in shared)
    window = Window(left, top, right - left, bottom - top)
    cell = int(np.ceil(np.sqrt(window.height * window.width / _MAX_CELLS)))
    # Grown into the pixels where only one of both is valid.
    window = window.grown(cell).intersection(Window.whole(scene.shape))
    shape = (-(-window.height // cell), -(-window.width // cell))
    upper = scene.paint(window, shape, [number])
    lower = scene.paint(window, shape, [i for i in scene.find_tiles_in(window) if i < number])
    return Seam(window, find_seam(lower, upper, of_classes=scene.colormap is not None))
