"""What becomes of a pixel that several tiles hold.

Every rule is a function of the pixel's own values and of what lies within a fixed distance of it in
each tile, so that no block of a mosaic shows. Where all tiles agree, each gives their value to the
bit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from geotrans.errors import UsageError, suggest
from geotrans.scene import Patch
from geotrans.scene.radiometry import as_dtype

# Px over which the weight of a tile rises from its edge inward.
FEATHER_PX = 128


@dataclass(frozen=True)
class Layer:
    """What one tile holds of a block.

    Attributes:
        rows: Rows of the block it covers.
        cols: Columns of the block it covers.
        patch: Its pixels there.
        weight: How much each counts, above 0 where it is valid, shape `(H, W)`; only for `feather`.
        above: Where it covers tiles before it, shape `(H, W)`; only along seams.
    """

    rows: slice
    cols: slice
    patch: Patch
    weight: npt.NDArray[np.float64] | None = None
    above: npt.NDArray[np.bool_] | None = None


Blend = Callable[[Iterable[Layer], Patch], None]


def first(layers: Iterable[Layer], canvas: Patch) -> None:
    """The first tile that holds the pixel."""
    for layer in layers:
        free = layer.patch.valid & ~canvas.valid[layer.rows, layer.cols]
        _put(layer, canvas, free)
        if canvas.valid.all():
            return


def last(layers: Iterable[Layer], canvas: Patch) -> None:
    """The last tile that holds the pixel."""
    for layer in layers:
        _put(layer, canvas, layer.patch.valid)


def along_seams(layers: Iterable[Layer], canvas: Patch) -> None:
    """The last tile that holds the pixel and covers those before it there."""
    for layer in layers:
        seen = ~canvas.valid[layer.rows, layer.cols]
        if layer.above is not None:
            seen |= layer.above
        _put(layer, canvas, layer.patch.valid & seen)


def least(layers: Iterable[Layer], canvas: Patch) -> None:
    """The least value, band by band."""
    _choose(layers, canvas, np.minimum)


def most(layers: Iterable[Layer], canvas: Patch) -> None:
    """The largest value, band by band."""
    _choose(layers, canvas, np.maximum)


def mean(layers: Iterable[Layer], canvas: Patch) -> None:
    """The mean of all tiles, weighted if they have weights."""
    shape = canvas.valid.shape
    # Differences from the first value: what all agree on stays as it is, whatever the weights.
    total = np.zeros(canvas.data.shape, np.float64)
    weights = np.zeros(shape, np.float64)
    for layer in layers:
        valid, at = layer.patch.valid, (layer.rows, layer.cols)
        _put(layer, canvas, valid & ~canvas.valid[at])
        weight = np.where(valid, 1.0 if layer.weight is None else layer.weight, 0.0)
        with np.errstate(invalid="ignore"):  # Of what is not valid, which may be infinite.
            change = (layer.patch.data.astype(np.float64) - canvas.data[:, *at]) * weight
        total[:, *at] += np.where(valid, change, 0.0)
        weights[at] += weight
    np.divide(total, weights, out=total, where=canvas.valid)
    total += canvas.data
    canvas.data[:] = as_dtype(total, canvas.data.dtype)


# By the names of `blend`; the last three have no meaning for classes.
BLENDS: dict[str, Blend] = {
    "first": first,
    "last": last,
    "min": least,
    "max": most,
    "mean": mean,
    "feather": mean,
}
_OF_NUMBERS = ("mean", "feather")


def check_blend(name: str, *, of_classes: bool) -> None:
    """Make sure that there is such a rule and that it can be applied.

    Raises:
        UsageError: If not.
    """
    if name not in BLENDS:
        raise UsageError(f"no blend '{name}'{suggest(name, BLENDS)}; choose {', '.join(BLENDS)}")
    if of_classes and name in _OF_NUMBERS:
        others = ", ".join(one for one in BLENDS if one not in _OF_NUMBERS)
        raise UsageError(f"the tiles hold classes, which have no mean; choose a blend of {others}")


def edge_weight(valid: npt.NDArray[np.bool_], feather: int) -> npt.NDArray[np.float64]:
    """Weight of the pixels of a tile: 1 inside, less within `feather` px of where it ends.

    Args:
        valid: Where the tile holds something, `(H, W)`; beyond the array it holds nothing.
        feather: Px, counted along rows and columns, over which the weight rises.

    Returns:
        Distance to the nearest pixel that is not valid over `feather`, at most 1.
    """
    distance = np.where(valid, sum(valid.shape) + 1, 0).astype(np.int32)
    for axis in (0, 1):
        n = distance.shape[axis]
        ramp = np.arange(1, n + 1, dtype=np.int32).reshape((-1, 1) if axis == 0 else (1, -1))
        before = np.minimum.accumulate(distance - ramp, axis=axis) + ramp
        after = np.flip(
            np.minimum.accumulate(np.flip(distance + ramp, axis), axis=axis), axis
        ) - ramp  # fmt: skip
        # At either end of the axis the tile ends, too.
        distance = np.minimum(np.minimum(before, after), np.minimum(ramp, n + 1 - ramp))
    weight: npt.NDArray[np.float64] = np.minimum(distance, feather) / feather
    return weight


def _put(layer: Layer, canvas: Patch, where: npt.NDArray[np.bool_]) -> None:
    at = (layer.rows, layer.cols)
    np.copyto(canvas.data[:, *at], layer.patch.data, where=where)
    canvas.valid[at] |= where


def _choose(layers: Iterable[Layer], canvas: Patch, pick: Callable[..., Any]) -> None:
    for layer in layers:
        at = (layer.rows, layer.cols)
        both = layer.patch.valid & canvas.valid[at]
        _put(layer, canvas, layer.patch.valid & ~canvas.valid[at])
        pick(canvas.data[:, *at], layer.patch.data, out=canvas.data[:, *at], where=both)
