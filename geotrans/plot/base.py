"""What every figure needs: its source opened, and axes to draw on."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from geotrans.errors import ExtraError
from geotrans.grid import Window
from geotrans.scene import Scene, open_scene

if TYPE_CHECKING:
    import xarray as xr

    Source = str | os.PathLike[str] | xr.DataArray | xr.Dataset | Scene


# Width of one picture in a figure made here, inch.
_INCHES = 4.0


def open_source(source: Source) -> Scene:
    """A scene of whatever a figure is drawn of."""
    from geotrans.accessor.datasets import as_scene

    # Whoever has an array has imported xarray.
    return open_scene(source) if isinstance(source, str | os.PathLike | Scene) else as_scene(source)


def import_pyplot() -> Any:
    """The pyplot of matplotlib.

    Raises:
        ExtraError: If matplotlib is not installed.
    """
    try:
        from matplotlib import pyplot
    except ImportError as error:
        raise ExtraError(
            "geotrans.plot draws with matplotlib, which is not installed; "
            'pip install "geotrans[notebook]"'
        ) from error
    return pyplot


def new_axes(n: int, *, inches: float = _INCHES) -> npt.NDArray[Any]:
    """New axes side by side."""
    pyplot = import_pyplot()
    size = n * inches + 0.6, inches
    _, axes = pyplot.subplots(1, n, figsize=size, layout="constrained", squeeze=False)
    row: npt.NDArray[Any] = axes[0]
    return row


def window_corners(opened: Scene | None, window: Window) -> list[tuple[float, float]]:
    """Corners of a window in the CRS of a scene; in px without one."""
    points = [
        (float(col), float(row))
        for col, row in (
            (window.col_off, window.row_off), (window.col_end, window.row_off),
            (window.col_end, window.row_end), (window.col_off, window.row_end),
        )
    ]  # fmt: skip
    return points if opened is None else [opened.geobox.affine @ point for point in points]
