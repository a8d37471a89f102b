"""A photograph seen as classes: what a recipe makes of it, window by window."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from os import PathLike
from typing import Any

import numpy as np
import numpy.typing as npt

from geotrans.errors import ConfigError, DomainError, SceneError, option
from geotrans.grid import Window, gsd_m, window_geobox
from geotrans.labelling.indices import compute_index, local_majority
from geotrans.labelling.recipe import Recipe, load_recipe
from geotrans.maps.style import BLANK
from geotrans.scene.access.identity import SourceIdentity
from geotrans.scene.bands import match_bands
from geotrans.scene.base import Band, Patch, Scene, SceneView
from geotrans.scene.padding import read_padded
from geotrans.scene.radiometry import foreign_values
from geotrans.scene.views.classes import CLASSES_TAG

# Resolutions are given in round numbers.
_GSD_TOLERANCE = 0.05
# Edge of the overview that values are judged by, px.
_JUDGED_PX = 512


class LabelScene(SceneView):
    """Classes of a scene, one band, made where they are read.

    A pixel's class depends on the pixels around it and never on the window it is read in.

    Args:
        scene: What to look at.
        recipe: Name, file or mapping of a recipe.
        bands: Position or description of a band of the scene, by its name in the recipe.
        vectors: Vector file of what the recipe paints over, such as roads.
        any_gsd: Take pixels of a size the recipe is not meant for.
        any_values: Take values the recipe is not meant for.

    Raises:
        BandError: If the scene lacks a band.
        ConfigError: If the recipe cannot be read, or paints nothing from vectors.
        DomainError: If its pixels or values are not those the recipe is meant for.
    """

    def __init__(
        self,
        scene: Scene,
        recipe: str | PathLike[str] | Mapping[str, Any] | Recipe,
        *,
        bands: Mapping[str, int | str] | None = None,
        vectors: str | PathLike[str] | None = None,
        any_gsd: bool = False,
        any_values: bool = False,
    ) -> None:
        self.scene, self.recipe = scene, load_recipe(recipe)
        wanted = [
            WantedBand(name, value_range=self.recipe.value_range) for name in self.recipe.bands
        ]
        self._bands = match_bands(scene, wanted, bands, task=self.recipe.name)
        found = gsd_m(scene.geobox)
        if found is not None and not any_gsd:
            self._check_gsd(found)
        if not any_values:
            self._check_values(wanted)
        # Without a CRS the thresholds' own middle has to do.
        size = sum(self.recipe.gsd_m) / 2 if found is None else found
        self.texture_px = _make_odd(self.recipe.texture_m / size)
        self.majority_px = _make_odd(self.recipe.majority_m / size)
        self.vectors = vectors
        self._renderer = self._draws(vectors)
        self.classes = self.recipe.ruled if vectors is None else self.recipe.classes
        uint8 = np.dtype(np.uint8)
        colors = {i: (*one.color, 255) for i, one in enumerate(self.classes)}
        super().__init__(
            scene,
            replace(
                scene.info,
                bands=(Band(1, "class", None, "palette", uint8),),
                dtype=uint8,
                nodata=float(BLANK),
                maskable=True,
                colormap=colors,
                tags={CLASSES_TAG: json.dumps([one.name for one in self.classes])},
            ),
        )

    @property
    def identity(self) -> SourceIdentity:
        """Identity of the scene beneath, and what its pixels are sorted by."""
        text = f"{self.scene.identity} by {self.recipe.model_dump_json()} {self.vectors}"
        return SourceIdentity("token", text)

    @property
    def halo(self) -> int:
        """How far around a pixel its class depends on, px."""
        return self.texture_px // 2 + self.majority_px // 2

    def _read(self, window: Window, bands: tuple[Band, ...], out_shape: tuple[int, int]) -> Patch:
        patch = read_padded(self.scene, window.grown(self.halo), self._bands)
        inner = Window(self.halo, self.halo, window.width, window.height).slices
        valid = patch.valid[inner]
        classes = self._painted(self._sorted(patch.data), window)
        classes[~valid] = BLANK
        if out_shape != window.shape:
            rows, cols = (
                np.arange(n) * size // n + size // (2 * n)
                for n, size in zip(out_shape, window.shape, strict=True)
            )
            classes, valid = classes[rows][:, cols], valid[rows][:, cols]
        return Patch(classes[None].repeat(len(bands), axis=0), valid)

    def _sorted(self, data: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
        """Classes by the rules, the halo used up."""
        planes = dict(zip(self.recipe.bands, data.astype(np.float32), strict=True))
        measures = compute_index(planes, self.recipe.measures or ("nir",), size=self.texture_px)
        classes = np.full(next(iter(measures.values())).shape, BLANK, np.uint8)
        for rule in self.recipe.rules:
            fits = classes == BLANK
            for name, (low, high) in rule.where.items():
                if low is not None:
                    fits &= measures[name] >= np.float32(low)
                if high is not None:
                    fits &= measures[name] <= np.float32(high)
            classes[fits] = self.recipe.index(rule.class_name)
        return local_majority(classes, len(self.recipe.classes), self.majority_px)

    def _painted(self, classes: npt.NDArray[np.uint8], window: Window) -> npt.NDArray[np.uint8]:
        """The same with what vectors paint over it."""
        if self._renderer is None:
            return classes
        assert self.recipe.vectors is not None
        drawn = self._renderer.classes(window_geobox(self.geobox, window))
        over = [self.recipe.index(name) for name in self.recipe.vectors.over]
        covered: npt.NDArray[np.uint8] = np.where(
            (drawn != BLANK) & np.isin(classes, over), drawn, classes
        )
        return covered

    def _check_gsd(self, found: float) -> None:
        low, high = self.recipe.gsd_m
        if not low * (1 - _GSD_TOLERANCE) <= found <= high * (1 + _GSD_TOLERANCE):
            raise DomainError(
                f"{self.scene.name} has pixels of {found:.3g} m, and recipe '{self.recipe.name}' "
                f"is meant for {low:g} to {high:g} m; resample the scene, or give "
                f"{option('any_gsd', True)} if this is meant"
            )

    def _check_values(self, wanted: list[WantedBand]) -> None:
        seen = self.scene.overview(_JUDGED_PX, self._bands)
        bands = self.scene.select(self._bands)
        if found := foreign_values(seen.data, seen.valid, bands, wanted):
            raise DomainError(
                f"{self.scene.name} is unlike what recipe '{self.recipe.name}' is meant for: "
                f"{found.replace('the task has seen', 'the recipe is meant for')}; scale the "
                f"scene to these, or give {option('any_values', True)} if this is meant"
            )

    def _draws(self, vectors: str | PathLike[str] | None) -> Any:
        if vectors is None:
            return None
        from geotrans.maps.renderer import MapRenderer

        if self.recipe.style is None:
            raise ConfigError(f"recipe '{self.recipe.name}' paints nothing from vectors")
        if self.scene.geobox.crs is None:
            raise SceneError(f"vectors cannot be drawn on {self.scene.name}: it has no CRS")
        crs = self.scene.crs_wkt or self.scene.geobox.crs.to_wkt()
        return MapRenderer(vectors, self.recipe.style, crs)


@dataclass(frozen=True)
class WantedBand:
    """A band a recipe looks at."""

    name: str
    common_name: str | None = None
    units: str = "dn"
    value_range: tuple[float, float] = (0.0, 255.0)


def _make_odd(size: float) -> int:
    """The odd number of px nearest to a size, 1 at least."""
    return max(1, 2 * round((size - 1) / 2) + 1)
