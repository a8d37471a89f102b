"""One picture against the truth, in squares that are scored like places."""

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
from geotrans.evaluation.products import Edges, Products, read_on_grid
from geotrans.evaluation.result import Evaluation
from geotrans.evaluation.run import TRUTH, score_groups, torch_device, value_range
from geotrans.evaluation.scores import Judge, ScoreOfPlaces
from geotrans.grid import Window, window_geobox
from geotrans.metrics.interval import mean
from geotrans.metrics.mapping import nearest_class
from geotrans.metrics.seams import seam_ratio
from geotrans.sampling.cache import Manifest, PatchRecord, SideRecord
from geotrans.scene import Scene, expand_palette, match_bands
from geotrans.scene.views.classes import PALETTE_TAG, ClassValue, read_class_values
from geotrans.tasks import BandSpec, TaskSpec, list_tasks

# Squares below this hold too little for any score of structure, px.
_LEAST_PX = 16


def evaluate_picture(
    product: Scene,
    target: Scene,
    *,
    window: Window,
    square: int,
    resampling: str,
    edges: Edges | None = None,
    device: str = "auto",
) -> Evaluation:
    """Score a picture on the grid of the truth, in equal squares.

    Args:
        product: What is scored.
        target: The truth, whose grid is the common one.
        window: Pixels of the truth that are looked at.
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
    if square < _LEAST_PX:
        raise UsageError(f"asked for squares of {square} px; they must have {_LEAST_PX} or more")
    task = _task_of(product)
    pair = _Pair.of(product, target, task)
    places = _places(pair, window, square)
    patches = [read_on_grid(pair.product, places, i, resampling) for i in range(len(places))]
    valid = places.valid & np.stack([seen for _, seen in patches])
    kept = np.flatnonzero(valid.any((1, 2)))
    if not len(kept):
        raise SceneError(f"no pixel of {product.name} is valid where {target.name} is")
    places = replace(places, valid=valid)[kept.tolist()]
    made = Products(np.stack([patches[i][0] for i in kept]))
    judge = Judge(
        places,
        value_range=value_range(task, places),
        groups={} if task is None else score_groups(task, {}),
        device=torch_device(device),
    )
    scores = judge.scores(made)
    beside: dict[str, ScoreOfPlaces] = {}
    if not pair.has_colors:
        scores.pop("within_16", None)
    if edges is not None:
        for of, scene in ((scores, pair.product), (beside, pair.target)):
            of |= _seams(scene, places.bands, window, edges)
    return Evaluation(
        name=product.name,
        title=f"against {target.name}",
        scores=scores,
        beside={TRUTH: beside} if beside else {},
        places=places,
        products=made.values,
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
        has_colors: Whether the colours of the classes are those that somebody gave them.
    """

    product: Scene
    target: Scene
    palette: Palette = ()
    is_classes: bool = False
    has_colors: bool = True

    @classmethod
    def of(cls, product: Scene, target: Scene, task: TaskSpec | None) -> _Pair:
        made, true = read_class_values(product), read_class_values(target)
        palette = _draw_classes_like(target)
        if not palette and task is not None:
            palette = tuple((one.name, one.color) for one in task.palette or ())
        if made is None and true is None:
            return cls(product, target, palette)
        has_colors = bool(palette)
        given = [scene for scene in (target, product) if scene.colormap is not None]
        if given:
            palette = tuple((c.name, c.color) for c in read_class_values(given[0]) or ())
        elif not palette:
            palette = tuple((c.name, ((c.value + 1) % 256,) * 3) for c in true or made or ())
        return cls(
            _in_colors(product, made, palette),
            _in_colors(target, true, palette),
            palette, true is not None, has_colors or bool(given),
        )  # fmt: skip


def _draw_classes_like(target: Scene) -> Palette:
    """Classes and colours that a rendered map says it was drawn in."""
    found: dict[str, tuple[int, int, int]] = json.loads(target.tags.get(PALETTE_TAG, "{}"))
    return tuple((name, (red, green, blue)) for name, (red, green, blue) in found.items())


