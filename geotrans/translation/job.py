"""One tile at a time: everything a process needs to translate any tile of a scene."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from affine import Affine
from odc.geo.geobox import GeoBox

from geotrans import __version__
from geotrans.grid import (
    Tile,
    TilePlan,
    Window,
    ground_coordinates,
    make_geobox,
    window_geobox,
)
from geotrans.parts.layout import As, Layout
from geotrans.scene import Patch, Scene, read_padded
from geotrans.tasks import Bundle, NormStatistics, TaskSpec
from geotrans.translation.translators import NetworkSettings, get_translator


@dataclass(frozen=True)
class HaloError:
    """Difference between a tile read with too little context and the exact one.

    Attributes:
        halo: Context it was read with on each side, px.
        exact: Context the network sees on each side, px.
        tile: Core it was measured on: `(col_off, row_off, width, height)`, px of the scene.
        share: Share of its values that differ.
        largest: Largest difference, in stored values.
    """

    halo: int
    exact: int
    tile: tuple[int, int, int, int]
    share: float
    largest: float

    def to_dict(self) -> dict[str, Any]:
        """The same, for JSON."""
        return asdict(self)

    def __str__(self) -> str:
        """One line."""
        width, height = self.tile[2:]
        return (
            f"a halo of {self.halo} px instead of {self.exact}: of a tile of {width} x {height} "
            f"px, {100 * self.share:.2g} % of the values differ, by up to {self.largest:.4g}"
        )


@dataclass(frozen=True)
class Job:
    """A scene, a plan to translate it by, and the weights; small enough to be sent around.

    Attributes:
        scene: Source.
        bands: Positions of the bands the task reads, in channel order.
        plan: Which pixels are computed together.
        bundle: The task and its weights.
        layout: What the product's pixels are.
        device: Where the network runs.
        precision: Arithmetic of the network.
        seed: Which of the equally plausible pictures.
        as_: Colours or classes.
        threads: Threads of the network in one process; None leaves them to torch.
        norm: Statistics for norms that take them from the image.
        halo_error: What less context than the network sees costs, where it was measured.
        nodata: Value of the source that the user says is not measured.
    """

    scene: Scene
    bands: tuple[int, ...]
    plan: TilePlan
    bundle: Bundle
    layout: Layout
    device: str
    precision: str
    seed: int = 0
    as_: As = "rgb"
    threads: int | None = None
    norm: NormStatistics | None = None
    halo_error: HaloError | None = None
    nodata: float | None = None

    @property
    def spec(self) -> TaskSpec:
        """The task."""
        return self.bundle.spec

    @property
    def settings(self) -> NetworkSettings:
        """The network and how it runs."""
        return NetworkSettings(
            self.bundle, self.device, self.precision, self.seed, self.as_, self.threads, self.norm
        )

    @cached_property
    def geobox(self) -> GeoBox:
        """Pixel grid of the product."""
        area, scale = window_geobox(self.scene.geobox, self.plan.area), self.layout.scale
        if scale == 1:
            return area
        height, width = area.shape
        finer = area.affine @ Affine.scale(1 / scale)
        return make_geobox((height * scale, width * scale), finer, area.crs)

    @property
    def shape(self) -> tuple[int, int]:
        """`(height, width)` of the product, px."""
        height, width = self.geobox.shape
        return height, width

    @property
    def n_px(self) -> int:
        """Pixels of the product."""
        height, width = self.geobox.shape
        return int(height * width)

    def product_window(self, tile: Tile) -> Window:
        """Where the core of a tile lies in the product."""
        return tile.core.relative_to(self.plan.area).scaled(self.layout.scale)

    @property
    def is_flat(self) -> bool:
        """Whether the network paints in the few colours of a map."""
        return self.spec.palette is not None

    def fingerprint(self) -> dict[str, Any]:
        """What decides the pixels of the product, by the words a user knows it by."""
        optional: dict[str, Any] = {} if self.norm is None else {"norm": self.norm.to_dict()}
        if self.nodata is not None:
            optional["nodata"] = self.nodata
        return {
            "geotrans": __version__,
            "source": str(self.scene.identity),
            "task": self.spec.name,
            "weights": self.bundle.sha256,
            "bands": list(self.bands),
            "as": self.as_,
            "seed": self.seed,
            "precision": self.precision,
            "device": self.device.partition(":")[0],
            **optional,
            "tiles": json.loads(self.plan.to_json()),
            "layout": self.layout.to_dict(),
        }

    @cached_property
    def radiometry(self) -> tuple[tuple[float, float], ...]:
        """Scale and offset of each band the task reads."""
        return tuple((band.scale, band.offset) for band in self.scene.select(self.bands))

    @cached_property
    def fill_values(self) -> tuple[float, ...]:
        """Stored value of each band that the network sees as 0, for the depth of a gap."""
        if self.spec.source_classes is not None:
            return (self.spec.source_classes[0].value,)
        values = []
        for band, (scale, offset) in zip(self.spec.source, self.radiometry, strict=True):
            middle = sum(band.value_range) / 2
            values.append(middle if band.units == "dn" else (middle - offset) / scale)
        return tuple(values)


def read_source(job: Job, window: Window) -> Patch:
    """Stored values of a window as the network wants them: without holes, and `valid` as it was."""
    mix = job.spec.source_classes is None
    return read_padded(job.scene, window, job.bands, fill_value=job.fill_values, mix=mix)


def window_context(job: Job, window: Window) -> dict[str, Any]:
    """Keyword arguments of a translator for a window, except its pixels."""
    return {
        "window": window,
        "anchor": job.plan.anchor,
        "radiometry": job.radiometry,
        "coordinates": ground_coordinates(job.scene.geobox, window, job.spec.coordinates),
    }


def translate_tile(job: Job, tile: Tile) -> Patch | None:
    """Read, translate and crop one tile.

    Args:
        job: What to do.
        tile: Which part of it.

    Returns:
        The core as the product stores it; None if nothing in it is valid.
    """
    patch = read_source(job, tile.read)
    core = tile.core.relative_to(tile.read)
    valid = patch.valid[core.slices]
    if not valid.any():
        return None
    product = get_translator(job.settings)(patch.data, **window_context(job, tile.read))
    rows, cols = core.scaled(job.layout.scale).slices
    return job.layout.apply_nodata(product[:, rows, cols], valid)
