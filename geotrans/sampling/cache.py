"""The patch cache: pairs cut and put on one grid once, then read with numpy alone.

A cache is a folder with `manifest.json` and, per split, `<split>.source.npy`, `<split>.target.npy`,
`<split>.valid.npy` and, where a side is a drawn map, `<split>.classes.npy`.
"""

from __future__ import annotations

import json
import os
import shutil
import uuid
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, ValidationError

from geotrans.errors import GeotransError, OutputError, SamplingError

MANIFEST = "manifest.json"
Array = npt.NDArray[Any]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SideRecord(_Frozen):
    """What one side of the pairs holds.

    Attributes:
        bands: Names in channel order.
        dtype: Type of the stored value.
        units: `"dn"` for stored values.
    """

    bands: tuple[str, ...]
    dtype: str
    units: str = "dn"


class PatchRecord(_Frozen):
    """Where one patch comes from.

    Attributes:
        name: Scene of the grid, and its window if the patch is not the whole scene.
        place: Patches of one place show the same ground.
        group: What the place is seen under, as a year; empty if nothing.
        crs: Coordinate reference system as WKT or authority code; None if there is none.
        transform: Pixel to CRS, the six numbers a, b, c, d, e, f.
        shape: `(height, width)` of the part that is no padding, px.
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
        splits: Patches by split, in the order of the arrays.
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


@dataclass(frozen=True)
class PatchSet:
    """All patches of a split.

    Attributes:
        source: Stored values, shape `(N, C, H, W)`; `H` and `W` are larger by twice the margin
            asked for if this side was drawn.
        target: Stored values, the same.
        valid: True where both sides hold a value, shape `(N, H, W)`.
        classes: Index of the drawn map's class, shape `(N, H, W)`, 255 where it shows nothing;
            None if no side was drawn.
        records: Where each patch comes from.
    """

    source: Array
    target: Array
    valid: npt.NDArray[np.bool_]
    classes: npt.NDArray[np.uint8] | None
    records: tuple[PatchRecord, ...]

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
            where = ".".join(map(str, first["loc"]))
            raise SamplingError(
                f"{folder / MANIFEST} is damaged or of another version ({where}: {first['msg']}); "
                "write the cache again"
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
            mmap: Whether to leave the arrays on disk until they are read.

        Raises:
            SamplingError: If there is no such split or margin, or a file is missing or damaged.
        """
        manifest = self.manifest
        if split not in manifest.splits:
            found = ", ".join(manifest.splits)
            raise SamplingError(f"{self.path} has no split '{split}', but {found}")
        if not 0 <= margin <= manifest.margin:
            raise SamplingError(
                f"asked for a margin of {margin} px; {self.path} was drawn with {manifest.margin}; "
                "raise 'margin' of the drawn side and write the cache again"
            )
        names = ["source", "target", "valid", *(["classes"] if manifest.palette else [])]
        arrays = {name: self._array(split, name, mmap) for name in names}
        if manifest.drawn is not None:
            array, cut = arrays[manifest.drawn], manifest.margin - margin
            height, width = array.shape[-2:]
            arrays[manifest.drawn] = array[..., cut : height - cut, cut : width - cut]
        return PatchSet(
            source=arrays["source"],
            target=arrays["target"],
            valid=arrays["valid"],
            classes=arrays.get("classes"),
            records=manifest.splits[split],
        )

    def _array(self, split: str, name: str, mmap: bool) -> Array:
        path = self.path / f"{split}.{name}.npy"
        try:
            array: Array = np.load(path, mmap_mode="r" if mmap else None, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise SamplingError(
                f"{path} is missing or damaged ({error}); write the cache again"
            ) from error
        expected = len(self.manifest.splits[split])
        if len(array) != expected:
            raise SamplingError(
                f"{path} holds {len(array)} patches, its manifest {expected}; write the cache again"
            )
        return array


@dataclass(frozen=True)
class CachedPatch:
    """One patch on its way into a cache; all of a split have the same shapes."""

    record: PatchRecord
    source: Array
    target: Array
    valid: npt.NDArray[np.bool_]
    classes: npt.NDArray[np.uint8] | None = None


def write_cache(
    out: str | os.PathLike[str],
    manifest: Manifest,
    splits: Mapping[str, Iterable[CachedPatch]],
    *,
    overwrite: bool = False,
) -> PatchCache:
    """Write a cache, patch by patch; it appears whole or not at all.

    Args:
        out: Folder to make.
        manifest: What the cache holds; its `splits` are filled in here.
        splits: Patches by split, read as they are written.
        overwrite: Whether a cache already there gives way.

    Raises:
        OutputError: If the folder cannot be written, or is there and may not be replaced.
        SamplingError: If a split has no patch.
    """
    out = Path(out)
    check_free(out, overwrite=overwrite)
    run = uuid.uuid4().hex[:8]
    part, old = (out.with_name(f".{out.name}.{run}.{end}") for end in ("part", "old"))
    try:
        part.mkdir()
        records = {}
        for split, patches in splits.items():
            records[split] = _write_split(part, split, patches)
        whole = manifest.model_copy(update={"splits": records})
        text = json.dumps(whole.model_dump(mode="json"), indent=1)
        (part / MANIFEST).write_text(text + "\n", encoding="utf-8")
        if out.exists():
            out.rename(old)
        part.rename(out)
    except GeotransError:
        raise
    except OSError as error:
        raise OutputError(f"cannot write patch cache {out}: {error}") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)
    return PatchCache(out, whole)


