"""Rules for pixels that several tiles hold.

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
    """Pixels of one tile in a block.

    Attributes:
        rows: Rows of the block it covers.
        cols: Columns of the block it covers.
        patch: Its pixels there.
        weight: Weight of each pixel, above 0 where it is valid, shape `(H, W)`; only for `feather`.
        above: Where it covers tiles before it, shape `(H, W)`; only along seams.
    """

    rows: slice
    cols: slice
    patch: Patch
    weight: npt.NDArray[np.float64] | None = None
    above: npt.NDArray[np.bool_] | None = None


Blend = Callable[[Iterable[Layer], Patch], None]


def keep_first(layers: Iterable[Layer], canvas: Patch) -> None:
    """The first tile that holds the pixel."""
    for layer in layers:
        is_free = layer.patch.valid & ~canvas.valid[layer.rows, layer.cols]
        _paste(layer, canvas, is_free)
        if canvas.valid.all():
            return


def keep_last(layers: Iterable[Layer], canvas: Patch) -> None:
    """The last tile that holds the pixel."""
    for layer in layers:
        _paste(layer, canvas, layer.patch.valid)


def keep_along_seams(layers: Iterable[Layer], canvas: Patch) -> None:
    """The last tile that holds the pixel and covers those before it there."""
    for layer in layers:
        is_shown = ~canvas.valid[layer.rows, layer.cols]
        if layer.above is not None:
            is_shown |= layer.above
        _paste(layer, canvas, layer.patch.valid & is_shown)


def keep_minimum(layers: Iterable[Layer], canvas: Patch) -> None:
    """The least value, band by band."""
    _reduce(layers, canvas, np.minimum)


def keep_maximum(layers: Iterable[Layer], canvas: Patch) -> None:
    """The largest value, band by band."""
    _reduce(layers, canvas, np.maximum)


def average(layers: Iterable[Layer], canvas: Patch) -> None:
    """The mean of all tiles, weighted if they have weights."""
    shape = canvas.valid.shape
    # Differences from the first value: where all tiles agree it is exact, whatever the weights.
    total = np.zeros(canvas.data.shape, np.float64)
    weights = np.zeros(shape, np.float64)
    for layer in layers:
        valid, region = layer.patch.valid, (layer.rows, layer.cols)
        _paste(layer, canvas, valid & ~canvas.valid[region])
        weight = np.where(valid, 1.0 if layer.weight is None else layer.weight, 0.0)
        with np.errstate(invalid="ignore"):  # Invalid values may be infinite.
            change = (layer.patch.data.astype(np.float64) - canvas.data[:, *region]) * weight
        total[:, *region] += np.where(valid, change, 0.0)
        weights[region] += weight
    np.divide(total, weights, out=total, where=canvas.valid)
    total += canvas.data
    canvas.data[:] = as_dtype(total, canvas.data.dtype)


# By the names of `blend`; the last three have no meaning for classes.
BLENDS: dict[str, Blend] = {
    "first": keep_first,
    "last": keep_last,
    "min": keep_minimum,
    "max": keep_maximum,
    "mean": average,
    "feather": average,
}
_AVERAGING = ("mean", "feather")


def check_blend(name: str, *, of_classes: bool) -> None:
    """Check that there is such a rule and that it can be applied.

    Raises:
        UsageError: If not.
    """
    if name not in BLENDS:
        raise UsageError(f"no blend '{name}'{suggest(name, BLENDS)}; choose {', '.join(BLENDS)}")
    if of_classes and name in _AVERAGING:
        others = ", ".join(blend for blend in BLENDS if blend not in _AVERAGING)
        raise UsageError(f"the tiles hold classes, which have no mean; choose a blend of {others}")


def compute_edge_weight(valid: npt.NDArray[np.bool_], feather: int) -> npt.NDArray[np.float64]:
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
        from_start = np.minimum.accumulate(distance - ramp, axis=axis) + ramp
        from_end = np.flip(
            np.minimum.accumulate(np.flip(distance + ramp, axis), axis=axis), axis
        ) - ramp  # fmt: skip
        # The tile also ends at either end of the axis.
        distance = np.minimum(np.minimum(from_start, from_end), np.minimum(ramp, n + 1 - ramp))
    weight: npt.NDArray[np.float64] = np.minimum(distance, feather) / feather
    return weight


def _paste(layer: Layer, canvas: Patch, where: npt.NDArray[np.bool_]) -> None:
    region = (layer.rows, layer.cols)
    np.copyto(canvas.data[:, *region], layer.patch.data, where=where)
    canvas.valid[region] |= where


def _reduce(layers: Iterable[Layer], canvas: Patch, reduce: Callable[..., Any]) -> None:
    for layer in layers:
        region = (layer.rows, layer.cols)
        in_both = layer.patch.valid & canvas.valid[region]
        _paste(layer, canvas, layer.patch.valid & ~canvas.valid[region])
        reduce(
            canvas.data[:, *region], layer.patch.data, out=canvas.data[:, *region], where=in_both
        )