def _in_colors(scene: Scene, classes: tuple[ClassValue, ...] | None, palette: Palette) -> Scene:
    """A map of classes in the colours of a palette, by name; any other scene as it is."""
    if classes is None:
        return scene
    colors = dict(palette)
    if foreign := [one.name for one in classes if one.name not in colors]:
        raise DomainError(
            f"{scene.name} has the classes {', '.join(foreign)}, and what it is compared with has "
            f"{', '.join(colors)}; call them alike"
        )
    shown = copy.copy(scene)
    shown.info = replace(
        scene.info, colormap={one.value: (*colors[one.name], 255) for one in classes}
    )
    return expand_palette(shown)


def _task_of(product: Scene) -> TaskSpec | None:
    """The shipped task that a product says it was made by."""
    name = product.tags.get("GEOTRANS_TASK")
    return next((spec for spec in list_tasks() if spec.name == name), None)


def _places(pair: _Pair, window: Window, square: int) -> Places:
    """The truth in squares, with the bands that the product has."""
    target = pair.target
    wanted = _names(pair.product)
    is_map = bool(pair.palette) and set(wanted) == set(RGB)
    if is_map:
        wanted = list(RGB)
    try:
        found = match_bands(target, [BandSpec(name=name) for name in wanted])
    except BandError as error:
        has = ", ".join(str(band.name or band.colorinterp) for band in target.bands)
        raise BandError(
            f"{pair.product.name} has the bands {', '.join(wanted)}, and {target.name}, which it "
            f"is compared with, has {has}; name them alike, or select those that both have"
        ) from error
    windows = [
        Window(left, top, right - left, bottom - top)
        for top, bottom in pairwise(_cuts(window.row_off, window.height, square))
        for left, right in pairwise(_cuts(window.col_off, window.width, square))
    ]
    height, width = max(w.height for w in windows), max(w.width for w in windows)
    bands = target.select(found)
    values = np.zeros((len(windows), len(bands), height, width), bands[0].dtype)
    valid = np.zeros((len(windows), height, width), bool)
    for i, part in enumerate(windows):
        patch = target.read(part, found)
        values[i, :, : part.height, : part.width] = patch.data
        valid[i, : part.height, : part.width] = patch.valid
    side = SideRecord(bands=tuple(wanted), dtype=str(values.dtype))
    places = Places(
        values[:0], 0, values, tuple(wanted), valid,
        tuple(_record(target, part) for part in windows), Manifest(source=side, target=side),
    )  # fmt: skip
    if not is_map or values.dtype != np.uint8:
        return places
    colors = [color for _, color in pair.palette]
    classes = nearest_class(values, colors)
    if pair.is_classes:
        classes[(draw_classes(classes, colors) != values).any(1)] = BLANK
    return replace(places, map_side="target", palette=pair.palette, classes=classes)


def _names(product: Scene) -> list[str]:
    names = [band.name or band.common_name for band in product.bands]
    if len(names) == 1:
        return [names[0] or "band"]
    if None in names:
        raise BandError(
            f"{product.name} has {len(names)} bands, not all of which have a name; name them, as "
            "in .assign_coords(band=['red', 'green', 'blue'])"
        )
    return [str(name) for name in names]


def _cuts(first: int, length: int, square: int) -> list[int]:
    """Where squares of nearly the same size begin, and where the last ends."""
    n = max(1, round(length / square))
    return [first + round(i * length / n) for i in range(n + 1)]


def _record(target: Scene, part: Window) -> PatchRecord:
    geobox = window_geobox(target.geobox, part)
    name = f"{target.name}_{part.row_off}_{part.col_off}"
    return PatchRecord(
        name=name, place=name, crs=target.crs_wkt, transform=tuple(geobox.affine)[:6],
        shape=part.shape, window=(part.col_off, part.row_off, part.width, part.height),
    )  # fmt: skip


def _seams(
    scene: Scene, bands: Sequence[str], window: Window, edges: Edges
) -> dict[str, ScoreOfPlaces]:
    """Whether tile edges show in the whole picture, which squares would cut along some of them."""
    found = match_bands(scene, [BandSpec(name=name) for name in bands])
    patch = scene.read(window, found)
    ratio = seam_ratio(patch.data, row_edges=edges[0], col_edges=edges[1], valid=patch.valid)
    if not np.isfinite(ratio):
        return {}
    title = "seam ratio at tile edges"
    return {"seam_ratio": ScoreOfPlaces("seam_ratio", title, "", mean([ratio], [scene.name]))}
