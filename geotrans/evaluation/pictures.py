"""Evaluation of one picture against the truth, in squares that are scored like places."""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from geotrans import __version__
from geotrans.errors import BandError, DomainError, SceneError, UsageError
from geotrans.evaluation.places import BLANK, RGB, Palette, Places, draw_classes
from geotrans.evaluation.products import Products, TileEdges, read_on_grid
from geotrans.evaluation.result import Evaluation
from geotrans.evaluation.run import TRUTH, score_groups, torch_device, value_range
from geotrans.evaluation.scores import MetricResult, Scorer
from geotrans.grid import Window, window_geobox
from geotrans.metrics.interval import mean
from geotrans.metrics.mapping import nearest_class
from geotrans.metrics.seams import seam_ratio
from geotrans.sampling.cache import Manifest, PatchRecord, SideRecord
from geotrans.scene import Scene, expand_palette, match_bands
from geotrans.scene.views.classes import PALETTE_TAG, ClassValue, read_class_values
from geotrans.tasks import BandSpec, TaskSpec, list_tasks

# Squares below this hold too little for any score of structure, px.
_MIN_PX = 16


def evaluate_picture(
    product: Scene,
    target: Scene,
    *,
    window: Window,
    square: int,
    resampling: str,
    edges: TileEdges | None = None,
    device: str = "auto",
) -> Evaluation:
    """Score a picture on the grid of the truth, in equal squares.

    Args:
        product: What is scored.
        target: The truth, whose grid is the common one.
        window: Pixels of the truth that are scored.
        square: Edge of a square, px of the truth; a little more or less, so that none is a sliver.
        resampling: Kernel for a product on another grid.
        edges: First rows and columns of the tiles that the product was made from, px of `window`,
            if that is known and it lies on the grid of the truth.
        device: Where features are computed.

    Raises:
        UsageError: If squares or resampling cannot be meant.
        BandError: If bands or types do not fit each other.
        DomainError: If both are maps of different classes.
        SceneError: If no pixel is valid in both.
    """
    started = time.monotonic()
    if square < _MIN_PX:
        raise UsageError(f"asked for squares of {square} px; they must have {_MIN_PX} or more")
    task = _find_task(product)
    pair = _Pair.match(product, target, task)
    places = _cut_places(pair, window, square)
    patches = [read_on_grid(pair.product, places, i, resampling) for i in range(len(places))]
    valid = places.valid & np.stack([is_valid for _, is_valid in patches])
    kept = np.flatnonzero(valid.any((1, 2)))
    if not len(kept):
        raise SceneError(f"no pixel of {product.name} is valid where {target.name} is")
    places = replace(places, valid=valid)[kept.tolist()]
    products = Products(np.stack([patches[i][0] for i in kept]))
    scorer = Scorer(
        places,
        value_range=value_range(task, places),
        groups={} if task is None else score_groups(task, {}),
        device=torch_device(device),
    )
    scores = scorer.score(products)
    truth_scores: dict[str, MetricResult] = {}
    if not pair.has_colors:
        scores.pop("within_16", None)
    if edges is not None:
        for table, scene in ((scores, pair.product), (truth_scores, pair.target)):
            table |= _score_seams(scene, places.bands, window, edges)
    return Evaluation(
        name=product.name,
        title=f"against {target.name}",
        scores=scores,
        beside={TRUTH: truth_scores} if truth_scores else {},
        places=places,
        products=products.values,
        facts={
            "geotrans": __version__,
            "bundle_sha256": product.tags.get("GEOTRANS_WEIGHTS_SHA256"),
            "data": f"{target.name}, squares of about {square} px",
            "split": None,
            "groups": [],
            "n_pairs": len(places),
            "n_places": len(places),
            "seed": None,
            "precision": None,
            "interval": "95 %, bootstrap over squares of one scene, 2000 resamples, seed 0",
            "baselines_learned_on": "nothing",
            "seconds": round(time.monotonic() - started, 1),
        },
    )


@dataclass(frozen=True)
class _Pair:
    """Both pictures as they are compared: maps of classes in the same colours.

    Attributes:
        product: What is scored.
        target: The truth.
        palette: Classes, if they are maps.
        is_classes: Whether the truth stores classes, so that other values are none of them.
        has_colors: Whether the classes have assigned colours.
    """

    product: Scene
    target: Scene
    palette: Palette = ()
    is_classes: bool = False
    has_colors: bool = True

    @classmethod
    def match(cls, product: Scene, target: Scene, task: TaskSpec | None) -> _Pair:
        product_classes, target_classes = read_class_values(product), read_class_values(target)
        palette = _read_palette(target)
        if not palette and task is not None:
            palette = tuple((item.name, item.color) for item in task.palette or ())
        if product_classes is None and target_classes is None:
            return cls(product, target, palette)
        has_colors = bool(palette)
        with_colors = [scene for scene in (target, product) if scene.colormap is not None]
        if with_colors:
            palette = tuple((c.name, c.color) for c in read_class_values(with_colors[0]) or ())
        elif not palette:
            palette = tuple(
                (c.name, ((c.value + 1) % 256,) * 3)
                for c in target_classes or product_classes or ()
            )
        return cls(
            _apply_palette(product, product_classes, palette),
            _apply_palette(target, target_classes, palette),
            palette, target_classes is not None, has_colors or bool(with_colors),
        )  # fmt: skip