def check_free(out: Path, *, overwrite: bool) -> None:
    """Refuse a folder that a cache may not be written to.

    Raises:
        OutputError: If its parent is missing, or it is there and not to be replaced, or it is
            there and is no patch cache.
    """
    if not out.parent.is_dir():
        raise OutputError(f"cannot write {out}: folder {out.parent} does not exist; make it first")
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not (out / MANIFEST).is_file():
        raise OutputError(f"{out} exists and is no patch cache; give another folder")
    if not overwrite:
        raise OutputError(f"{out} already holds a patch cache; add --overwrite to replace it")


def _write_split(
    folder: Path, split: str, patches: Iterable[CachedPatch]
) -> tuple[PatchRecord, ...]:
    records = []
    with ExitStack() as stack:
        files: dict[str, _GrowingArray] = {}
        for patch in patches:
            arrays = {"source": patch.source, "target": patch.target, "valid": patch.valid}
            if patch.classes is not None:
                arrays["classes"] = patch.classes
            for name, array in arrays.items():
                if name not in files:
                    path = folder / f"{split}.{name}.npy"
                    files[name] = stack.enter_context(_GrowingArray(path, array))
                files[name].append(array)
            records.append(patch.record)
    if not records:
        raise SamplingError(f"split '{split}' holds no patch; check its folder and 'min_valid'")
    return tuple(records)


class _GrowingArray:
    """An `.npy` file that grows along its first axis."""

    def __init__(self, path: Path, like: Array) -> None:
        self._like = like
        self._count = 0
        self._file: BinaryIO = path.open("wb")
        self._header_size = self._write_header()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with self._file:
            self._file.seek(0)
            # numpy pads the header so that the first axis can grow in place.
            size = self._write_header()
            assert size == self._header_size

    def append(self, array: Array) -> None:
        assert (array.shape, array.dtype) == (self._like.shape, self._like.dtype)
        self._file.write(np.ascontiguousarray(array).data)
        self._count += 1

    def _write_header(self) -> int:
        header = {
            "descr": np.lib.format.dtype_to_descr(self._like.dtype),
            "fortran_order": False,
            "shape": (self._count, *self._like.shape),
        }
        np.lib.format.write_array_header_1_0(self._file, header)
        return self._file.tell()
