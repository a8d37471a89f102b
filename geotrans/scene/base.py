"""A scene: one georeferenced raster, read window by window, wherever its pixels come from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from odc.geo.geobox import GeoBox

from geotrans.errors import BandError, SceneError
from geotrans.grid import Window
from geotrans.scene.access.identity import SourceIdentity


@dataclass(frozen=True)
class Band:
    """One layer of a scene.

    Attributes:
        index: Position in the file, counted from 1.
        name: Its description, if it has one.
        common_name: STAC common name, where the file or the description gives one.
        colorinterp: GDAL colour interpretation, such as `"red"` or `"undefined"`.
        dtype: Type of the stored value.
        scale: Factor from stored to physical value.
        offset: Added after scaling.
        units: Unit of the physical value, if the file says.
    """

    index: int
    name: str | None
    common_name: str | None
    colorinterp: str
    dtype: np.dtype[Any]
    scale: float = 1.0
    offset: float = 0.0
    units: str | None = None


@dataclass(frozen=True)
class Patch:
    """Pixels of a window.

    Attributes:
        data: Stored values, shape `(C, H, W)`.
        valid: Where every one of the bands holds a measurement, bool, shape `(H, W)`.
    """

    data: npt.NDArray[Any]
    valid: npt.NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class SceneInfo:
    """Metadata of a scene, known before a pixel is read.

    Attributes:
        uri: Where it was opened from, as it was given.
        name: Short name for messages and default outputs: the stem of the file.
        geobox: Pixel grid: crs, transform, shape. A scene without georeferencing lies on its own
            pixels.
        bands: Layers that hold measurements; an alpha band is not among them.
        dtype: Type that holds the values of every band.
        nodata: Value that marks a pixel as not measured, if there is one.
        maskable: Whether a pixel can be invalid at all.
        colormap: Colour `(red, green, blue, alpha)` of each value of a one-band palette raster.
        tags: Tags of the default domain.
        crs_wkt: Coordinate reference system as WKT, as the file states it.
        notes: Warnings for the user about the scene: no CRS, a rotated grid.
    """

    uri: str
    name: str
    geobox: GeoBox
    bands: tuple[Band, ...]
    dtype: np.dtype[Any]
    nodata: float | None = None
    maskable: bool = True
    colormap: Mapping[int, tuple[int, int, int, int]] | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    crs_wkt: str | None = None
    notes: tuple[str, ...] = ()


class Scene(ABC):
    """One georeferenced raster.

    A scene is picklable, may be read by many threads at once, and is a context manager. Its pixels
    are read as they are stored; `bands` describes what they mean.
    """

    def __init__(self, info: SceneInfo) -> None:
        self.info = info

    @property
    def uri(self) -> str:
        """Where the scene was opened from, as it was given."""
        return self.info.uri

    @property
    def public_uri(self) -> str:
        """`uri` without user names, passwords and signatures, fit to be written into a product."""
        from geotrans.scene.access.urls import strip_secrets

        return strip_secrets(self.info.uri)

    @property
    def name(self) -> str:
        """Short name: the stem of the file."""
        return self.info.name

    @property
    def geobox(self) -> GeoBox:
        """Pixel grid: crs, transform, shape."""
        return self.info.geobox

    @property
    def shape(self) -> tuple[int, int]:
        """`(height, width)`, px."""
        height, width = self.info.geobox.shape
        return height, width

    @property
    def bands(self) -> tuple[Band, ...]:
        """Layers that hold measurements."""
        return self.info.bands

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type that holds the values of every band."""
        return self.info.dtype

    @property
    def nodata(self) -> float | None:
        """Value that marks a pixel as not measured."""
        return self.info.nodata

    @property
    def maskable(self) -> bool:
        """Whether a pixel can be invalid at all."""
        return self.info.maskable

    @property
    def colormap(self) -> Mapping[int, tuple[int, int, int, int]] | None:
        """Colour of each value of a one-band palette raster."""
        return self.info.colormap

    @property
    def tags(self) -> Mapping[str, str]:
        """Tags of the default domain."""
        return self.info.tags

    @property
    def crs_wkt(self) -> str | None:
        """Coordinate reference system as WKT, as the file states it."""
        return self.info.crs_wkt

    @property
    def notes(self) -> tuple[str, ...]:
        """Warnings for the user about the scene."""
        return self.info.notes

    @property
    def files(self) -> tuple[str, ...]:
        """Files and URLs that hold its pixels."""
        return (self.info.uri,)

    @property
    @abstractmethod
    def identity(self) -> SourceIdentity:
        """Which pixels these are, so that a rerun knows whether they changed."""

    @abstractmethod
    def _read(
        self, window: Window, bands: tuple[Band, ...], out_shape: tuple[int, int]
    ) -> Patch: ...

    def read(
        self,
        window: Window,
        bands: Sequence[int] | None = None,
        *,
        out_shape: tuple[int, int] | None = None,
    ) -> Patch:
        """Pixels of a window inside the scene.

        Args:
            window: Pixels to read.
            bands: Positions of the bands, counted from 1, in the order wanted; all unless given.
            out_shape: Shape `(height, width)` they are decimated to; their own unless given.

        Returns:
            Stored values and where all of these bands are valid.

        Raises:
            BandError: If there is no such band.
            SceneError: If the window leaves the scene or cannot be read.
        """
        if window.is_empty or not Window.whole(self.shape).contains(window):
            raise SceneError(
                f"asked {self.name} for {window}; it holds {self.shape[1]} x {self.shape[0]} px"
            )
        return self._read(window, self.select(bands), out_shape or window.shape)

    def overview(
        self, max_px: int, bands: Sequence[int] | None = None, *, window: Window | None = None
    ) -> Patch:
        """The scene, or a window of it, decimated so that its longer edge is at most `max_px`."""
        window = Window.whole(self.shape) if window is None else window
        factor = max(1.0, max(window.shape) / max_px)
        out_shape = max(1, round(window.height / factor)), max(1, round(window.width / factor))
        return self.read(window, bands, out_shape=out_shape)

    def verify(self) -> None:
        """Check, in a process the scene was sent to, that it is the same here and can be read.

        Raises:
            SceneError: If it is not.
        """
        self.read(Window(0, 0, 1, 1))

    def select(self, bands: Sequence[int] | None = None) -> tuple[Band, ...]:
        """The bands at these positions, counted from 1; all unless given."""
        if bands is None:
            return self.bands
        by_index = {band.index: band for band in self.bands}
        missing = [index for index in bands if index not in by_index]
        if missing or not bands:
            raise BandError(
                f"asked {self.name} for band {', '.join(map(str, missing)) or 'none'}; "
                f"it has {', '.join(map(str, by_index))}"
            )
        return tuple(by_index[index] for index in bands)

    def close(self) -> None:  # noqa: B027  most scenes hold nothing open
        """Close open files; a later read opens them again."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        height, width = self.shape
        crs = self.geobox.crs or "no CRS"
        return f"<{type(self).__name__} {self.name}: {len(self.bands)} x {height} x {width}, {crs}>"


class SceneView(Scene):
    """A scene derived from another, with the files and the identity of that scene.

    Args:
        scene: The scene beneath.
        info: Metadata of the view.
    """

    def __init__(self, scene: Scene, info: SceneInfo) -> None:
        super().__init__(info)
        self.scene = scene

    @property
    def files(self) -> tuple[str, ...]:
        """Files and URLs that hold the pixels beneath."""
        return self.scene.files

    @property
    def identity(self) -> SourceIdentity:
        """Identity of the scene beneath; views that depend on more extend it."""
        return self.scene.identity

    def verify(self) -> None:
        """Check that the scene beneath is the same here and can be read."""
        self.scene.verify()

    def close(self) -> None:
        """Close the scene beneath."""
        self.scene.close()