def _read_palette(target: Scene) -> Palette:
    """Classes and colours that a rendered map says it was drawn in."""
    colors: dict[str, tuple[int, int, int]] = json.loads(target.tags.get(PALETTE_TAG, "{}"))
    return tuple((name, (red, green, blue)) for name, (red, green, blue) in colors.items())


def _apply_palette(scene: Scene, classes: tuple[ClassValue, ...] | None, palette: Palette) -> Scene:
    """A map of classes in the colours of a palette, by name; any other scene as it is."""
    if classes is None:
        return scene
    colors = dict(palette)
    if unknown := [item.name for item in classes if item.name not in colors]:
        raise DomainError(
            f"{scene.name} has the classes {', '.join(unknown)}, and what it is compared with has "
            f"{', '.join(colors)}; call them alike"
        )
    recolored = copy.copy(scene)
    recolored.info = replace(
        scene.info, colormap={item.value: (*colors[item.name], 255) for item in classes}
    )
    return expand_palette(recolored)


def _find_task(product: Scene) -> TaskSpec | None:
    """The shipped task named in a product's tags."""
    name = product.tags.get("GEOTRANS_TASK")
    return next((spec for spec in list_tasks() if spec.name == name), None)


def _cut_places(pair: _Pair, window: Window, square: int) -> Places:
    """The truth in squares, with the bands that the product has."""
    target = pair.target
    names = _band_names(pair.product)
    is_map = bool(pair.palette) and set(names) == set(RGB)
    if is_map:
        names = list(RGB)
    try:
        positions = match_bands(target, [BandSpec(name=name) for name in names])
    except BandError as error:
        available = ", ".join(str(band.name or band.colorinterp) for band in target.bands)
        raise BandError(
            f"{pair.product.name} has the bands {', '.join(names)}, and {target.name}, which it "
            f"is compared with, has {available}; name them alike, or select those that both have"
        ) from error
    windows = [
        Window(left, top, right - left, bottom - top)
        for top, bottom in pairwise(_square_edges(window.row_off, window.height, square))
        for left, right in pairwise(_square_edges(window.col_off, window.width, square))
    ]
    height, width = max(w.height for w in windows), max(w.width for w in windows)
    bands = target.select(positions)
    values = np.zeros((len(windows), len(bands), height, width), bands[0].dtype)
    valid = np.zeros((len(windows), height, width), bool)
    for i, part in enumerate(windows):
        patch = target.read(part, positions)
        values[i, :, : part.height, : part.width] = patch.data
        valid[i, : part.height, : part.width] = patch.valid
    side = SideRecord(bands=tuple(names), dtype=str(values.dtype))
    places = Places(
        values[:0], 0, values, tuple(names), valid,
        tuple(_make_record(target, part) for part in windows), Manifest(source=side, target=side),
    )  # fmt: skip
    if not is_map or values.dtype != np.uint8:
        return places
    colors = [color for _, color in pair.palette]
    classes = nearest_class(values, colors)
    if pair.is_classes:
        classes[(draw_classes(classes, colors) != values).any(1)] = BLANK
    return replace(places, map_side="target", palette=pair.palette, classes=classes)


def _band_names(product: Scene) -> list[str]:
    names = [band.name or band.common_name for band in product.bands]
    if len(names) == 1:
        return [names[0] or "band"]
    if None in names:
        raise BandError(
            f"{product.name} has {len(names)} bands, not all of which have a name; name them, as "
            "in .assign_coords(band=['red', 'green', 'blue'])"
        )
    return [str(name) for name in names]


def _square_edges(first: int, length: int, square: int) -> list[int]:
    """Where squares of nearly the same size begin, and where the last ends."""
    n = max(1, round(length / square))
    return [first + round(i * length / n) for i in range(n + 1)]


def _make_record(target: Scene, window: Window) -> PatchRecord:
    geobox = window_geobox(target.geobox, window)
    name = f"{target.name}_{window.row_off}_{window.col_off}"
    return PatchRecord(
        name=name, place=name, crs=target.crs_wkt, transform=tuple(geobox.affine)[:6],
        shape=window.shape, window=(window.col_off, window.row_off, window.width, window.height),
    )  # fmt: skip


def _score_seams(
    scene: Scene, bands: Sequence[str], window: Window, edges: TileEdges
) -> dict[str, MetricResult]:
    """Whether tile edges show in the whole picture, which squares would cut along some of them."""
    positions = match_bands(scene, [BandSpec(name=name) for name in bands])
    patch = scene.read(window, positions)
    ratio = seam_ratio(patch.data, row_edges=edges[0], col_edges=edges[1], valid=patch.valid)
    if not np.isfinite(ratio):
        return {}
    title = "seam ratio at tile edges"
    return {"seam_ratio": MetricResult("seam_ratio", title, "", mean([ratio], [scene.name]))}
