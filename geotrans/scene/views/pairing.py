"""Two scenes of one place on one grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import numpy as np
import numpy.typing as npt
from odc.geo.geobox import GeoBox

from geotrans.errors import SceneError
from geotrans.grid import Window
from geotrans.scene.base import Patch, Scene
from geotrans.scene.views.warped import WarpedScene, warp_to_grid


@dataclass(frozen=True)
class PairedPatch:
    """The same pixels of both scenes.

    Attributes:
        source: Pixels of the source.
        target: Pixels of the target.
    """

    source: Patch
    target: Patch

    @property
    def valid(self) -> npt.NDArray[np.bool_]:
        """Where both are valid, shape `(H, W)`."""
        return self.source.valid & self.target.valid


@dataclass(frozen=True)
class PairedScene:
    """Two scenes on one grid.

    Attributes:
        source: What is translated, on the common grid.
        target: What it is translated to, on the common grid.
    """

    source: Scene
    target: Scene

    @property
    def geobox(self) -> GeoBox:
        """The common grid."""
        return self.target.geobox

    @property
    def shape(self) -> tuple[int, int]:
        """`(height, width)` of the common grid, px."""
        return self.target.shape

    @property
    def overlap(self) -> Window:
        """Smallest window of the grid that holds every pixel both scenes cover."""
        return _footprint(self.source).intersection(_footprint(self.target))

    def read(
        self,
        window: Window,
        *,
        source_bands: Sequence[int] | None = None,
        target_bands: Sequence[int] | None = None,
    ) -> PairedPatch:
        """The same window of both scenes; see `Scene.read`."""
        return PairedPatch(
            self.source.read(window, source_bands), self.target.read(window, target_bands)
        )

    def close(self) -> None:
        """Close both scenes."""
        self.source.close()
        self.target.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def pair(
    source: Scene,
    target: Scene,
    *,
    geobox: GeoBox | None = None,
    resampling: str = "bilinear",
    target_resampling: str | None = None,
) -> PairedScene:
    """Put two scenes on one grid, across CRS and pixel size.

    Args:
        source: What is translated.
        target: What it is translated to.
        geobox: The common grid; the target's own unless given, so that the target is not
            resampled.
        resampling: Kernel for the source: nearest, bilinear, cubic, cubic_spline, lanczos, average.
        target_resampling: Kernel for the target, where it is resampled; `resampling` unless given.

    Raises:
        SceneError: If the scenes do not overlap, or one of them has a CRS and the other has none.
    """
    grid = target.geobox if geobox is None else geobox
    paired = PairedScene(
        warp_to_grid(source, grid, resampling=resampling),
        warp_to_grid(target, grid, resampling=target_resampling or resampling),
    )
    if paired.overlap.is_empty:
        raise SceneError(f"{source.name} and {target.name} do not overlap on the common grid")
    return paired


def _footprint(scene: Scene) -> Window:
    return scene.footprint() if isinstance(scene, WarpedScene) else Window.whole(scene.shape)
