"""A mosaic as a raster job: its blocks, their layout, and how each is computed."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from odc.geo.geobox import GeoBox

from geotrans import __version__
from geotrans.grid import Tile, TilePlan, Window, plan_tiles
from geotrans.mosaicking.scene import MosaicScene
from geotrans.parts.layout import Layout, LayoutBand
from geotrans.parts.writer import Writer
from geotrans.runtime.process import n_cores
from geotrans.scene import Patch, open_scene
from geotrans.scene.views.classes import read_class_names
from geotrans.tasks.spec import PaletteClass

# Edge of a block, px: two blocks of the product's own, so that its overviews follow from one.
BLOCK_PX = 1024


@dataclass(frozen=True)
class MosaicJob:
    """A mosaic and how it is cut into blocks.

    Attributes:
        scene: The mosaic.
        plan: Its blocks.
        layout: Bands, type, nodata and classes of its pixels.
    """

    scene: MosaicScene
    plan: TilePlan
    layout: Layout

    @property
    def geobox(self) -> GeoBox:
        """Its pixel grid."""
        return self.scene.geobox

    @property
    def n_px(self) -> int:
        """Its pixels."""
        height, width = self.scene.shape
        return height * width

    @property
    def is_flat(self) -> bool:
        """Whether it holds classes."""
        return self.layout.classes is not None

    def product_window(self, tile: Tile) -> Window:
        """Where a block lies."""
        return tile.core

    def fingerprint(self) -> dict[str, Any]:
        """The choices that determine its pixels, by the names of the options."""
        return {
            "geotrans": __version__,
            "source": str(self.scene.identity),
            **self.scene.choices,
            "tiles": json.loads(self.plan.to_json()),
            "layout": self.layout.to_dict(),
        }

    def make(self, tile: Tile) -> Patch | None:
        """A block as the product stores it; None if nothing in it is valid."""
        patch = self.scene.read(tile.core)
        return self.layout.apply_nodata(patch.data, patch.valid) if patch.valid.any() else None


def plan_mosaic(scene: MosaicScene, *, block: int = BLOCK_PX) -> MosaicJob:
    """Cut a mosaic into blocks of at most `block` px."""
    plan = plan_tiles(scene.shape, tile=block, halo=0)
    return MosaicJob(scene, plan, _make_layout(scene))


@dataclass(frozen=True)
class BlockWriter(Writer):
    """Makes the blocks of a mosaic and writes them."""

    job: MosaicJob

    @property
    def concurrency(self) -> int:
        """Blocks read, joined or written at a time in one process."""
        return n_cores()

    def make(self, tile: Tile) -> Patch | None:
        """Join a block."""
        return self.job.make(tile)


def _make_layout(scene: MosaicScene) -> Layout:
    """Bands, type, nodata and classes as the tiles have them."""
    bands = tuple(
        LayoutBand(band.name or "", band.colorinterp, band.scale, band.offset, band.units)
        for band in scene.bands
    )
    return Layout(bands, str(scene.dtype), scene.nodata, classes=_read_classes(scene))


def _read_classes(scene: MosaicScene) -> tuple[PaletteClass, ...] | None:
    """Classes by value, where the tiles have a colour table; without names if they have none."""
    if scene.colormap is None:
        return None
    with open_scene(scene.placed[0].path) as tile:
        names = read_class_names(tile) or {}
    colors = [scene.colormap.get(value, (0, 0, 0, 0)) for value in range(max(scene.colormap) + 1)]
    return tuple(
        PaletteClass(name=names.get(value, ""), color=color[:3])
        for value, color in enumerate(colors)
    )
