"""Scenes read through GDAL: any raster format, by path, URL or GDAL name."""

from __future__ import annotations

import logging
import os
import threading
import time
import uuid
import warnings
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt
import rasterio
from affine import Affine
from odc.geo.geobox import GeoBox
from rasterio.enums import ColorInterp, MaskFlags, Resampling
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.io import DatasetReader
from rasterio.windows import Window as RasterioWindow

from geotrans.errors import SceneError
from geotrans.grid import Window
from geotrans.scene.access.datasets import acquire, discard, release
from geotrans.scene.access.identity import SIDECARS, SourceIdentity, identify_files, identify_url
from geotrans.scene.access.stores import identify_object, is_object
from geotrans.scene.access.urls import (
    describe_expiry,
    gdal_env,
    is_final,
    is_remote,
    is_url,
    redact,
    retry_pauses_s,
    strip_secrets,
)
from geotrans.scene.bands import find_common_name
from geotrans.scene.base import Band, Patch, Scene, SceneInfo
from geotrans.scene.crs import as_crs
from geotrans.scene.valid import find_valid

_log = logging.getLogger(__name__)

# `warnings.catch_warnings` swaps a process-wide list, so two threads must not do it at once.
_open_lock = threading.Lock()


class RasterScene(Scene):
    """A scene behind a rasterio dataset, opened once for each thread that reads it."""

    def __init__(self, uri: str) -> None:
        self._key = uuid.uuid4().hex
        _check_path(uri)
        # A worker of a cluster may be in another directory.
        self._path = os.path.abspath(uri) if os.path.exists(uri) else uri
        with gdal_env(uri):
            dataset = self._acquire(uri)
            self._nodata = dict(zip(dataset.indexes, dataset.nodatavals, strict=True))
            self._mask_flags = dict(zip(dataset.indexes, dataset.mask_flag_enums, strict=True))
            self._alpha_index = next(
                (i for i, c in _get_colorinterps(dataset).items() if c == ColorInterp.alpha), None
            )
            self._files: list[str] = list(dataset.files)
            super().__init__(_read_info(uri, dataset))
        self._size = _get_size(self._path)

    @property
    def files(self) -> tuple[str, ...]:
        """The file, and those it refers to; not the sidecars that viewers write."""
        local = tuple(f for f in self._files if Path(f).is_file() and not f.endswith(SIDECARS))
        return local if local and not is_remote(self.uri) else (self.uri,)

    @cached_property
    def identity(self) -> SourceIdentity:
        """Hash of the local file or files; etag, or size and time, of a remote one."""
        if self.uri.startswith(("http://", "https://", "/vsicurl/")):
            return identify_url(self.uri.removeprefix("/vsicurl/"))
        if is_object(self.uri):
            return identify_object(self.uri)
        files = [f for f in self._files if Path(f).is_file()]
        if is_remote(self.uri) or not files:
            return SourceIdentity("uri", self.public_uri)
        return identify_files(files)

    def verify(self) -> None:
        """Check that the file here has the size it had where it was opened, and can be read."""
        n_bytes = _get_size(self._path)
        if n_bytes is not None and n_bytes != self._size:
            raise SceneError(
                f"{self._path} has {n_bytes} bytes here and {self._size} where it was opened; "
                "give every worker the same file"
            )
        super().verify()

    def close(self) -> None:
        """Close the files of every thread; a later read opens them again."""
        release(self._key)

    def _acquire(self, uri: str | None = None) -> DatasetReader:
        path = uri or self._path
        return acquire(self._key, lambda: _open(path))

    def _read(self, window: Window, bands: tuple[Band, ...], out_shape: tuple[int, int]) -> Patch:
        is_averaged = out_shape != window.shape and self.colormap is None
        resampling = Resampling.average if is_averaged else Resampling.nearest
        indexes = [band.index for band in bands]
        data = np.empty((len(bands), *out_shape), np.result_type(*(b.dtype for b in bands)))
        part = RasterioWindow(window.col_off, window.row_off, window.width, window.height)
        pauses_s = retry_pauses_s(self._path)
        is_retry = False
        while True:
            try:
                with gdal_env(self._path, afresh=is_retry):
                    dataset = self._acquire()
                    dataset.read(indexes, out=data, window=part, resampling=resampling)
                    valid = find_valid(data, [self._nodata[i] for i in indexes])
                    for mask in self._read_masks(
                        dataset, indexes, window=part, out_shape=out_shape
                    ):
                        valid &= mask != 0
                return Patch(data, valid)
            except (RasterioError, OSError) as error:
                reason = _get_reason(error, self._path)
                pause_s = None if is_final(reason) else next(pauses_s, None)
                if pause_s is None:
                    hint = describe_expiry(self._path) or "; the file may be truncated or damaged"
                    raise SceneError(
                        f"{self.public_uri} cannot be read at columns {window.col_off} to "
                        f"{window.col_end}, rows {window.row_off} to {window.row_end}: "
                        f"{reason}{hint}"
                    ) from error
                _log.debug("%s: %s; trying again", self.public_uri, reason)
            # This thread's dataset may have cached a broken response.
            discard(self._key)
            time.sleep(pause_s)
            is_retry = True

    def _read_masks(
        self, dataset: DatasetReader, indexes: list[int], **options: Any
    ) -> list[npt.NDArray[Any]]:
        """Alpha and GDAL's masks of the bands; nodata values are compared elsewhere."""
        masks = []
        if self._alpha_index is not None:
            masks.append(dataset.read(self._alpha_index, **options))
        masked = [
            i
            for i in indexes
            if MaskFlags.all_valid not in (flags := self._mask_flags[i])
            and MaskFlags.alpha not in flags
            and (MaskFlags.nodata not in flags or MaskFlags.per_dataset in flags)
        ]
        shared = [i for i in masked if MaskFlags.per_dataset in self._mask_flags[i]]
        to_read = [i for i in masked if i not in shared] + shared[:1]
        masks.extend(dataset.read_masks(i, **options) for i in to_read)
        return masks


