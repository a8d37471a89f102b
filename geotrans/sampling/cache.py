"""The patch cache: pairs cut and resampled to one grid once, then read with numpy alone.

A cache is a folder with `manifest.json` and, per split, `<split>.source.npy`, `<split>.target.npy`,
`<split>.valid.npy` and, where a side is a drawn map, `<split>.classes.npy`. Of an unpaired split
the target has windows of its own, and `<split>.target_valid.npy`.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, ValidationError

from geotrans.errors import SamplingError

MANIFEST = "manifest.json"
Array = npt.NDArray[Any]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ClassRecord(_Frozen):
    """One class of a side: its stored value, name and colour."""

    value: int
    name: str
    color: tuple[int, int, int]


class SideRecord(_Frozen):
    """What one side of the pairs holds.

    Attributes:
        bands: Names in channel order.
        dtype: Type of the stored value.
        units: `"dn"` for stored values.
        classes: Classes, where the side is one band of class values.
        value_range: Values that become -1 and 1; None leaves it to the type.
    """

    bands: tuple[str, ...]
    dtype: str
    units: str = "dn"
    classes: tuple[ClassRecord, ...] | None = None
    value_range: tuple[float, float] | None = None


class PatchRecord(_Frozen):
    """Origin of one patch.

    Attributes:
        name: Scene of the grid, and its window if the patch is not the whole scene.
        place: Patches of one place show the same ground.
        group: Condition of the acquisition, such as its year; empty if none.
        crs: Coordinate reference system as WKT or authority code; None if there is none.
        transform: Pixel to CRS, the six numbers a, b, c, d, e, f.
        shape: `(height, width)` without padding, px.
        window: `(col_off, row_off, width, height)` in the scene of the grid, px.
    """

    name: str
    place: str
    group: str = ""
    crs: str | None
    transform: tuple[float, float, float, float, float, float]
    shape: tuple[int, int]
    window: tuple[int, int, int, int]


class Manifest(_Frozen):
    """What a cache holds.

    Attributes:
        source: Bands of the source.
        target: Bands of the target.
        gsd_m: Smallest and largest ground sampling distance, m; None without a CRS.
        margin: Map beyond each side of a patch, px, on the drawn side.
        drawn: Side that was drawn from vectors.
        style: The style a map was drawn in.
        palette: Name and colour of each class, in the order of the indices in `classes`.
        config: The configuration the cache was cut by.
        fingerprint: Digest of the configuration and of the files read.
        splits: Patches by split, in the order of the arrays; of an unpaired one, the source's.
        targets: The target's patches of each unpaired split.
    """

    format: Literal["geotrans-patches"] = "geotrans-patches"
    version: Literal[1] = 1
    source: SideRecord
    target: SideRecord
    gsd_m: tuple[float, float] | None = None
    margin: int = 0
    drawn: Literal["source", "target"] | None = None
    style: dict[str, Any] | None = None
    palette: tuple[tuple[str, tuple[int, int, int]], ...] | None = None
    config: dict[str, Any] = {}
    fingerprint: str = ""
    splits: dict[str, tuple[PatchRecord, ...]] = {}
    targets: dict[str, tuple[PatchRecord, ...]] = {}


@dataclass(frozen=True)
class PatchSet:
    """All patches of a split.

    Attributes:
        source: Stored values, shape `(N, C, H, W)`; `H` and `W` are larger by twice the margin
            asked for if this side was drawn.
        target: Stored values, the same; of an unpaired split another number of patches.
        valid: True where both sides hold a value, shape `(N, H, W)`; of an unpaired split, where
            the source does.
        classes: Index of the drawn map's class, shape `(N, H, W)`, 255 where it shows nothing;
            None if no side was drawn.
        records: Where each patch comes from; of an unpaired split, the source's.
        target_valid: Where the target of an unpaired split holds a value; None of pairs.
        target_records: Where its patches come from.
    """

    source: Array
    target: Array
    valid: npt.NDArray[np.bool_]
    classes: npt.NDArray[np.uint8] | None
    records: tuple[PatchRecord, ...]
    target_valid: npt.NDArray[np.bool_] | None = None
    target_records: tuple[PatchRecord, ...] = ()

    def __len__(self) -> int:
        return len(self.records)

    @property
    def places(self) -> list[str]:
        """Place of each patch."""
        return [record.place for record in self.records]

    @property
    def names(self) -> list[str]:
        """Name of each patch."""
        return [record.name for record in self.records]

    @property
    def groups(self) -> list[str]:
        """Group of each patch, as its year."""
        return [record.group for record in self.records]


class PatchCache:
    """A cache on disk.

    Attributes:
        path: Its folder.
        manifest: What it holds.
    """

    def __init__(self, path: Path, manifest: Manifest) -> None:
        self.path = path
        self.manifest = manifest

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Self:
        """The cache in a folder.

        Raises:
            SamplingError: If the folder holds no whole cache.
        """
        folder = Path(path)
        try:
            text = (folder / MANIFEST).read_text(encoding="utf-8")
            manifest = Manifest.model_validate_json(text)
        except OSError as error:
            raise SamplingError(
                f"{folder} is no patch cache: {error.strerror} ({MANIFEST}); "
                "write one with 'geotrans tile CONFIG.yaml -o FOLDER'"
            ) from error
        except ValidationError as error:
            first = error.errors()[0]
            location = ".".join(map(str, first["loc"]))
            raise SamplingError(
                f"{folder / MANIFEST} is damaged or of another version "
                f"({location}: {first['msg']}); write the cache again"
            ) from error
        return cls(folder, manifest)

    @property
    def splits(self) -> tuple[str, ...]:
        """Names of the splits."""
        return tuple(self.manifest.splits)

    def load(self, split: str, *, margin: int = 0, mmap: bool = False) -> PatchSet:
        """All patches of a split.

        Args:
            split: Its name.
            margin: Map to keep beyond each side of a patch, px, on the drawn side.
            mmap: Whether to memory-map the arrays instead of reading them.

        Raises:
            SamplingError: If there is no such split or margin, or a file is missing or damaged.
        """
        manifest = self.manifest
        if split not in manifest.splits:
            names_of_splits = ", ".join(manifest.splits)
            raise SamplingError(f"{self.path} has no split '{split}', but {names_of_splits}")
        if not 0 <= margin <= manifest.margin:
            raise SamplingError(
                f"asked for a margin of {margin} px; {self.path} was drawn with {manifest.margin}; "
                "raise 'margin' of the drawn side and write the cache again"
            )
        is_unpaired = split in manifest.targets
        names = ["source", "target", "valid", *(["classes"] if manifest.palette else [])]
        names += ["target_valid"] if is_unpaired else []
        arrays = {name: self._load_array(split, name, mmap) for name in names}
        if manifest.drawn is not None:
            array, excess = arrays[manifest.drawn], manifest.margin - margin
            height, width = array.shape[-2:]
            arrays[manifest.drawn] = array[..., excess : height - excess, excess : width - excess]
        return PatchSet(
            source=arrays["source"],
            target=arrays["target"],
            valid=arrays["valid"],
            classes=arrays.get("classes"),
            records=manifest.splits[split],
            target_valid=arrays.get("target_valid"),
            target_records=manifest.targets.get(split, ()),
        )

    def _load_array(self, split: str, name: str, mmap: bool) -> Array:
        path = self.path / f"{split}.{name}.npy"
        try:
            array: Array = np.load(path, mmap_mode="r" if mmap else None, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise SamplingError(
                f"{path} is missing or damaged ({error}); write the cache again"
            ) from error
        side = self.manifest.targets if name.startswith("target") else {}
        expected = len(side.get(split, self.manifest.splits[split]))
        if len(array) != expected:
            raise SamplingError(
                f"{path} holds {len(array)} patches, its manifest {expected}; write the cache again"
            )
        return array
