"""torchgeo samplers that are exact on the pixel grid of each scene.

They take any torchgeo dataset. A yielded `SceneWindow` is the pair of slices torchgeo indexes by,
and remembers the scene and the pixels it stands for, which our own datasets read without
rounding a coordinate.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

from affine import Affine
from odc.geo.crs import CRS
from odc.geo.geobox import GeoBox
from torchgeo.datasets import GeoDataset
from torchgeo.samplers import SpatialSampler

from geotrans.errors import SamplingError
from geotrans.grid import Window, window_geobox
from geotrans.sampling.ground import outline
from geotrans.sampling.matching import Skipped
from geotrans.sampling.regions import Regions
from geotrans.sampling.windows import (
    GridCell,
    Placements,
    WindowDraw,
    find_whole_placements,
    grid_windows,
)


class SceneWindow(tuple[slice, slice]):
    """`(x, y)` slices in the CRS of a dataset, with the pixels they stand for.

    Attributes:
        scene: Row of the dataset's index.
        uri: What that scene was opened from; empty if the dataset does not say.
        window: Pixels of that scene.
        core: Core of the window in a grid; the window itself elsewhere.
    """

    scene: int
    uri: str
    window: Window
    core: Window

    def __new__(
        cls,
        x: slice,
        y: slice,
        *,
        scene: int,
        uri: str = "",
        window: Window,
        core: Window | None = None,
    ) -> SceneWindow:
        """Slices with what they stand for."""
        index = super().__new__(cls, (x, y))
        index.scene, index.uri = scene, uri
        index.window, index.core = window, core or window
        return index

    def __reduce__(self) -> Any:
        return partial(SceneWindow, **vars(self)), tuple(self)


class _SceneSampler(SpatialSampler):
    """Base of the samplers: the grid of each scene, and this rank's share of the windows."""

    def __init__(
        self, dataset: GeoDataset, *, size: int | tuple[int, int], rank: int, world_size: int
    ) -> None:
        super().__init__(dataset)
        self.size = (size, size) if isinstance(size, int) else size
        if min(self.size) < 1:
            raise SamplingError(f"asked for windows of {size} px; the edge must be at least 1")
        if not 0 <= rank < world_size:
            raise SamplingError(f"rank {rank} of {world_size}; ranks count from 0")
        self.rank = rank
        self.world_size = world_size
        self.crs = None if dataset.index.crs is None else CRS(dataset.index.crs)
        self.geoboxes = read_geoboxes(dataset)
        self.uris = _read_uris(dataset, len(self.geoboxes))

    def _make_index(self, scene: int, window: Window, core: Window | None = None) -> SceneWindow:
        grid = window_geobox(self.geoboxes[scene], window)
        left, bottom, right, top = outline(grid, self.crs).bounds
        return SceneWindow(
            slice(left, right),
            slice(bottom, top),
            scene=scene,
            uri=self.uris[scene],
            window=window,
            core=core,
        )


