"""torchgeo datasets without pairs: scenes of one domain, and two domains side by side."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import Any

import geopandas as gpd
import numpy as np
import torch
from torch.utils.data import Dataset
from torchgeo.datasets import GeoDataset

from geotrans.errors import SamplingError
from geotrans.grid import window_geobox
from geotrans.sampling.datasets import (
    Paths,
    Pattern,
    Sample,
    Transforms,
    list_files,
    locate_window,
    parse_scene_times,
    window_tensor,
)
from geotrans.sampling.domains import check_apart, find_placements
from geotrans.sampling.ground import find_common_crs, outline
from geotrans.sampling.matching import open_scenes
from geotrans.sampling.reading import SceneSide, mask_inside
from geotrans.sampling.samplers import RandomWindows, read_geoboxes


class SceneCollection(GeoDataset):
    """Scenes of one domain, each read on its own pixel grid, whatever its CRS and pixel size.

    A sample holds `image` `(C, H, W)`, stored values in float32 without holes; `valid` `(H, W)`;
    `window` and `core`, in pixels of the scene; `scene`, its row in `index`; and `transform`, the
    six numbers from pixel to CRS.

    Examples:
        >>> scenes = SceneCollection(["landsat/", "aerial/*.tif"], bands=["nir", "red", "green"])
        >>> loader = DataLoader(scenes, batch_size=8, sampler=RandomWindows(scenes, size=128))

    Attributes:
        sides: Pixels of each scene.
        geoboxes: Pixel grid of each scene.
        uris: What each scene was opened from.
    """

    def __init__(
        self,
        paths: Paths,
        *,
        bands: Sequence[str | int] | None = None,
        date: Pattern | None = None,
        transforms: Transforms | None = None,
    ) -> None:
        r"""Open and index the scenes.

        Args:
            paths: Folder, glob or files, or several of them.
            bands: Names, or numbers from 1, in channel order; None takes all.
            date: Pattern on names whose first group is a year, month or day, such as `_(\d{4})_`;
                None leaves the scenes without a time.
            transforms: Called with each sample.

        Raises:
            SamplingError: If there is no scene, or they differ in type or number of bands.
            BandError: If a scene lacks a band.
        """
        entries = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
        files = dict.fromkeys(path for entry in entries for path in _list_files(entry))
        scenes = open_scenes(files)
        self.sides = tuple(SceneSide.open(scene, scene.geobox, wanted=bands) for scene in scenes)
        _check_n_bands(self.sides)
        self.geoboxes = tuple(scene.geobox for scene in scenes)
        self.uris = tuple(scene.uri for scene in scenes)
        self.paths = self.uris
        self.transforms = transforms
        crs = find_common_crs(self.geoboxes)
        outlines = [outline(geobox, crs) for geobox in self.geoboxes]
        self.index = gpd.GeoDataFrame(
            {"filepath": self.uris},
            index=parse_scene_times([scene.name for scene in scenes], date),
            geometry=outlines,
            crs=None if crs is None else crs.proj,
        )
        left, bottom, right, top = outlines[0].bounds
        height, width = self.geoboxes[0].shape
        self._res = ((right - left) / width, (top - bottom) / height)

    def __getitem__(self, index: Any) -> Sample:
        """One window of one scene.

        Args:
            index: A `SceneWindow` of our samplers, read to the pixel; or torchgeo's
                `[xmin:xmax, ymin:ymax, tmin:tmax]` in the dataset's CRS, read on the grid of the
                scene that covers most of it.

        Raises:
            IndexError: If no scene lies there.
            SceneError: If a file cannot be read.
        """
        scene, window, core = locate_window(self, index)
        values, valid, _ = self.sides[scene].read(window)
        a = window_geobox(self.geoboxes[scene], window).affine
        sample: Sample = {
            "image": torch.from_numpy(values.astype(np.float32)),
            "valid": torch.from_numpy(valid & mask_inside(window, self.geoboxes[scene])),
            "window": window_tensor(window),
            "core": window_tensor(core),
            "scene": torch.tensor(scene),
            "transform": torch.tensor((a.a, a.b, a.c, a.d, a.e, a.f), dtype=torch.float64),
        }
        return sample if self.transforms is None else self.transforms(sample)


class UnpairedWindows(Dataset[dict[str, Sample]]):
    """Windows of two domains, drawn independently of each other.

    Any two torchgeo datasets will do. Item `i` of an epoch is a function of (seed, epoch, i): the
    same for any number of workers, and the same again when a run goes on. A sample holds the
    samples of both datasets, as `source` and `target`.

    Examples:
        >>> infrared = SceneCollection("aerial/*.tif", bands=["nir", "red", "green"])
        >>> pairs = UnpairedWindows(infrared, NAIP("naip/"), size=128, length=1000)
        >>> loader = DataLoader(pairs, batch_size=8, num_workers=2)
    """

    def __init__(
        self,
        source: GeoDataset,
        target: GeoDataset,
        *,
        size: int | tuple[int, int],
        length: int | None = None,
        seed: int = 0,
        by_area: bool = True,
        min_valid: float = 0.0,
        same_place: bool = False,
    ) -> None:
        """Check the ground, and find the windows that can be drawn.

        Args:
            source: Any torchgeo dataset.
            target: The same.
            size: Edge of a window, or `(height, width)`, px of each scene.
            length: Windows of an epoch; None takes as many as would cover the larger domain.
            seed: Which of the equally good sequences.
            by_area: Whether a scene is drawn in proportion to its pixels, or as often as any other.
            min_valid: Share of a window's pixels that must be valid; other datasets than
                `SceneCollection` do not say which are.
            same_place: Whether the two may share ground.

        Raises:
            SamplingError: If no scene has room for a window, or the two share ground.
        """
        if not same_place:
            check_apart(_name_grids(source), _name_grids(target), option="same_place")
        self.source, self.target = source, target
        self._samplers = tuple(
            RandomWindows(
                dataset,
                size=size,
                length=length,
                seed=2 * seed + number,
                by_area=by_area,
                placements=_find_placements(dataset, size, min_valid),
            )
            for number, dataset in enumerate((source, target))
        )
        self._length = max(len(sampler) for sampler in self._samplers)
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        """Windows of an epoch."""
        return self._length

    def __getitem__(self, index: int) -> dict[str, Sample]:
        """One window of each domain."""
        if not 0 <= index < len(self):
            raise IndexError(f"window {index} of {len(self)}")
        source, target = (sampler.draw(self.epoch, index) for sampler in self._samplers)
        return {"source": self.source[source], "target": self.target[target]}


def _list_files(entry: Any) -> Iterable[Any]:
    """Files of a folder or glob; a file or URL is itself."""
    return list_files(entry) if isinstance(entry, str | os.PathLike) else [entry]


def _name_grids(dataset: GeoDataset) -> list[tuple[str, Any]]:
    grids = read_geoboxes(dataset)
    names = getattr(dataset, "uris", range(len(grids)))
    return [(str(name), grid) for name, grid in zip(names, grids, strict=True)]


def _find_placements(
    dataset: GeoDataset, size: int | tuple[int, int], min_valid: float
) -> list[Any] | None:
    """Windows of each scene with enough valid pixels; None if all count."""
    if min_valid <= 0:
        return None
    if not isinstance(dataset, SceneCollection):
        raise SamplingError(
            f"min_valid is {min_valid:g}, and {type(dataset).__name__} does not say which of its "
            "pixels are valid; open its files as a SceneCollection, or leave min_valid at 0"
        )
    shape = (size, size) if isinstance(size, int) else size
    return [find_placements(side, shape, min_valid=min_valid) for side in dataset.sides]


def _check_n_bands(sides: Sequence[SceneSide]) -> None:
    first = sides[0]
    for side in sides:
        if len(side.names) != len(first.names):
            raise SamplingError(
                f"'{first.scene.name}' has {len(first.names)} bands, '{side.scene.name}' "
                f"{len(side.names)}; choose bands that all scenes have"
            )
