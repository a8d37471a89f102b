"""Figures with matplotlib: scenes side by side, differences, histograms, plans and places.

Every function takes `ax=` and returns the axes it drew on. A scene is whatever
`geotrans.open_scene` takes, or a dataset: a path, an array, `sample:NAME`, an open scene.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from geotrans.errors import ExtraError, SceneError, UsageError
from geotrans.grid import TilePlan, Window
from geotrans.plot.base import import_pyplot, new_axes, open_source, window_corners
from geotrans.plot.decorate import add_scale_bar, label_axes
from geotrans.product.preview import choose_limits, read_display_bands, to_rgba
from geotrans.scene import Patch, Scene
from geotrans.tasks import Bundle, open_bundle

if TYPE_CHECKING:
    import geopandas as gpd
    from matplotlib.axes import Axes

    from geotrans.plot.base import Source


# Longer edge of a picture that is drawn, px; figures show no more.
_MAX_PX = 1200
_SPLIT_COLORS = {"train": "#1f6f8b", "val": "#b3541e", "test": "#5a7d2a"}


def scene(
    source: Source,
    *,
    ax: Axes | None = None,
    title: str = "",
    window: Window | None = None,
    graticule: bool = True,
    scale_bar: bool = True,
) -> Axes:
    """Draw a scene where it lies, in the coordinates of its CRS.

    Args:
        source: What to draw; other than 8 bit is stretched from its 2nd to its 98th percentile.
        ax: Where to draw it; a new figure unless given.
        title: Title of the axes.
        window: Which part of it, px; all unless given.
        graticule: Whether to draw lines of equal coordinates, with their values.
        scale_bar: Whether to draw a scale bar, where the CRS tells metres.

    Returns:
        The axes.
    """
    opened = open_source(source)
    patch = read_display_bands(opened, window=window, max_px=_MAX_PX)
    ax = new_axes(1)[0] if ax is None else ax
    _draw_patch(opened, patch, [patch], window, ax=ax)
    return _decorate(opened, ax, title=title, graticule=graticule, scale_bar=scale_bar)


def compare(
    *sources: Source,
    ax: Sequence[Axes] | None = None,
    titles: Sequence[str] = (),
    window: Window | None = None,
) -> npt.NDArray[Any]:
    """Draw scenes side by side, such as source, product and truth.

    Those of one type share a stretch, so that a difference in brightness is one in the data.

    Args:
        *sources: What to draw, from left to right.
        ax: One axes for each; a new figure unless given.
        titles: Titles of the axes.
        window: Which part of each, px of its own grid; all unless given.

    Returns:
        The axes, shape `(len(sources),)`.

    Raises:
        UsageError: If there are not as many axes as scenes.
    """
    opened = [open_source(source) for source in sources]
    patches = [read_display_bands(scene, window=window, max_px=_MAX_PX) for scene in opened]
    axes = new_axes(len(opened)) if ax is None else np.atleast_1d(np.asarray(ax, object)).ravel()
    if len(axes) != len(opened):
        raise UsageError(f"asked to draw {len(opened)} scenes on {len(axes)} axes; give one each")
    for i, (scene, patch, axis) in enumerate(zip(opened, patches, axes, strict=True)):
        _draw_patch(scene, patch, patches, window, ax=axis)
        title = titles[i] if i < len(titles) else ""
        _decorate(scene, axis, title=title, graticule=True, scale_bar=i == 0)
        if i:
            axis.set_ylabel("")
    return axes


def difference(
    product: Source, truth: Source, *, ax: Axes | None = None, band: str | None = None
) -> Axes:
    """Draw how much a product is above (red) or below (blue) the truth.

    Args:
        product: One scene.
        truth: The other, on the same grid.
        ax: Where to draw; a new figure unless given.
        band: Name of the band to compare; the mean over the bands that are shown unless given.

    Returns:
        The axes; a colour bar beside it has the unit of the stored values.

    Raises:
        SceneError: If the two differ in shape, or have no such band.
    """
    one, other = open_source(product), open_source(truth)
    if one.shape != other.shape:
        raise SceneError(
            f"{one.name} has {one.shape[1]} x {one.shape[0]} px and {other.name} has "
            f"{other.shape[1]} x {other.shape[0]}; bring them to one grid first"
        )
    product_patch, truth_patch = (_read_patch(opened, band) for opened in (one, other))
    valid = product_patch.valid & truth_patch.valid
    differences = product_patch.data.astype(np.float64).mean(0) - truth_patch.data.astype(
        np.float64
    ).mean(0)
    largest = float(np.percentile(np.abs(differences[valid]), 99)) if valid.any() else 1.0
    ax = new_axes(1)[0] if ax is None else ax
    image = _show_image(one, np.ma.array(differences, mask=~valid), None, ax=ax)
    image.set(cmap="RdBu_r", clim=(-largest or -1, largest or 1))
    bands_label = band or (
        "mean of bands" if len(product_patch.data) > 1 else one.bands[0].name or "band 1"
    )
    ax.figure.colorbar(image, ax=ax, shrink=0.8, label=f"{bands_label}, stored values")
    rms = float(np.sqrt(np.mean(differences[valid] ** 2))) if valid.any() else math.nan
    title = f"difference, RMS {rms:.3g}"
    return _decorate(one, ax, title=title, graticule=True, scale_bar=True)


def histograms(
    *sources: Source, ax: Axes | None = None, titles: Sequence[str] = (), bins: int = 64
) -> Axes:
    """Draw how often values occur, a line for each band of each scene, over one range.

    Args:
        *sources: Scenes to compare; their lines differ in style, bands in colour.
        ax: Where to draw; a new figure unless given.
        titles: Names of the scenes in the legend.
        bins: Number of bins.

    Returns:
        The axes.
    """
    opened = [open_source(source) for source in sources]
    patches = [item.overview(_MAX_PX) for item in opened]
    values = [patch.data[:, patch.valid].astype(np.float64) for patch in patches]
    known = np.concatenate([item.ravel() for item in values])
    low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 1.0)
    ax = new_axes(1)[0] if ax is None else ax
    for i, (item, pixels) in enumerate(zip(opened, values, strict=True)):
        name = titles[i] if i < len(titles) else item.name
        for j, (band, line) in enumerate(zip(item.bands, pixels, strict=True)):
            counts, edges = np.histogram(line, bins, (low, high if high > low else low + 1))
            kind = band.common_name or band.name or f"band {band.index}"
            ax.plot(
                (edges[1:] + edges[:-1]) / 2,
                counts / max(1, counts.sum()),
                color=kind if kind in ("red", "green", "blue") else f"C{j + 3}",
                linestyle=("-", "--", ":", "-.")[i % 4],
                label=f"{name}, {band.name or kind}",
            )
    ax.set(xlabel="stored value", ylabel="share of pixels")
    ax.legend(fontsize="small")
    return ax


def sheet(task: str | os.PathLike[str] | Bundle, *, ax: Axes | None = None) -> Axes:
    """Draw the held-out samples that lie beside a bundle.

    Args:
        task: Name of a task, or a bundle.
        ax: Where to draw; a new figure unless given.

    Returns:
        The axes.

    Raises:
        UsageError: If the bundle has no sheet beside it.
    """
    bundle = open_bundle(task)
    path = bundle.path.with_name(bundle.spec.samples or f"{bundle.spec.name}.png")
    if not path.is_file():
        raise UsageError(f"{bundle.path} has no sheet of samples beside it; {path} is missing")
    pyplot = import_pyplot()
    pixels = pyplot.imread(path)
    ax = new_axes(1, inches=8.0)[0] if ax is None else ax
    ax.imshow(pixels, interpolation="antialiased")
    ax.set_axis_off()
    ax.set_title(f"{bundle.spec.name}: {bundle.spec.title}", loc="left", fontsize="medium")
    return ax


def plan(tiles: TilePlan, source: Source | None = None, *, ax: Axes | None = None) -> Axes:
    """Draw a tile plan, and what its middle tile reads, over the scene it is a plan of.

    Args:
        tiles: The plan.
        source: The scene; the plan is drawn in px unless it is given.
        ax: Where to draw; a new figure unless given.

    Returns:
        The axes.
    """
    ax = new_axes(1)[0] if ax is None else ax
    opened = None if source is None else open_source(source)
    if opened is not None:
        patch = read_display_bands(opened, max_px=_MAX_PX)
        _draw_patch(opened, patch, [patch], None, ax=ax)
    middle = tiles.tile(tiles.n_rows // 2, tiles.n_cols // 2)
    for tile in tiles:
        _draw_outline(opened, tile.core, ax, edgecolor="#1f6f8b", linewidth=1.0)
    _draw_outline(
        opened, middle.read, ax, edgecolor="#b3541e", facecolor="#b3541e33", linestyle="--"
    )
    title = (
        f"{len(tiles)} tiles, windows of {middle.read.width} x {middle.read.height} px, "
        f"halo {tiles.halo} px"
    )
    if opened is not None:
        return _decorate(opened, ax, title=title, graticule=True, scale_bar=True)
    ax.set(aspect="equal", xlabel="column, px", ylabel="row, px", title=title)
    ax.autoscale_view()
    ax.invert_yaxis()
    return ax


def places(
    source: str | os.PathLike[str] | gpd.GeoDataFrame,
    *,
    over: Source | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw where a run trained and where it was held out.

    Args:
        source: Folder of a training run, its `places.geojson`, or outlines with a column `split`.
        over: A scene to draw below them, in its CRS; longitude and latitude unless given.
        ax: Where to draw; a new figure unless given.

    Returns:
        The axes.

    Raises:
        SceneError: If there are no places.
    """
    outlines = _read_outlines(source)
    ax = new_axes(1)[0] if ax is None else ax
    background = None if over is None else open_source(over)
    if background is not None:
        patch = read_display_bands(background, max_px=_MAX_PX)
        _draw_patch(background, patch, [patch], None, ax=ax)
        outlines = outlines.to_crs(background.crs_wkt)
    others = iter(("#7a5195", "#8a8a8a", "#444444"))
    for name, group in outlines.groupby("split", sort=False):
        color = _SPLIT_COLORS.get(str(name)) or next(others, "#000000")
        group.plot(ax=ax, facecolor=f"{color}55", edgecolor=color, linewidth=1.2)
        ax.plot([], [], "s", color=color, label=f"{name} ({len(group)})")
    ax.legend(fontsize="small")
    if background is not None:
        return _decorate(background, ax, title="", graticule=True, scale_bar=True)
    return label_axes(outlines.crs, ax, color="0.6")


