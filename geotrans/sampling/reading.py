"""Reading both sides of a pair on one grid, window by window."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt
from odc.geo.geobox import GeoBox

from geotrans.errors import BandError, SamplingError
from geotrans.grid import Window, window_geobox
from geotrans.scene.bands import match_bands
from geotrans.scene.base import Band, Scene
from geotrans.scene.padding import FILL_RADIUS, fill_gaps, read_padded
from geotrans.scene.radiometry import as_dtype, to_units
from geotrans.scene.views.classes import ClassValue, find_values, read_class_values
from geotrans.scene.views.warped import warp_to_grid

if TYPE_CHECKING:
    from geotrans.maps.renderer import Drawing

Array = npt.NDArray[Any]
Bools = npt.NDArray[np.bool_]


class Renderer(Protocol):
    """Draws a map on any grid of one CRS, such as `geotrans.maps.renderer.MapRenderer`."""

    @property
    def palette(self) -> Sequence[tuple[str, tuple[int, int, int]]]:
        """Name and colour of each class, by class index."""

    def draw(self, geobox: GeoBox) -> Drawing:
        """Draw the map as RGB, with its valid pixels."""

    def draw_classes(self, geobox: GeoBox) -> npt.NDArray[np.uint8]:
        """Class index of each pixel, shape `(H, W)`; 255 where the map shows nothing."""


@dataclass(frozen=True)
class PairPatch:
    """One window of both sides.

    Attributes:
        source: Values without holes, shape `(C, H, W)`.
        target: The same of the target.
        valid: Where both sides hold a measurement inside the scene, shape `(H, W)`.
        classes: Class index of the drawn side, shape `(H, W)`, 255 where it shows nothing;
            None if no side is drawn.
    """

    source: Array
    target: Array
    valid: Bools
    classes: npt.NDArray[np.uint8] | None


@dataclass(frozen=True)
class SceneSide:
    """A side that is read from a scene, on any grid.

    Attributes:
        scene: Where the pixels are.
        bands: Its bands that are read, in channel order.
        names: Names of the channels.
        units: `"dn"`, or the unit that scale and offset lead to.
        mix: Factor of each of `bands` in each of `names`; None takes them as they are.
    """

    scene: Scene
    bands: tuple[Band, ...]
    names: tuple[str, ...]
    units: str = "dn"
    mix: tuple[tuple[float, ...], ...] | None = None

    @classmethod
    def open(
        cls,
        scene: Scene,
        geobox: GeoBox,
        *,
        wanted: Sequence[str | int] | None = None,
        resampling: str = "bilinear",
        units: str = "dn",
        derive: Mapping[str, Mapping[str, float]] | None = None,
        option: str = "bands",
    ) -> SceneSide:
        """A scene on a grid.

        Args:
            scene: What to read.
            geobox: Grid to read it on.
            wanted: Names, or numbers from 1, in channel order; None takes all bands.
            resampling: How it gets onto the grid.
            units: `"dn"` for stored values, else a physical unit.
            derive: Bands that are sums of others: factor by band, by name of the new band.
            option: Name of the option that gave `wanted`, for messages.

        Raises:
            BandError: If the scene has no such band.
        """
        if derive:
            read = partial(
                cls.open, scene, geobox, resampling=resampling, units=units, option=option
            )
            return _open_derived(read, wanted, derive)
        bands = scene.select(None if wanted is None else _find_positions(scene, wanted, option))
        names = [band.name or band.common_name or f"band{band.index}" for band in bands]
        for i, word in enumerate(wanted or ()):
            if isinstance(word, str):
                names[i] = word
        return cls(warp_to_grid(scene, geobox, resampling=resampling), bands, tuple(names), units)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values."""
        stored = np.result_type(*(band.dtype for band in self.bands))
        return stored if self.units == "dn" else np.dtype(np.float32)

    def read(self, window: Window) -> tuple[Array, Bools, None]:
        """Values without holes, which of them are valid, and no classes."""
        patch = read_padded(self.scene, window, [band.index for band in self.bands])
        data = patch.data
        if self.units != "dn":
            requests = [_BandRequest(str(band.name), units=self.units) for band in self.bands]
            data = to_units(data, self.bands, requests)
        return data if self.mix is None else self._mix_bands(data, self.mix), patch.valid, None

    def _mix_bands(self, data: Array, mix: Sequence[Sequence[float]]) -> Array:
        """Sums of bands `(C, H, W)`, rounded to what the type can hold."""
        mixed = np.einsum("kc,chw->khw", np.asarray(mix), data.astype(np.float64))
        return as_dtype(mixed, self.dtype)


def _open_derived(
    read: Callable[..., SceneSide],
    wanted: Sequence[str | int] | None,
    derive: Mapping[str, Mapping[str, float]],
) -> SceneSide:
    """A side some of whose bands are sums of others; `read(wanted=...)` gives one without."""
    requested = [*read().names, *derive] if wanted is None else list(wanted)
    components = [component for word in requested for component in derive.get(str(word), ())]
    stored = list(dict.fromkeys([*(word for word in requested if word not in derive), *components]))
    base = read(wanted=stored)
    names, rows = [], []
    for word in requested:
        factors = dict[str | int, float](
            derive[str(word)].items() if word in derive else [(word, 1.0)]
        )
        names.append(str(word) if word in derive else base.names[stored.index(word)])
        rows.append(tuple(factors.get(component, 0.0) for component in stored))
    return replace(base, names=tuple(names), mix=tuple(rows))


