"""A photograph as classes by a recipe, computed window by window."""

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
from geotrans.labelling.indices import compute_indices, local_majority
from geotrans.labelling.recipe import Recipe, load_recipe
from geotrans.maps.style import BLANK
from geotrans.scene.access.identity import SourceIdentity
from geotrans.scene.bands import match_bands
from geotrans.scene.base import Band, Patch, Scene, SceneView
from geotrans.scene.padding import read_padded
from geotrans.scene.radiometry import describe_foreign_values
from geotrans.scene.views.classes import CLASSES_TAG

# Resolutions are given in round numbers.
_GSD_TOLERANCE = 0.05
# Edge of the overview that values are judged by, px.
_OVERVIEW_PX = 512


class LabelScene(SceneView):
    """Classes of a scene, one band, computed where they are read.

    A pixel's class depends on the pixels around it and never on the window it is read in.

    Args:
        scene: Photograph to classify.
        recipe: Name, file or mapping of a recipe.
        bands: Position or description of a band of the scene, by its name in the recipe.
        vectors: Vector file of classes painted over the others, such as roads.
        any_gsd: Accept pixels of a size the recipe is not meant for.
        any_values: Accept values the recipe is not meant for.

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
        specs = [
            WantedBand(name, value_range=self.recipe.value_range) for name in self.recipe.bands
        ]
        self._bands = match_bands(scene, specs, bands, task=self.recipe.name)
        scene_gsd_m = gsd_m(scene.geobox)
        if scene_gsd_m is not None and not any_gsd:
            self._check_gsd(scene_gsd_m)
        if not any_values:
            self._check_values(specs)
        # Without a CRS the mean of the recipe's range stands in.
        size = sum(self.recipe.gsd_m) / 2 if scene_gsd_m is None else scene_gsd_m
        self.texture_px = _make_odd(self.recipe.texture_m / size)
        self.majority_px = _make_odd(self.recipe.majority_m / size)
        self.vectors = vectors
        self._renderer = self._make_renderer(vectors)
        self.classes = self.recipe.rule_classes if vectors is None else self.recipe.classes
        uint8 = np.dtype(np.uint8)
        colors = {i: (*map_class.color, 255) for i, map_class in enumerate(self.classes)}
        super().__init__(
            scene,
            replace(
                scene.info,
                bands=(Band(1, "class", None, "palette", uint8),),
                dtype=uint8,
                nodata=float(BLANK),
                maskable=True,
                colormap=colors,
                tags={CLASSES_TAG: json.dumps([map_class.name for map_class in self.classes])},
            ),
        )

    @property
    def identity(self) -> SourceIdentity:
        """Identity of the scene beneath, the recipe and the vectors."""
        text = f"{self.scene.identity} by {self.recipe.model_dump_json()} {self.vectors}"
        return SourceIdentity("token", text)

    @property
    def halo(self) -> int:
        """Distance up to which the pixels around one determine its class, px."""
        return self.texture_px // 2 + self.majority_px // 2

    def _read(self, window: Window, bands: tuple[Band, ...], out_shape: tuple[int, int]) -> Patch:
        patch = read_padded(self.scene, window.grown(self.halo), self._bands)
        inner = Window(self.halo, self.halo, window.width, window.height).slices
        valid = patch.valid[inner]
        classes = self._paint_vectors(self._classify(patch.data), window)
        classes[~valid] = BLANK
        if out_shape != window.shape:
            rows, cols = (
                np.arange(n) * size // n + size // (2 * n)
                for n, size in zip(out_shape, window.shape, strict=True)
            )
            classes, valid = classes[rows][:, cols], valid[rows][:, cols]
        return Patch(classes[None].repeat(len(bands), axis=0), valid)

    def _classify(self, data: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
        """Classes by the rules, without the halo."""
        planes = dict(zip(self.recipe.bands, data.astype(np.float32), strict=True))
        indices = compute_indices(planes, self.recipe.index_names or ("nir",), size=self.texture_px)
        classes = np.full(next(iter(indices.values())).shape, BLANK, np.uint8)
        for rule in self.recipe.rules:
            matches = classes == BLANK
            for name, (low, high) in rule.where.items():
                if low is not None:
                    matches &= indices[name] >= np.float32(low)
                if high is not None:
                    matches &= indices[name] <= np.float32(high)
            classes[matches] = self.recipe.index(rule.class_name)
        return local_majority(classes, len(self.recipe.classes), self.majority_px)

    def _paint_vectors(
        self, classes: npt.NDArray[np.uint8], window: Window
    ) -> npt.NDArray[np.uint8]:
        """Classes with those of the vectors painted over them."""
        if self._renderer is None:
            return classes
        assert self.recipe.vectors is not None
        drawn = self._renderer.draw_classes(window_geobox(self.geobox, window))
        over = [self.recipe.index(name) for name in self.recipe.vectors.over]
        painted: npt.NDArray[np.uint8] = np.where(
            (drawn != BLANK) & np.isin(classes, over), drawn, classes
        )
        return painted

    def _check_gsd(self, scene_gsd_m: float) -> None:
        low, high = self.recipe.gsd_m
        if not low * (1 - _GSD_TOLERANCE) <= scene_gsd_m <= high * (1 + _GSD_TOLERANCE):
            raise DomainError(
                f"{self.scene.name} has pixels of {scene_gsd_m:.3g} m, and recipe "
                f"'{self.recipe.name}' is meant for {low:g} to {high:g} m; resample the scene, or "
                f"give {option('any_gsd', True)} if this is meant"
            )

    def _check_values(self, specs: list[WantedBand]) -> None:
        overview = self.scene.overview(_OVERVIEW_PX, self._bands)
        bands = self.scene.select(self._bands)
        if description := describe_foreign_values(overview.data, overview.valid, bands, specs):
            raise DomainError(
                f"{self.scene.name} is unlike what recipe '{self.recipe.name}' is meant for: "
                f"{description.replace('the task has seen', 'the recipe is meant for')}; scale the "
                f"scene to these, or give {option('any_values', True)} if this is meant"
            )

    def _make_renderer(self, vectors: str | PathLike[str] | None) -> Any:
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
    """A band that a recipe reads."""

    name: str
    common_name: str | None = None
    units: str = "dn"
    value_range: tuple[float, float] = (0.0, 255.0)


def _make_odd(size: float) -> int:
    """The odd number of px nearest to a size, 1 at least."""
    return max(1, 2 * round((size - 1) / 2) + 1)
