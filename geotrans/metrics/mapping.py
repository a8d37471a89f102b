"""Scores of maps: palette accuracy and overlap of classes.

Images are `(..., 3, H, W)`, classes and `valid` are `(..., H, W)`. Every score is a ratio of
counts; the `*_counts` functions give those per image, for `interval.ratio`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
import numpy.typing as npt

from geotrans.metrics.checks import BoolArray, FloatArray, as_valid, check_same_shape

# Half the least distance between two colours of a style is 10; 16 forgives anti-aliased edges and
# nothing else (METHODS section 7).
LEVELS = 16

Color = tuple[int, int, int]
UInt8Array = npt.NDArray[np.uint8]
IntArray = npt.NDArray[np.int64]


def palette_accuracy(
    images: UInt8Array, target: UInt8Array, *, levels: int = LEVELS, valid: BoolArray | None = None
) -> float:
    """Share of pixels within `levels` grey levels of the target in all channels."""
    return _divide_sums(*palette_counts(images, target, levels=levels, valid=valid))


def palette_counts(
    images: UInt8Array, target: UInt8Array, *, levels: int = LEVELS, valid: BoolArray | None = None
) -> tuple[IntArray, IntArray]:
    """Pixels within `levels` of the target, and pixels compared, per image."""
    images, target = np.asarray(images), np.asarray(target)
    check_same_shape(images, target)
    is_close = np.ones((*images.shape[:-3], *images.shape[-2:]), np.bool_)
    for channel in range(images.shape[-3]):  # one at a time: a third of the memory
        difference = np.subtract(images[..., channel, :, :], target[..., channel, :, :], dtype="i2")
        is_close &= np.abs(difference) <= levels
    valid = as_valid(valid, is_close.shape)
    return _count_per_image(is_close & valid), _count_per_image(valid)


def nearest_class(images: UInt8Array, colors: Sequence[Color]) -> UInt8Array:
    """Class of each pixel: the palette colour nearest to it in RGB.

    Args:
        images: Colours, `(..., 3, H, W)`.
        colors: Colour of each class, at most 256.

    Returns:
        Class indices, `(..., H, W)`; of equally near colours the first.
    """
    images = np.asarray(images)
    best = np.full((*images.shape[:-3], *images.shape[-2:]), np.iinfo(np.int32).max, np.int32)
    classes = np.zeros(best.shape, np.uint8)
    for index, color in enumerate(colors):
        distance = np.zeros(best.shape, np.int32)
        for channel, level in enumerate(color):
            distance += np.subtract(images[..., channel, :, :], level, dtype=np.int32) ** 2
        is_nearer = distance < best
        best[is_nearer] = distance[is_nearer]
        classes[is_nearer] = index
    return classes


def one_color(target: UInt8Array, colors: Sequence[Color], *, levels: int = LEVELS) -> int:
    """Index of the colour that, drawn everywhere, is within `levels` of most pixels.

    The baseline any map has to beat; choose it on training images.
    """
    shares = [
        palette_accuracy(target, np.broadcast_to(_as_column(color), target.shape), levels=levels)
        for color in colors
    ]
    return int(np.argmax(shares))


def confusion(
    classes: UInt8Array, target: UInt8Array, *, n_classes: int, valid: BoolArray | None = None
) -> IntArray:
    """Pixels by true class (rows) and predicted class (columns), `(n_classes, n_classes)`."""
    classes, target = np.asarray(classes), np.asarray(target)
    check_same_shape(classes, target)
    valid = as_valid(valid, classes.shape)
    pairs = target[valid].astype(np.int64) * n_classes + classes[valid]
    return np.bincount(pairs, minlength=n_classes**2).reshape(n_classes, n_classes)


def class_iou(
    classes: UInt8Array, target: UInt8Array, *, n_classes: int, valid: BoolArray | None = None
) -> FloatArray:
    """Intersection over union of each class, NaN for a class in neither map."""
    table = confusion(classes, target, n_classes=n_classes, valid=valid)
    both = np.diag(table)
    either = table.sum(0) + table.sum(1) - both
    overlap = np.full(n_classes, np.nan)
    np.divide(both, either, out=overlap, where=either > 0)
    return overlap


def class_counts(
    classes: UInt8Array, target: UInt8Array, *, n_classes: int, valid: BoolArray | None = None
) -> tuple[IntArray, IntArray]:
    """Pixels of each class in both maps, and in either, per image, each `(..., n_classes)`."""
    classes, target = np.asarray(classes), np.asarray(target)
    check_same_shape(classes, target)
    valid = as_valid(valid, classes.shape)
    pairs = [((classes == k) & valid, (target == k) & valid) for k in range(n_classes)]
    both = np.stack([_count_per_image(predicted & true) for predicted, true in pairs], axis=-1)
    either = np.stack([_count_per_image(predicted | true) for predicted, true in pairs], axis=-1)
    return both, either


def road_iou(
    classes: UInt8Array,
    target: UInt8Array,
    roads: Collection[int],
    *,
    valid: BoolArray | None = None,
) -> float:
    """Intersection over union of all road classes taken as one, over all pixels together.

    Args:
        classes: Predicted class indices, `(..., H, W)`.
        target: True class indices, same shape.
        roads: Indices of the road classes.
        valid: Pixels to compare; all unless given.

    Returns:
        0 to 1, NaN where neither map has a road.
    """
    return _divide_sums(*road_counts(classes, target, roads, valid=valid))


def road_counts(
    classes: UInt8Array,
    target: UInt8Array,
    roads: Collection[int],
    *,
    valid: BoolArray | None = None,
) -> tuple[IntArray, IntArray]:
    """Road pixels in both maps, and in either, per image."""
    classes, target = np.asarray(classes), np.asarray(target)
    check_same_shape(classes, target)
    valid = as_valid(valid, classes.shape)
    predicted = np.isin(classes, list(roads)) & valid
    true = np.isin(target, list(roads)) & valid
    return _count_per_image(predicted & true), _count_per_image(predicted | true)


def _as_column(color: Color) -> UInt8Array:
    return np.asarray(color, np.uint8)[:, None, None]


def _count_per_image(pixels: BoolArray) -> IntArray:
    return pixels.sum(axis=(-2, -1), dtype=np.int64)


def _divide_sums(part: IntArray, whole: IntArray) -> float:
    return float(part.sum() / whole.sum()) if whole.sum() else float("nan")
