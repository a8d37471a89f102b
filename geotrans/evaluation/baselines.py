"""Baselines without a network, which a translation has to exceed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from geotrans.evaluation.places import Array, Places, UInt8Array, crop_margin
from geotrans.metrics.mapping import one_color
from geotrans.scene.radiometry import as_dtype
from geotrans.training.linear import LinearMap, fit_known, fit_linear


def make_baselines(
    places: Places, train: Places | None, *, source: Sequence[str]
) -> dict[str, Array]:
    """Pictures of the places without a network, by name, each `(N, K, H, W)`.

    Args:
        places: Held-out places.
        train: Places to learn colours and fits from, which may hold the target alone. Without any,
            colours are learned from the held-out places themselves, which says more than a baseline
            should know, and nothing is fitted.
        source: Names of the source bands that are read, in order.
    """
    if places.map_side is None:
        return photo_baselines(places, train, source=tuple(source))
    known = train if train is not None and train.classes is not None else places
    if places.map_side == "target":
        color = places.colors[one_color(known.target, places.colors)]
        flat = np.array(color, np.uint8)[:, None, None]
        return {"one colour": np.broadcast_to(flat, places.target.shape)}
    assert known.classes is not None
    assert places.classes is not None
    means = class_means(known.target, known.classes, places.classes)
    return {"mean colour of each class": means}


def class_means(target: Array, classes: UInt8Array, drawn_classes: UInt8Array) -> Array:
    """Each pixel in the mean values of its class: the colours a map alone predicts.

    Args:
        target: Pictures to learn the means from, `(N, K, H, W)`.
        classes: Class of each of their pixels, `(N, H, W)`.
        drawn_classes: Classes to draw, `(M, H, W)`; one never seen gets the mean of everything.

    Returns:
        `(M, K, H, W)`.
    """
    pixels = np.moveaxis(target, 1, -1)
    values = np.zeros((256, pixels.shape[-1]), target.dtype)
    values[:] = as_dtype(pixels.mean((0, 1, 2)), target.dtype)
    for index in np.unique(classes):
        values[index] = as_dtype(pixels[classes == index].mean(0), target.dtype)
    return np.ascontiguousarray(np.moveaxis(values[drawn_classes], -1, 1))


def photo_baselines(
    places: Places, train: Places | None, *, source: tuple[str, ...]
) -> dict[str, Array]:
    """The source's own bands, and linear functions of them where there is something to fit."""
    target, dtype = places.bands, places.target.dtype
    inner_source = crop_margin(places.source_bands(source, subject="the baseline"), places.margin)
    has_same_type = inner_source.dtype == dtype
    is_grey = len(source) == 1 and has_same_type
    pictures: dict[str, Array] = {}
    if is_grey:
        pictures["grey"] = np.repeat(inner_source, len(target), axis=1)
    elif has_same_type and len(source) >= len(target):
        pictures["unchanged"] = np.ascontiguousarray(inner_source[:, : len(target)])
    if train is None:
        return pictures
    if len(train.source):
        known = crop_margin(train.source_bands(source, subject="the baseline"), train.margin)
        pictures["linear fit"] = apply_linear(
            inner_source, fit_linear(known, train.target, train.valid), dtype
        )
        if is_grey and dtype == np.uint8:
            colors = mean_color_by_grey(known, train.target, train.valid)
            pictures["colour per grey level"] = np.moveaxis(colors[:, inner_source[:, 0]], 0, 1)
    if set(target) & set(source) and has_same_type:
        fit = fit_known(list(train.target), list(train.valid), source=source, target=target)
        pictures["known bands, the rest linear in them"] = apply_linear(inner_source, fit, dtype)
    return pictures


def mean_color_by_grey(grey: Array, target: Array, valid: npt.NDArray[np.bool_]) -> UInt8Array:
    """Mean colour of each grey level of `(N, 1, H, W)`, `(K, 256)`; 0 for levels never seen."""
    levels = grey[:, 0][valid]
    count = np.maximum(np.bincount(levels, minlength=256), 1)
    sums = [np.bincount(levels, band[valid], 256) for band in np.moveaxis(target, 1, 0)]
    colors: UInt8Array = np.rint(np.stack(sums) / count).astype(np.uint8)
    return colors


def apply_linear(images: Array, linear: LinearMap, dtype: npt.DTypeLike = np.uint8) -> Array:
    """Apply a linear map to stored values `(N, C, H, W)`; the result as stored."""
    values = np.einsum("kc,nchw->nkhw", linear.weight, images.astype(np.float64))
    return as_dtype(values + linear.bias[:, None, None], np.dtype(dtype))