def _check_path(uri: str) -> None:
    """Raise for a local path that cannot be read, with a clearer message than GDAL's."""
    if is_url(uri):
        return
    path = Path(uri)
    if any("\udc80" <= character <= "\udcff" for character in uri):  # Bytes that are no letters.
        escaped = os.fsencode(uri).decode("utf-8", "backslashreplace")
        raise SceneError(f"{escaped}: its name is no UTF-8, which GDAL needs; rename the file")
    if not path.exists():
        prefix = uri.partition(":")[0]
        if ":" in uri and prefix.isupper():  # A GDAL name such as NETCDF:file.nc:variable.
            return
        raise SceneError(f"{uri}: no such file")
    if path.is_file() and path.stat().st_size == 0:
        raise SceneError(f"{uri} is empty (0 bytes)")


def _get_size(path: str) -> int | None:
    """Size of a local file; None for anything else."""
    return os.path.getsize(path) if os.path.isfile(path) else None


def _open(uri: str) -> DatasetReader:
    for pause_s in (*retry_pauses_s(uri), None):
        try:
            with _open_lock, warnings.catch_warnings():
                warnings.simplefilter("ignore", NotGeoreferencedWarning)
                return rasterio.open(uri, sharing=False)
        except (RasterioError, OSError) as error:
            safe_uri, reason = strip_secrets(uri), _get_reason(error, uri)
            if not is_url(uri) and Path(uri).is_dir():
                raise SceneError(f"{safe_uri} is a directory; give one raster in it") from error
            if pause_s is None or is_final(reason):
                raise SceneError(
                    f"{safe_uri} cannot be opened as a raster: {reason}{describe_expiry(uri)}"
                ) from error
        time.sleep(pause_s)
    raise AssertionError("unreachable")


