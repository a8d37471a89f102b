"""Ground of each split, and its pixels in each scene."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import shapely
from odc.geo.crs import CRS
from odc.geo.geobox import GeoBox

from geotrans.errors import SamplingError
from geotrans.grid import Window, window_geobox
from geotrans.sampling.ground import outline, project
from geotrans.sampling.windows import Placements, find_masked_placements

# Rows rasterised at once.
STRIP_ROWS = 512
# Share of an area that two may have in common by rounding.
AREA_TOLERANCE = 1e-6


class Regions:
    """Ground of each split, disjoint.

    Attributes:
        shapes: Shape of each split's ground.
        crs: CRS of the shapes; None for the units of scenes without a CRS.
    """

    def __init__(self, shapes: Mapping[str, Any], crs: Any) -> None:
        """Check that the shapes are disjoint.

        Raises:
            SamplingError: If two of them overlap, or one is empty.
        """
        self.shapes = dict(shapes)
        self.crs = None if crs is None else CRS(crs)
        names = list(self.shapes)
        for i, name in enumerate(names):
            if self.shapes[name].is_empty:
                raise SamplingError(
                    f"split '{name}' has no ground left; make its area larger or gap_m smaller"
                )
            for other in names[:i]:
                shared = self.shapes[name].intersection(self.shapes[other]).area
                if shared > AREA_TOLERANCE * min(self.shapes[name].area, self.shapes[other].area):
                    raise SamplingError(
                        f"the polygons of the splits '{other}' and '{name}' overlap; "
                        "every piece of ground may be in one split only"
                    )

    def project_to(self, geobox: GeoBox) -> SceneRegions:
        """Project the regions to the pixels of a scene."""
        shapes = self.shapes
        if None not in (self.crs, geobox.crs) and self.crs != geobox.crs:
            # Far from the scene, coordinates in its CRS may be meaningless.
            left, bottom, right, top = outline(geobox, self.crs).bounds
            margin = 0.1 * max(right - left, top - bottom)
            clip_box = (left - margin, bottom - margin, right + margin, top + margin)
            shapes = {
                name: project(shapely.clip_by_rect(shape, *clip_box), self.crs, geobox.crs)
                for name, shape in shapes.items()
            }
        return SceneRegions(geobox, shapes)


@dataclass(frozen=True)
class SceneRegions:
    """Ground of each split on the pixels of one scene.

    A pixel belongs to the split that its middle lies in, and never to two.

    Attributes:
        geobox: Grid of the scene.
        shapes: Shape of each split's ground in the CRS of the grid.
    """

    geobox: GeoBox
    shapes: Mapping[str, Any]

    def find_placements(self, split: str, size: tuple[int, int]) -> Placements:
        """Positions of windows that lie entirely in a split."""
        return find_masked_placements(self.iter_strips(split), size)

    def contains(self, split: str, window: Window) -> bool:
        """Whether every pixel of a window, as far as it is inside the scene, lies in a split."""
        return all(bool(strip.all()) for strip in self.iter_strips(split, window))

    def iter_strips(
        self, split: str, window: Window | None = None
    ) -> Iterator[npt.NDArray[np.bool_]]:
        """A window, or the scene, from top to bottom, True where a pixel lies in a split."""
        from rasterio.features import rasterize

        whole = Window.whole((self.geobox.shape[0], self.geobox.shape[1]))
        part = whole if window is None else window.intersection(whole)
        names = list(self.shapes)
        polygons = [(self.shapes[name], i + 1) for i, name in enumerate(names)]
        polygons = [(shape, value) for shape, value in polygons if not shape.is_empty]
        for row in range(part.row_off, part.row_end, STRIP_ROWS):
            rows = min(STRIP_ROWS, part.row_end - row)
            strip = window_geobox(self.geobox, Window(part.col_off, row, part.width, rows))
            labels = np.zeros(strip.shape, np.uint8)
            if polygons:
                # All splits are rasterised into one array, so that no pixel belongs to two of them.
                rasterize(polygons, out=labels, transform=strip.affine)
            yield labels == names.index(split) + 1
