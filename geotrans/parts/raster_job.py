"""A raster that is written tile by tile, whatever computes its pixels."""

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
        """Source of its pixels; its CRS, and whether it may have gaps, are those of the source."""

    @property
    def plan(self) -> TilePlan:
        """Tiles in which it is computed."""

    @property
    def layout(self) -> Layout:
        """Bands, type, nodata and classes."""

    @property
    def geobox(self) -> GeoBox:
        """Its pixel grid."""

    @property
    def n_px(self) -> int:
        """Number of its pixels."""

    @property
    def is_flat(self) -> bool:
        """Whether it has few distinct values, which compress well."""

    def product_window(self, tile: Tile) -> Window:
        """Window of the core of a tile in the product."""

    def fingerprint(self) -> dict[str, Any]:
        """All that determines its pixels, by the names of options."""
