"""What can be written tile by tile, whatever makes its pixels."""

from __future__ import annotations

from typing import Any, Protocol

from odc.geo.geobox import GeoBox

from geotrans.grid import Tile, TilePlan, Window
from geotrans.parts.layout import Layout
from geotrans.scene import Scene


class RasterJob(Protocol):
    """A raster to be written: a translation, or a mosaic."""

    @property
    def scene(self) -> Scene:
        """Where its pixels come from; CRS and whether it has gaps follow from it."""

    @property
    def plan(self) -> TilePlan:
        """Which pixels are made together."""

    @property
    def layout(self) -> Layout:
        """What its pixels are."""

    @property
    def geobox(self) -> GeoBox:
        """Its pixel grid."""

    @property
    def n_px(self) -> int:
        """Its pixels."""

    @property
    def is_flat(self) -> bool:
        """Whether it is painted in few values, which compress well."""

    def place(self, tile: Tile) -> Window:
        """Where the core of a tile lies in it."""

    def fingerprint(self) -> dict[str, Any]:
        """What decides its pixels, by the words a user knows it by."""