def _get_reason(error: BaseException, uri: str) -> str:
    """GDAL's message in one line, without secrets."""
    return redact(" ".join(str(error.__cause__ or error).split()), uri)


def _get_colorinterps(dataset: DatasetReader) -> dict[int, ColorInterp]:
    return dict(zip(dataset.indexes, dataset.colorinterp, strict=True))


def _read_info(uri: str, dataset: DatasetReader) -> SceneInfo:
    safe_uri = strip_secrets(uri)
    if dataset.count == 0:
        subdatasets = dataset.subdatasets
        hint = (
            f"; open one of its {len(subdatasets)} layers, such as {subdatasets[0]}"
            if subdatasets
            else ""
        )
        raise SceneError(f"{safe_uri} holds no raster bands{hint}")
    bands = _read_bands(dataset)
    if not bands:
        raise SceneError(f"{safe_uri} holds an alpha band and nothing else")
    dtype = np.result_type(*(band.dtype for band in bands))
    if np.issubdtype(dtype, np.complexfloating):
        raise SceneError(f"{safe_uri} holds complex values; save their magnitude or phase first")
    geobox, notes = _read_geobox(dataset)
    flags = {flag for band in bands for flag in dataset.mask_flag_enums[band.index - 1]}
    has_palette = len(bands) == 1 and bands[0].colorinterp == "palette"
    return SceneInfo(
        uri=uri,
        name=_get_stem(uri),
        geobox=geobox,
        bands=bands,
        dtype=dtype,
        nodata=dataset.nodatavals[bands[0].index - 1],
        maskable=flags != {MaskFlags.all_valid}
        or len(bands) < dataset.count  # GDAL makes no mask of an alpha band of signed values.
        or np.issubdtype(dtype, np.inexact),
        colormap=dataset.colormap(bands[0].index) if has_palette else None,
        tags=dataset.tags(),
        crs_wkt=dataset.crs.to_wkt() if dataset.crs else None,
        notes=notes,
    )


def _read_bands(dataset: DatasetReader) -> tuple[Band, ...]:
    colorinterps = _get_colorinterps(dataset)
    names = {i: name or None for i, name in zip(dataset.indexes, dataset.descriptions, strict=True)}
    return tuple(
        Band(
            index=i,
            name=names[i],
            common_name=dataset.tags(i).get("COMMON_NAME")
            or find_common_name(names[i], [n for n in names.values() if n]),
            colorinterp=colorinterps[i].name,
            dtype=np.dtype(dataset.dtypes[i - 1]),
            scale=dataset.scales[i - 1],
            offset=dataset.offsets[i - 1],
            units=dataset.units[i - 1] or None,
        )
        for i in dataset.indexes
        if colorinterps[i] != ColorInterp.alpha
    )


def _read_geobox(dataset: DatasetReader) -> tuple[GeoBox, tuple[str, ...]]:
    """The grid of a dataset, and notes on what is unusual about it."""
    notes = []
    transform, crs = dataset.transform, None
    if abs(transform.determinant) == 0:
        notes.append("its transform is not invertible and is left out: pixels are counted instead")
        transform = Affine.identity()
    if dataset.crs:
        try:
            crs = as_crs(dataset.crs)
        except ValueError as error:
            notes.append(f"its CRS is not understood and is left out ({error})")
    elif dataset.gcps[0] or dataset.rpcs:
        notes.append(
            "no CRS: it is located by control points or a camera model only, which the product "
            "does not carry over; orthorectify it first if the product must lie on a map"
        )
    else:
        notes.append("no CRS: the product has none either, and the pixel size cannot be checked")
    if transform.b or transform.d:
        notes.append("rotated grid: translated on its own pixels, never warped")
    return GeoBox(dataset.shape, transform, crs), tuple(notes)


def _get_stem(uri: str) -> str:
    path = uri.partition("?")[0] if is_url(uri) else uri
    return PurePosixPath(path.rstrip("/")).stem or path