@dataclass(frozen=True)
class DrawnSide:
    """A side that is drawn from vectors.

    Attributes:
        renderer: Renderer of the map.
        geobox: Grid of the pair.
        margin: Map beyond each side of a window, px.
    """

    renderer: Renderer
    geobox: GeoBox
    margin: int = 0

    names = ("red", "green", "blue")
    units = "dn"
    dtype = np.dtype(np.uint8)

    def read(self, window: Window) -> tuple[Array, Bools, npt.NDArray[np.uint8]]:
        """The map with its margin; its valid pixels and classes without the margin.

        Invalid pixels are filled as those of a scene, so that a network trains on the same borders
        as in translation.
        """
        halo = self.margin + FILL_RADIUS
        drawing = self.renderer.draw(window_geobox(self.geobox, window.grown(halo)))
        image = drawing.image
        if not drawing.valid.all():
            image = fill_gaps(image, drawing.valid, n_rings=FILL_RADIUS)
        inner = Window(halo, halo, window.width, window.height)
        image = np.ascontiguousarray(image[:, *inner.grown(self.margin).slices])
        valid = np.ascontiguousarray(drawing.valid[inner.slices])
        return image, valid, self.renderer.draw_classes(window_geobox(self.geobox, window))


@dataclass(frozen=True)
class ClassSide:
    """A side of classes: one band whose values are never averaged.

    Attributes:
        scene: Where the pixels are.
        classes: Classes the scene may hold.
    """

    scene: Scene
    classes: tuple[ClassValue, ...]

    names = ("class",)
    units = "dn"
    dtype = np.dtype(np.uint8)

    @classmethod
    def open(cls, scene: Scene, geobox: GeoBox, *, option: str) -> ClassSide:
        """A class raster on a grid.

        Raises:
            SamplingError: If the scene is no class raster, or has neither class names nor colours.
        """
        classes = read_class_values(scene)
        if classes is None or scene.dtype != np.uint8:
            raise SamplingError(
                f"{option} is to be one band of classes; {scene.name} has {len(scene.bands)} of "
                f"{scene.dtype} and {'no' if classes is None else 'some'} class names or colours; "
                "give an 8-bit raster with a colour table, as geotrans label writes it"
            )
        return cls(warp_to_grid(scene, geobox, resampling="nearest"), classes)

    def read(self, window: Window) -> tuple[Array, Bools, None]:
        """Class values without holes, and which of them are known.

        Raises:
            SamplingError: If the scene holds a value that is no class of it.
        """
        known_values = [class_value.value for class_value in self.classes]
        patch = read_padded(self.scene, window, fill_value=known_values[0], mix=False)
        if unknown := sorted(set(find_values(patch.data, patch.valid)) - set(known_values)):
            raise SamplingError(
                f"{self.scene.name} holds the values {', '.join(map(str, unknown[:8]))}, which its "
                "colour table and class names do not know; complete them, or make them nodata"
            )
        return patch.data, patch.valid, None


@dataclass(frozen=True)
class PairReader:
    """Both sides of one pair.

    Attributes:
        grid: Scene whose grid is the common one.
        source: Reader of the source.
        target: Reader of the target.
    """

    grid: Scene
    source: SceneSide | DrawnSide | ClassSide
    target: SceneSide | DrawnSide | ClassSide

    @property
    def geobox(self) -> GeoBox:
        """The common grid."""
        return self.grid.geobox

    def read(self, window: Window) -> PairPatch:
        """The same pixels of both sides; beyond the scene they are mirrored and not valid.

        Raises:
            SceneError: If a file cannot be read.
        """
        source, source_valid, source_classes = self.source.read(window)
        target, target_valid, target_classes = self.target.read(window)
        valid = source_valid & target_valid & mask_inside(window, self.geobox)
        classes = target_classes if source_classes is None else source_classes
        return PairPatch(source, target, valid, classes)

    def close(self) -> None:
        """Close open files."""
        for side in (self.source, self.target):
            if not isinstance(side, DrawnSide):
                side.scene.close()


def mask_inside(window: Window, geobox: GeoBox) -> Bools:
    """True for the pixels of a window that lie inside a grid, shape `(H, W)`."""
    is_inside = np.zeros(window.shape, bool)
    part = window.intersection(Window.whole((geobox.shape[0], geobox.shape[1])))
    is_inside[part.relative_to(window).slices] = not part.is_empty
    return is_inside


@dataclass(frozen=True)
class _BandRequest:
    name: str
    common_name: str | None = None
    units: str = "dn"
    value_range: tuple[float, float] = (0.0, 1.0)


def _find_positions(scene: Scene, wanted: Sequence[str | int], option: str) -> list[int]:
    """Position of each wanted band, counted from 1."""
    names = [word for word in wanted if isinstance(word, str)]
    by_name: Mapping[str, int] = {}
    if names:
        try:
            matched = match_bands(scene, [_BandRequest(name) for name in names])
        except BandError as error:
            inventory = ", ".join(f"{b.index} ({b.name or b.colorinterp})" for b in scene.bands)
            raise BandError(
                f"{option} asks for {', '.join(map(str, wanted))}; {scene.name} has {inventory}; "
                "name its bands, or give their numbers"
            ) from error
        by_name = dict(zip(names, matched, strict=True))
    return [by_name[word] if isinstance(word, str) else word for word in wanted]
