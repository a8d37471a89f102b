"""What lies over a figure: graticule, scale bar, legend."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from geotrans.plot.base import open_source
from geotrans.scene import Scene
from geotrans.tasks import PaletteClass

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from geotrans.plot.base import Source


def add_graticule(source: Source, ax: Axes) -> Axes:
    """Draw lines of equal coordinates in a scene's CRS, with their values at the edge.

    Args:
        source: The scene that is drawn there.
        ax: Where it is drawn.
    """
    return label_axes(open_source(source).geobox.crs, ax)


def add_scale_bar(source: Source, ax: Axes) -> Axes:
    """Draw a bar of a round number of metres, true on the ground in the middle of the scene.

    Args:
        source: The scene that is drawn there; nothing is drawn if it has no CRS.
        ax: Where it is drawn.
    """
    opened = open_source(source)
    low, high = sorted(ax.get_xlim())
    ground_m = _ground_width_m(opened, low, high, sum(ax.get_ylim()) / 2)
    if ground_m is None:
        return ax
    bar_m = _round_below(ground_m / 4)
    share = bar_m / ground_m
    style: dict[str, Any] = {"transform": ax.transAxes, "clip_on": False, "zorder": 10}
    for color, width in (("white", 6), ("black", 3)):
        ax.plot([0.05, 0.05 + share], [0.06, 0.06], color=color, linewidth=width,
                solid_capstyle="butt", **style)  # fmt: skip
    label = f"{bar_m / 1000:g} km" if bar_m >= 1000 else f"{bar_m:g} m"
    box = {"facecolor": "white", "alpha": 0.7, "edgecolor": "none", "pad": 1.5}
    ax.text(0.05 + share / 2, 0.085, label, ha="center", va="bottom", fontsize="small", bbox=box,
            **style)  # fmt: skip
    return ax


def add_legend(classes: Sequence[PaletteClass], ax: Axes) -> Axes:
    """Name the classes of a map below the figure that it is drawn in.

    Args:
        classes: Such as a style's `classes`, or a task's `palette`.
        ax: Where the map is drawn.
    """
    from matplotlib.patches import Patch as Swatch

    swatches = [Swatch(color="#" + bytes(item.color).hex(), label=item.name) for item in classes]
    ax.figure.legend(
        handles=swatches, loc="outside lower center", ncols=min(len(swatches), 9), fontsize="small"
    )
    return ax


def label_axes(crs: Any, ax: Axes, *, color: str = "white") -> Axes:
    """Round coordinates along the edges and thin lines between them."""
    from matplotlib.ticker import MaxNLocator, ScalarFormatter

    is_geographic = crs is not None and (
        crs.geographic if hasattr(crs, "geographic") else crs.is_geographic
    )
    unit = "°" if is_geographic else "m"
    for axis, name in ((ax.xaxis, "longitude" if is_geographic else "easting"),
                       (ax.yaxis, "latitude" if is_geographic else "northing")):  # fmt: skip
        axis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
        formatter = ScalarFormatter(useOffset=False)
        formatter.set_scientific(False)
        axis.set_major_formatter(formatter)
        axis.set_label_text(f"{name}, {unit}" if crs is not None else "px")
    ax.tick_params(labelsize="small")
    for label in ax.get_xticklabels():
        label.set(rotation=25, ha="right")
    ax.grid(color=color, alpha=0.45, linewidth=0.6)
    return ax


def _ground_width_m(opened: Scene, low: float, high: float, y: float) -> float | None:
    """Distance on the ground between two x at one y of a scene's CRS, m."""
    crs = opened.geobox.crs
    if crs is None:
        return None
    from pyproj import Geod, Transformer

    to_lonlat = Transformer.from_crs(crs.proj, "EPSG:4326", always_xy=True)
    # Around a wide globe the shortest way is not along the row: measured in the middle.
    middle, part = (low + high) / 2, (high - low) / 100
    (lon0, lon1), (lat0, lat1) = to_lonlat.transform([middle - part, middle + part], [y, y])
    _, _, metres = Geod(ellps="WGS84").inv(lon0, lat0, lon1, lat1)
    return float(metres) * 50 if math.isfinite(metres) and metres > 0 else None


def _round_below(value: float) -> float:
    """The largest of 1, 2 and 5 times a power of ten that is no larger."""
    power = 10.0 ** math.floor(math.log10(value))
    return max(step * power for step in (1, 2, 5) if step * power <= value * (1 + 1e-9))