def _read_patch(opened: Scene, band: str | None) -> Patch:
    if band is None:
        return read_display_bands(opened, max_px=_MAX_PX)
    indices = [item.index for item in opened.bands if band in (item.name, item.common_name)]
    if not indices:
        names = ", ".join(item.name or str(item.index) for item in opened.bands)
        raise SceneError(f"{opened.name} has no band '{band}'; it has {names}")
    return opened.overview(_MAX_PX, indices[:1])


def _draw_patch(
    opened: Scene, patch: Patch, others: Sequence[Patch], window: Window | None, *, ax: Axes
) -> None:
    pixels = np.moveaxis(
        to_rgba(patch, choose_limits(patch, others)), 0, -1
    )  # (4, H, W) -> (H, W, 4)
    _show_image(opened, pixels, window, ax=ax)


def _show_image(opened: Scene, pixels: npt.NDArray[Any], window: Window | None, *, ax: Axes) -> Any:
    """An image where its pixels lie: rotated grids are drawn rotated."""
    from matplotlib.transforms import Affine2D

    window = Window.whole(opened.shape) if window is None else window
    a, b, c, d, e, f = tuple(opened.geobox.affine)[:6]
    to_crs = Affine2D(np.array([[a, b, c], [d, e, f], [0, 0, 1]])) + ax.transData
    extent = (window.col_off, window.col_end, window.row_end, window.row_off)
    image = ax.imshow(pixels, extent=extent, transform=to_crs, interpolation="nearest")
    _set_limits(opened, window, ax)
    return image