class RandomWindows(_SceneSampler):
    """Random windows, each a function of (seed, epoch, index) alone.

    No state is carried from draw to draw, so the sequence is the same for any number of workers,
    continues exactly where a run stopped, and is distributed exactly over any number of ranks.

    Examples:
        >>> sampler = RandomWindows(dataset, size=256, length=1000, seed=7)
        >>> for epoch in range(10):
        ...     sampler.set_epoch(epoch)
        ...     for batch in DataLoader(dataset, batch_size=8, sampler=sampler): ...
    """

    strategy: Literal["random", "sequential"] = "random"

    def __init__(
        self,
        dataset: GeoDataset,
        *,
        size: int | tuple[int, int],
        length: int | None = None,
        seed: int = 0,
        roi: Any = None,
        by_area: bool = True,
        placements: Sequence[Placements] | None = None,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        """Find the windows that can be drawn.

        Args:
            dataset: Any torchgeo dataset.
            size: Edge of a window, or `(height, width)`, px of each scene.
            length: Windows of an epoch over all ranks, rounded up to a multiple of `world_size`;
                None takes as many as would cover the scenes.
            seed: Which of the equally good sequences.
            roi: Shape in the dataset's CRS that windows must lie in with every pixel, as a
                split's.
            by_area: Whether a scene is drawn in proportion to its pixels, or as often as any other.
            placements: Windows of each scene that may be drawn; None takes all in `roi`.
            rank: This process, from 0.
            world_size: Processes that share an epoch.

        Raises:
            SamplingError: If no scene has room for a window.
        """
        super().__init__(dataset, size=size, rank=rank, world_size=world_size)
        if placements is None:
            placements = [self._find_placements(geobox, roi) for geobox in self.geoboxes]
        self._draw = WindowDraw(placements, seed=seed, by_area=by_area)
        too_small = Skipped(f"scenes without room for {self.size[0]} x {self.size[1]} px")
        for i, scene_placements in enumerate(placements):
            if not len(scene_placements):
                too_small.add(Path(self.uris[i]).stem or f"scene {i}")
        too_small.warn(len(placements))
        if length is None:
            usable = sum(
                scene_placements.n_px for scene_placements in placements if len(scene_placements)
            )
            length = max(1, usable // (self.size[0] * self.size[1]))
        self._per_rank = -(-length // world_size)
        self.epoch = 0
        self.start = 0

    def _find_placements(self, geobox: GeoBox, roi: Any) -> Placements:
        if roi is None:
            return find_whole_placements((geobox.shape[0], geobox.shape[1]), self.size)
        return Regions({"roi": roi}, self.crs).project_to(geobox).find_placements("roi", self.size)

    def set_epoch(self, epoch: int, *, start: int = 0) -> None:
        """Choose the epoch, and how many of this rank's windows to leave out at its beginning."""
        if not 0 <= start <= self._per_rank:
            raise SamplingError(f"start {start} of an epoch of {self._per_rank} windows")
        self.epoch = epoch
        self.start = start

    def draw(self, epoch: int, index: int) -> SceneWindow:
        """The window of one draw, independent of all others."""
        return self._make_index(*self._draw(epoch, index))

    def __len__(self) -> int:
        """Windows this rank has left in the epoch."""
        return self._per_rank - self.start

    def __iter__(self) -> Iterator[SceneWindow]:
        """Windows of the epoch."""
        for i in range(self.start, self._per_rank):
            yield self.draw(self.epoch, i * self.world_size + self.rank)


class GridWindows(_SceneSampler):
    """Windows of one size whose cores cover every pixel of every scene exactly once.

    Windows at the far edges are moved inward, so that all hold real pixels; where a scene is
    smaller than a window, the rest is mirrored and not valid. The core of each window says which
    of its pixels are new.
    """

    strategy: Literal["random", "sequential"] = "sequential"

    def __init__(
        self,
        dataset: GeoDataset,
        *,
        size: int | tuple[int, int],
        halo: int = 0,
        roi: Any = None,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        """Lay a grid over each scene.

        Args:
            dataset: Any torchgeo dataset.
            size: Edge of a window, or `(height, width)`, px of each scene.
            halo: Pixels around each core, px.
            roi: Shape in the dataset's CRS; windows that do not lie in it with every pixel are
                left out.
            rank: This process, from 0.
            world_size: Processes that share the windows; none is repeated to make them even.

        Raises:
            SamplingError: If a window leaves no core inside the halo, or none lies in `roi`.
        """
        super().__init__(dataset, size=size, rank=rank, world_size=world_size)
        cells = [
            (scene, cell)
            for scene, geobox in enumerate(self.geoboxes)
            for cell in self._make_cells(geobox, halo, roi)
        ]
        if not cells:
            raise SamplingError(
                f"asked for windows of {self.size[0]} x {self.size[1]} px; none lies in roi; "
                "ask for smaller windows or a larger region"
            )
        self._cells = cells[rank::world_size]

    def _make_cells(self, geobox: GeoBox, halo: int, roi: Any) -> list[GridCell]:
        cells = grid_windows((geobox.shape[0], geobox.shape[1]), self.size, halo=halo)
        if roi is None:
            return list(cells)
        regions = Regions({"roi": roi}, self.crs).project_to(geobox)
        return [cell for cell in cells if regions.contains("roi", cell.window)]

    def __len__(self) -> int:
        """Windows of this rank."""
        return len(self._cells)

    def __iter__(self) -> Iterator[SceneWindow]:
        """Windows scene by scene, row by row."""
        for scene, cell in self._cells:
            yield self._make_index(scene, cell.window, cell.core)


def _read_uris(dataset: GeoDataset, n_scenes: int) -> Sequence[str]:
    if "filepath" in dataset.index.columns:
        return [str(uri) for uri in dataset.index.filepath]
    return [""] * n_scenes


def read_geoboxes(dataset: GeoDataset) -> Sequence[GeoBox]:
    """Pixel grid of each scene of a dataset.

    Our own datasets say it; of any other it is the footprint at the dataset's resolution.

    Raises:
        SamplingError: If a footprint is no upright rectangle of whole pixels.
    """
    geoboxes_of_dataset: Sequence[GeoBox] | None = getattr(dataset, "geoboxes", None)
    if geoboxes_of_dataset is not None:
        return geoboxes_of_dataset
    x_res, y_res = dataset.res
    geoboxes = []
    for number, shape in enumerate(dataset.index.geometry):
        left, bottom, right, top = shape.bounds
        n_cols, n_rows = (right - left) / x_res, (top - bottom) / y_res
        is_whole = abs(n_cols - round(n_cols)) < 1e-3 and abs(n_rows - round(n_rows)) < 1e-3
        box_area = (right - left) * (top - bottom)
        if not is_whole or abs(shape.area - box_area) > 1e-6 * box_area:
            raise SamplingError(
                f"scene {number} of the dataset has no upright grid of its resolution "
                f"{x_res:g} x {y_res:g}, as one that is reprojected; "
                "use geotrans.sampling.PairedScenes, which keeps the grid of each scene"
            )
        transform = Affine(x_res, 0, left, 0, -y_res, top)
        geoboxes.append(GeoBox((round(n_rows), round(n_cols)), transform, dataset.index.crs))
    return geoboxes
