"""Writing a patch cache, patch by patch, so that it appears complete or not at all."""

from __future__ import annotations

import json
import os
import shutil
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Self

import numpy as np
import numpy.typing as npt

from geotrans.errors import GeotransError, OutputError, SamplingError, option
from geotrans.sampling.cache import MANIFEST, Array, Manifest, PatchCache, PatchRecord


@dataclass(frozen=True)
class CachedPatch:
    """One patch to be written to a cache; all of a split have the same shapes."""

    record: PatchRecord
    source: Array
    target: Array
    valid: npt.NDArray[np.bool_]
    classes: npt.NDArray[np.uint8] | None = None


@dataclass(frozen=True)
class CachedWindow:
    """One patch of one domain to be written to a cache; all have the same shapes."""

    record: PatchRecord
    values: Array
    valid: npt.NDArray[np.bool_]


def write_cache(
    out: str | os.PathLike[str],
    manifest: Manifest,
    splits: Mapping[str, Iterable[CachedPatch]],
    *,
    unpaired: Mapping[str, tuple[Iterable[CachedWindow], Iterable[CachedWindow]]] | None = None,
    overwrite: bool = False,
) -> PatchCache:
    """Write a cache, patch by patch; it appears complete or not at all.

    Args:
        out: Folder to make.
        manifest: What the cache holds; its `splits` are filled in here.
        splits: Patches by split, read as they are written.
        unpaired: Patches of source and target by unpaired split, the same.
        overwrite: Whether an existing cache may be replaced.

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
        targets = {}
        for split, (source, target) in (unpaired or {}).items():
            records[split] = _write_domain(part, split, ("source", "valid"), source)
            targets[split] = _write_domain(part, split, ("target", "target_valid"), target)
        whole = manifest.model_copy(update={"splits": records, "targets": targets})
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
    """Check that a cache may be written to a folder.

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
        raise OutputError(
            f"{out} already holds a patch cache; add {option('overwrite', True)} to replace it"
        )


def _write_split(
    folder: Path, split: str, patches: Iterable[CachedPatch]
) -> tuple[PatchRecord, ...]:
    def iter_arrays() -> Iterator[tuple[PatchRecord, dict[str, Array]]]:
        for patch in patches:
            arrays = {"source": patch.source, "target": patch.target, "valid": patch.valid}
            if patch.classes is not None:
                arrays["classes"] = patch.classes
            yield patch.record, arrays

    return _write_arrays(folder, split, iter_arrays())


def _write_domain(
    folder: Path, split: str, names: tuple[str, str], patches: Iterable[CachedWindow]
) -> tuple[PatchRecord, ...]:
    arrays = ((p.record, dict(zip(names, (p.values, p.valid), strict=True))) for p in patches)
    return _write_arrays(folder, split, arrays)


def _write_arrays(
    folder: Path, split: str, patches: Iterable[tuple[PatchRecord, Mapping[str, Array]]]
) -> tuple[PatchRecord, ...]:
    records = []
    with ExitStack() as stack:
        files: dict[str, _GrowingArray] = {}
        for record, arrays in patches:
            for name, array in arrays.items():
                if name not in files:
                    path = folder / f"{split}.{name}.npy"
                    files[name] = stack.enter_context(_GrowingArray(path, array))
                files[name].append(array)
            records.append(record)
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