def _set_limits(opened: Scene, window: Window, ax: Axes) -> None:
    """Limits that hold a window, with what lay at the bottom of a map at the bottom."""
    corners = np.array(window_corners(opened, window))
    (left, bottom), (right, top) = corners.min(0), corners.max(0)
    is_map = opened.geobox.crs is not None
    ax.set(xlim=(left, right), ylim=(bottom, top) if is_map else (top, bottom), aspect="equal")
    if opened.geobox.crs is not None and opened.geobox.crs.geographic:
        middle = math.radians(min(85.0, abs(top + bottom) / 2))
        ax.set_aspect(1 / math.cos(middle))


def _draw_outline(opened: Scene | None, window: Window, ax: Axes, **style: Any) -> None:
    from matplotlib.patches import Polygon

    style = {"facecolor": "none", **style}
    ax.add_patch(Polygon(window_corners(opened, window), closed=True, **style))


def _decorate(opened: Scene, ax: Axes, *, title: str, graticule: bool, scale_bar: bool) -> Axes:
    if title:
        ax.set_title(title, fontsize="medium")
    if graticule:
        label_axes(opened.geobox.crs, ax)
    else:
        ax.set(xticks=[], yticks=[])
    if scale_bar:
        add_scale_bar(opened, ax)
    return ax


def _read_outlines(source: Any) -> Any:
    try:
        import geopandas as gpd
    except ImportError as error:
        raise ExtraError(
            "geotrans.plot.places reads outlines with geopandas, which is not installed; "
            'pip install "geotrans[notebook]"'
        ) from error
    if not isinstance(source, gpd.GeoDataFrame):
        path = Path(source)
        path = path / "places.geojson" if path.is_dir() else path
        if not path.is_file():
            raise SceneError(f"{path} is not there; give the folder of a run that was trained")
        source = gpd.read_file(path)
    if "split" not in source.columns or len(source) == 0:
        raise SceneError("there are no outlines with a column 'split' to draw")
    return source
