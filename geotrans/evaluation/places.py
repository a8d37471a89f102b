"""Held-out places: what a task reads there, and the truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from affine import Affine
from odc.geo.geobox import GeoBox

from geotrans.errors import BandError, DomainError, SceneError, UsageError
from geotrans.grid import make_geobox
from geotrans.metrics.mapping import nearest_class
from geotrans.sampling.cache import ClassRecord, Manifest, PatchCache, PatchRecord
from geotrans.tasks import TaskSpec

Array = npt.NDArray[Any]
UInt8Array = npt.NDArray[np.uint8]
BoolArray = npt.NDArray[np.bool_]
Palette = tuple[tuple[str, tuple[int, int, int]], ...]

RGB = ("red", "green", "blue")
# A class index where a map shows nothing.
BLANK = 255

# Edge of a square of one large scene that counts as a place, in windows.
_SQUARE = 2


@dataclass(frozen=True)
class Places:
    """Pairs of source and truth, one a place and group.

    Attributes:
        source: Stored values, `(N, C, H + 2 * margin, W + 2 * margin)`; none of an unpaired split.
        margin: Source beyond each side of the truth, px.
        target: The truth, `(N, K, H, W)`.
        bands: Names of its bands.
        valid: Pixels that count, `(N, H, W)`.
        records: Where each pair lies.
        manifest: What the cache they come from says of both sides.
        map_side: Side that is a map of classes, if one is.
        palette: Name and colour of each of its classes.
        classes: Class of each of its pixels, `(N, H, W)`, `BLANK` where it shows none.
    """

    source: Array
    margin: int
    target: Array
    bands: tuple[str, ...]
    valid: BoolArray
    records: tuple[PatchRecord, ...]
    manifest: Manifest
    map_side: Literal["source", "target"] | None = None
    palette: Palette = ()
    classes: UInt8Array | None = None

    @classmethod
    def load(cls, cache: PatchCache, split: str, *, group: str | None = None) -> Places:
        """Places of a split of a patch cache; of one group only if `group` is given.

        Raises:
            SamplingError: If the cache has no such split.
            UsageError: If the split has no such group.
            SceneError: If a place has no CRS.
        """
        manifest = cache.manifest
        margin = manifest.margin if manifest.drawn == "source" else 0
        patches = cache.load(split, margin=margin)
        if patches.target_valid is not None:
            return cls(
                patches.source[:0], 0, patches.target, manifest.target.bands,
                patches.target_valid, patches.target_records, manifest,
            )  # fmt: skip
        indices = [i for i, name in enumerate(patches.groups) if group in (None, name)]
        if not indices:
            available = ", ".join(sorted(set(patches.groups)))
            raise UsageError(f"asked for the group '{group}'; split '{split}' has {available}")
        records = _group_by_squares([patches.records[i] for i in indices])
        if without_crs := [record.name for record in records if record.crs is None]:
            raise SceneError(
                f"{without_crs[0]} has no CRS, so nobody can say which ground its scores are of; "
                "give it one, for instance with 'rio edit-info --crs'"
            )
        return cls(
            patches.source[indices], margin, patches.target[indices], manifest.target.bands,
            patches.valid[indices], records, manifest, manifest.drawn, manifest.palette or (),
            None if patches.classes is None else patches.classes[indices],
        )  # fmt: skip

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, indices: Sequence[int]) -> Places:
        """Some of the places."""
        indices = list(indices)
        return replace(
            self,
            source=self.source[indices] if len(self.source) else self.source,
            target=self.target[indices],
            valid=self.valid[indices],
            records=tuple(self.records[i] for i in indices),
            classes=None if self.classes is None else self.classes[indices],
        )

    @property
    def names(self) -> list[str]:
        """Place of each pair; pairs of one place show the same ground."""
        return [record.place for record in self.records]

    @cached_property
    def geoboxes(self) -> list[GeoBox]:
        """Grid of each pair, without padding."""
        return [make_geobox(r.shape, Affine(*r.transform), r.crs) for r in self.records]

    @property
    def colors(self) -> list[tuple[int, int, int]]:
        """Colour of each class."""
        return [color for _, color in self.palette]

    @property
    def inner_source(self) -> Array:
        """The source without its margin."""
        return crop_margin(self.source, self.margin)

    def source_bands(self, names: Sequence[str], *, subject: str) -> Array:
        """The source in the channel order of a task, margin included.

        Raises:
            BandError: If it has no such band.
        """
        return _select_bands(
            self.source, self.manifest.source.bands, names, f"{subject} reads", "source"
        )

    def select_truth(self, names: Sequence[str], *, subject: str) -> Places:
        """The same places, with these bands of the truth alone.

        Raises:
            BandError: If the truth has no such band.
        """
        target = _select_bands(self.target, self.bands, names, f"{subject} writes", "truth")
        return replace(self, target=target, bands=tuple(names))

    def for_task(self, spec: TaskSpec) -> Places:
        """The places with the bands a task writes and the classes it knows.

        Raises:
            BandError: If the truth lacks a band.
            DomainError: If a map is in another style than the task knows, or the source has none
                of its classes.
        """
        subject = f"task '{spec.name}'"
        places = self.select_truth([band.name for band in spec.target], subject=subject)
        if spec.source_classes is not None:
            return places._match_source_classes(spec)
        known = spec.palette or spec.source_palette
        if known is None:
            return places
        side: Literal["source", "target"] = "target" if spec.palette else "source"
        palette = tuple((item.name, item.color) for item in known)
        if places.map_side == side and places.palette != palette:
            raise DomainError(
                f"{subject} knows the map in another style than these places are drawn in; "
                "give a configuration that draws it in the task's own"
            )
        if places.map_side == side or not len(places.source):
            return places
        colors = [color for _, color in palette]
        pixels = places.target
        if side == "source":
            pixels = crop_margin(
                places.source_bands([b.name for b in spec.source], subject=subject), self.margin
            )
        classes = nearest_class(pixels, colors)
        return replace(places, map_side=side, palette=palette, classes=classes)

    def _match_source_classes(self, spec: TaskSpec) -> Places:
        task_classes = spec.source_classes or ()
        classes = self.manifest.source.classes
        names = [item.name for item in task_classes]
        labels = class_index(classes, names)[self.inner_source[:, 0]] if classes else None
        if labels is None or (labels[self.valid] == BLANK).any():
            has = ", ".join(item.name for item in classes or ()) or "no classes"
            raise DomainError(
                f"task '{spec.name}' reads the classes {', '.join(names)}; the source has {has}; "
                "make classes of photographs with geotrans label"
            )
        palette = tuple((item.name, item.color) for item in task_classes)
        return replace(self, map_side="source", palette=palette, classes=labels)


def crop_margin(values: Array, margin: int) -> Array:
    """Values `(..., H, W)` without a margin."""
    stop = -margin or None
    return values[..., margin:stop, margin:stop]


def class_index(classes: Sequence[ClassRecord], names: Sequence[str]) -> UInt8Array:
    """Position among `names` of each class value, `(256,)`; `BLANK` for one that is not there."""
    index = np.full(256, BLANK, np.uint8)
    for item in classes:
        if item.name in names:
            index[item.value] = names.index(item.name)
    return index


def select_rgb(values: Array, bands: Sequence[str]) -> UInt8Array | None:
    """Red, green and blue of 8-bit values `(N, C, H, W)`, if they are among the bands."""
    if values.dtype != np.uint8 or not set(RGB) <= set(bands):
        return None
    return np.ascontiguousarray(values[:, [list(bands).index(name) for name in RGB]])


def draw_classes(classes: UInt8Array, colors: Sequence[tuple[int, int, int]]) -> UInt8Array:
    """Class indices `(N, H, W)` in their colours, `(N, 3, H, W)`; black where there is none."""
    table = np.zeros((256, 3), np.uint8)
    table[: len(colors)] = colors
    return np.ascontiguousarray(np.moveaxis(table[classes], -1, 1))


def _select_bands(
    values: Array, bands: Sequence[str], names: Sequence[str], what: str, where: str
) -> Array:
    if missing := [name for name in names if name not in bands]:
        raise BandError(
            f"{what} {', '.join(names)}; the {where} has {', '.join(bands)} and lacks "
            f"{', '.join(missing)}; give a configuration with these bands"
        )
    if tuple(names) == tuple(bands):
        return values
    return np.ascontiguousarray(values[:, [list(bands).index(name) for name in names]])


def _group_by_squares(records: Sequence[PatchRecord]) -> tuple[PatchRecord, ...]:
    """Windows of one scene as separate places, by the square of the scene they begin in.

    One place has no interval. Squares side by side resemble each other, so theirs is narrow.
    """
    if len({record.place for record in records}) > 1 or len(records) == 1:
        return tuple(records)
    edge = _SQUARE * max(max(record.window[2:]) for record in records)
    squares = [(r.window[1] // edge, r.window[0] // edge) for r in records]
    return tuple(
        record.model_copy(update={"place": f"{record.place}, square {row}, {col}"})
        for record, (row, col) in zip(records, squares, strict=True)
    )
