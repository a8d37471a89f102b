"""Patch caches of places that lie apart, for what is scored place by place."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from geotrans.sampling.cache import Manifest, PatchCache, PatchRecord, SideRecord
from geotrans.sampling.writing import CachedPatch, write_cache

RGB = ("red", "green", "blue")
APART_M = 1000.0


def towns(n: int, *, bands: int = 3, size: int = 96, seed: int = 0) -> npt.NDArray[np.uint8]:
    """Soft pictures with some edges, `(n, bands, size, size)`."""
    rng = np.random.default_rng(seed)
    rows, cols = np.mgrid[:size, :size]
    waves = rng.uniform(0.02, 0.25, (n, bands, 2))
    soft = np.sin(waves[..., :1, None] * rows) + np.cos(waves[..., 1:, None] * cols)
    squares = np.kron(rng.uniform(-1, 1, (n, 1, size // 8, size // 8)), np.ones((8, 8)))
    made: npt.NDArray[np.uint8] = (128 + 30 * soft + 40 * squares).clip(1, 254).astype(np.uint8)
    return made


def places_cache(
    folder: Path,
    source: npt.NDArray[Any],
    target: npt.NDArray[Any],
    *,
    source_bands: Sequence[str] = RGB,
    target_bands: Sequence[str] = RGB,
    valid: npt.NDArray[np.bool_] | None = None,
    classes: npt.NDArray[np.uint8] | None = None,
    shape: tuple[int, int] | None = None,
    groups: Sequence[str] | None = None,
    n_train: int = 0,
    crs: str | None = "EPSG:32611",
    **manifest: Any,
) -> PatchCache:
    """A cache of places in a row from west to east, 1 km apart, 0.6 m pixels.

    Args:
        folder: Where it is made.
        source: `(N, C, H, W)`, with a margin where `manifest` says so.
        target: `(N, K, H, W)`.
        source_bands: Names of its bands.
        target_bands: Names of its bands.
        valid: `(N, H, W)`; everything unless given.
        classes: `(N, H, W)` of the drawn side.
        shape: Rows and columns that are no padding.
        groups: Group of each.
        n_train: How many of the first are the split `train`; the rest is `val`.
        crs: Their CRS.
        **manifest: More of the manifest.
    """
    n, size = len(target), target.shape[2:]
    whole = np.ones((n, *size), bool) if valid is None else valid

    def patch(i: int) -> CachedPatch:
        record = PatchRecord(
            name=f"town_{i}", place=f"town_{i}", group=groups[i] if groups else "", crs=crs,
            transform=(0.6, 0.0, 400_000 + APART_M * i, 0.0, -0.6, 3_800_000.0),
            shape=shape or size, window=(0, 0, size[1], size[0]),
        )  # fmt: skip
        label = None if classes is None else classes[i]
        return CachedPatch(record, source[i], target[i], whole[i], label)

    splits = {"train": range(n_train), "val": range(n_train, n)}
    return write_cache(
        folder,
        Manifest(
            source=SideRecord(
                bands=tuple(source_bands), dtype=str(source.dtype),
                classes=manifest.pop("source_classes", None),
            ),
            target=SideRecord(bands=tuple(target_bands), dtype=str(target.dtype)),
            gsd_m=(0.6, 0.6),
            **manifest,
        ),
        {split: [patch(i) for i in numbers] for split, numbers in splits.items() if numbers},
        overwrite=True,
    )  # fmt: skip
