"""torchgeo datasets of pairs: source and target on one grid, with `valid` and their window."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
import torch
from odc.geo.crs import CRS
from odc.geo.geobox import GeoBox
from torchgeo.datasets import GeoDataset
from torchgeo.datasets.utils import disambiguate_timestamp

from geotrans.errors import SamplingError
from geotrans.grid import Window, window_geobox
from geotrans.sampling.config import DataConfig
from geotrans.sampling.ground import find_common_crs, outline, project
from geotrans.sampling.matching import find_files, match_key, match_scenes, open_scenes
from geotrans.sampling.pairs import PairedData
from geotrans.sampling.reading import DrawnSide, PairReader, Renderer, SceneSide
from geotrans.scene.base import Scene

Sample = dict[str, Any]
Paths = str | os.PathLike[str] | Iterable[str | os.PathLike[str]]
Transforms = Callable[[Sample], Sample]
Pattern = str | re.Pattern[str]


class PairedScenes(GeoDataset):
    """Pairs of scenes, each read on the pixel grid of one of its two, whatever their CRS.

    A sample holds `source` and `target` `(C, H, W)`, stored values in float32 without holes;
    `valid` `(H, W)`, True where both hold a measurement; `window` `(col_off, row_off, width,
    height)` and `core`, in pixels of the scene; `scene`, its row in `index`; `transform`, the six
    numbers from pixel to CRS; and, where a side is a drawn map, its `classes` `(H, W)`. All are
    tensors, so torch's and torchgeo's collate functions stack them.

    Examples:
        >>> pairs = PairedScenes.open("sar/", "optical/", source_bands=["vv", "vh"])
        >>> sampler = RandomWindows(pairs, size=128, length=1000, seed=7)
        >>> loader = DataLoader(pairs, batch_size=8, sampler=sampler, num_workers=2)

    Attributes:
        readers: Both sides of each pair.
        geoboxes: Pixel grid of each pair.
        uris: What the scene of each grid was opened from.
        region: Shape in the dataset's CRS that a split owns, to be given to a sampler as `roi`;
            None if all the ground is its own.
    """

    def __init__(
        self,
        readers: Sequence[PairReader],
        *,
        date: Pattern | None = None,
        region: Any = None,
        transforms: Transforms | None = None,
    ) -> None:
        r"""Index the pairs by ground and time.

        Args:
            readers: Both sides of each pair.
            date: Pattern on names whose first group is a year, month or day, such as `_(\d{4})_`;
                None leaves the scenes without a time.
            region: Shape in the CRS of the dataset.
            transforms: Called with each sample.
        """
        self.uris = tuple(reader.grid.uri for reader in readers)
        self.paths = self.uris
        self.readers = tuple(readers)
        self.geoboxes = tuple(reader.geobox for reader in readers)
        self.region = region
        self.transforms = transforms
        crs = find_common_crs(self.geoboxes)
        outlines = [outline(geobox, crs) for geobox in self.geoboxes]
        self.index = gpd.GeoDataFrame(
            {"filepath": self.uris},
            index=parse_scene_times([reader.grid.name for reader in readers], date),
            geometry=outlines,
            crs=None if crs is None else crs.proj,
        )
        left, bottom, right, top = outlines[0].bounds
        height, width = self.geoboxes[0].shape
        self._res = ((right - left) / width, (top - bottom) / height)

    @classmethod
    def open(
        cls,
        source: Paths | Renderer,
        target: Paths | Renderer,
        *,
        source_bands: Sequence[str | int] | None = None,
        target_bands: Sequence[str | int] | None = None,
        grid: Literal["source", "target"] = "target",
        resampling: str = "bilinear",
        pair: Pattern | None = None,
        date: Pattern | None = None,
        transforms: Transforms | None = None,
    ) -> PairedScenes:
        """Find and pair the scenes of two sides.

        Args:
            source: Folder, glob or files; or a `MapRenderer`, which draws on the target's grid.
            target: The same of the target.
            source_bands: Names, or numbers from 1, in channel order; None takes all.
            target_bands: The same of the target.
            grid: Side whose grid pairs are read on; the one that is not drawn in any case.
            resampling: How the other side gets onto it.
            pair: Pattern on file names; scenes of the two sides whose matches agree are a pair.
                None pairs by ground.
            date: See the class.
            transforms: Called with each sample.

        Raises:
            SamplingError: If a side is empty or no scene has a partner.
            BandError: If a scene lacks a band.
        """
        if _is_drawn(source) and _is_drawn(target):
            raise SamplingError("source and target are both drawn; one must be read from scenes")
        on_target = _is_drawn(source) or (grid == "target" and not _is_drawn(target))
        grid_side, other_side = (target, source) if on_target else (source, target)
        grids = open_scenes(list_files(grid_side))
        pairs: list[tuple[Scene, Any]] = [(scene, other_side) for scene in grids]
        if not _is_drawn(other_side):
            pattern = re.compile(pair) if isinstance(pair, str) else pair
            pairs = list(match_scenes(grids, open_scenes(list_files(other_side)), pattern=pattern))

        def open_side(scene: Any, geobox: GeoBox, name: str) -> SceneSide | DrawnSide:
            if _is_drawn(scene):
                return DrawnSide(scene, geobox)
            bands = source_bands if name == "source" else target_bands
            option = f"{name}_bands"
            return SceneSide.open(scene, geobox, wanted=bands, resampling=resampling, option=option)

        readers = []
        for grid_scene, other in pairs:
            scenes = (other, grid_scene) if on_target else (grid_scene, other)
            sides = (
                open_side(end, grid_scene.geobox, name)
                for end, name in zip(scenes, _SIDES, strict=True)
            )
            readers.append(PairReader(grid_scene, *sides))
        return cls(readers, date=date, transforms=transforms)

    @classmethod
    def from_config(
        cls,
        config: DataConfig,
        split: str,
        *,
        date: Pattern | None = None,
        transforms: Transforms | None = None,
    ) -> PairedScenes:
        """The pairs of one split of a configuration, checked to share no ground with another.

        Raises:
            SamplingError: If there is no such split, or splits share ground.
        """
        data = PairedData.open(config)
        if split not in data.pairs:
            raise SamplingError(f"no split '{split}', but {', '.join(data.pairs)}")
        pairs = data.pairs[split]
        region = None
        if data.regions is not None:
            crs = find_common_crs(pair.grid.geobox for pair in pairs)
            region = project(data.regions.shapes[split], data.regions.crs, crs)
        readers = [data.open_reader(pair) for pair in pairs]
        return cls(readers, date=date, region=region, transforms=transforms)

    def __getitem__(self, index: Any) -> Sample:
        """One window of one pair.

        Args:
            index: A `SceneWindow` of our samplers, read to the pixel; or torchgeo's
                `[xmin:xmax, ymin:ymax, tmin:tmax]` in the dataset's CRS, read on the grid of the
                scene that covers most of it.

        Raises:
            IndexError: If no scene lies there.
            SceneError: If a file cannot be read.
        """
        scene, window, core = locate_window(self, index)
        reader = self.readers[scene]
        patch = reader.read(window)
        a = window_geobox(reader.geobox, window).affine
        sample: Sample = {
            "source": torch.from_numpy(patch.source.astype(np.float32)),
            "target": torch.from_numpy(patch.target.astype(np.float32)),
            "valid": torch.from_numpy(patch.valid),
            "window": window_tensor(window),
            "core": window_tensor(core),
            "scene": torch.tensor(scene),
            "transform": torch.tensor((a.a, a.b, a.c, a.d, a.e, a.f), dtype=torch.float64),
        }
        if patch.classes is not None:
            sample["classes"] = torch.from_numpy(patch.classes.astype(np.int64))
        return sample if self.transforms is None else self.transforms(sample)


_SIDES = ("source", "target")


def _is_drawn(side: Any) -> bool:
    return hasattr(side, "draw")


def locate_window(dataset: Any, index: Any) -> tuple[int, Window, Window]:
    """Scene, window and core that an index into a dataset of scenes means.

    Raises:
        IndexError: If no scene lies there.
    """
    scene = getattr(index, "scene", None)
    # A window drawn on another dataset counts its scenes differently.
    if scene is not None and scene < len(dataset) and dataset.uris[scene] == index.uri:
        return scene, index.window, index.core
    x, y, t = dataset._disambiguate_slice(index)
    box = shapely.box(x.start, y.start, x.stop, y.stop)
    in_time = dataset.index.index.overlaps(pd.Interval(t.start, t.stop, closed="both"))
    shared = np.where(in_time, dataset.index.geometry.intersection(box).area, 0.0)
    if shared.max() <= 0:
        raise IndexError(f"{index} meets none of the {len(dataset)} scenes")
    scene = int(shared.argmax())
    crs = None if dataset.index.crs is None else CRS(dataset.index.crs)
    window = _round_to_window(dataset.geoboxes[scene], box, crs)
    return scene, window, window


def list_files(paths: Any) -> list[Any]:
    """Files of a folder or glob; a list of files as it is."""
    return find_files(paths) if isinstance(paths, str | os.PathLike) else list(paths)


def window_tensor(window: Window) -> torch.Tensor:
    """`(col_off, row_off, width, height)`."""
    return torch.tensor((window.col_off, window.row_off, window.width, window.height))


def _round_to_window(geobox: GeoBox, box: Any, crs: CRS | None) -> Window:
    """The window of a grid whose edges are nearest to those of a box."""
    inverse = ~geobox.affine
    points = np.array([inverse @ point for point in project(box, crs, geobox.crs).exterior.coords])
    (left, top), (right, bottom) = np.rint(points.min(axis=0)), np.rint(points.max(axis=0))
    return Window(int(left), int(top), max(1, int(right - left)), max(1, int(bottom - top)))


def parse_scene_times(names: Sequence[str], pattern: Pattern | None) -> pd.IntervalIndex:
    """Time of each scene, as torchgeo indexes it."""
    formats = {4: "%Y", 6: "%Y%m", 8: "%Y%m%d"}
    intervals = []
    for name in names:
        if pattern is None:
            intervals.append((pd.Timestamp.min, pd.Timestamp.max))
            continue
        text = match_key(re.compile(pattern), name) or ""
        digits = re.sub(r"\D", "", text)
        if len(digits) not in formats:
            raise SamplingError(
                f"date '{re.compile(pattern).pattern}' finds '{text}' in '{name}', which is no "
                "year, month or day such as 2020, 202007 or 2020-07-31"
            )
        intervals.append(disambiguate_timestamp(digits, formats[len(digits)]))
    return pd.IntervalIndex.from_tuples(intervals, closed="both", name="datetime")
