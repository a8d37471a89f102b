"""One tile at a time: everything a process needs to translate any tile of a scene."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from affine import Affine
from odc.geo.geobox import GeoBox

from geotrans import __version__
from geotrans.errors import BundleError
from geotrans.grid import (
    Tile,
    TilePlan,
    Window,
    ground_coordinates,
    make_geobox,
    window_geobox,
)
from geotrans.mosaicking.layout import As, Layout
from geotrans.scene import Patch, Scene, read_padded
from geotrans.tasks import Bundle, NormStatistics, TaskSpec
from geotrans.tasks.registry import shipped_bundles

if TYPE_CHECKING:
    from geotrans.inference import Translator
    from geotrans.mosaicking.halo import HaloError


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
        halo_error: What less context than the network sees costs, where it was asked for.
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

    @property
    def spec(self) -> TaskSpec:
        """The task."""
        return self.bundle.spec

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
    def n_px(self) -> int:
        """Pixels of the product."""
        height, width = self.geobox.shape
        return int(height * width)

    def place(self, tile: Tile) -> Window:
        """Where the core of a tile lies in the product."""
        core, scale = tile.core.relative_to(self.plan.area), self.layout.scale
        return _scaled(core, scale)

    @property
    def is_flat(self) -> bool:
        """Whether the network paints in the few colours of a map."""
        return self.spec.palette is not None

    def fingerprint(self) -> dict[str, Any]:
        """What decides the pixels of the product, by the words a user knows it by."""
        norm = {} if self.norm is None else {"norm": self.norm.to_dict()}
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
            **norm,
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
        for want, (scale, offset) in zip(self.spec.source, self.radiometry, strict=True):
            middle = sum(want.value_range) / 2
            values.append(middle if want.units == "dn" else (middle - offset) / scale)
        return tuple(values)


def read_source(job: Job, window: Window) -> Patch:
    """Stored values of a window as the network wants them: without holes, and `valid` as it was."""
    mix = job.spec.source_classes is None
    return read_padded(job.scene, window, job.bands, fill_value=job.fill_values, mix=mix)


def situation(job: Job, window: Window) -> dict[str, Any]:
    """What a translator needs to know of a window beside its pixels, by argument."""
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
    made = translator_of(job)(patch.data, **situation(job, tile.read))
    rows, cols = _scaled(core, job.layout.scale).slices
    return job.layout.settle(made[:, rows, cols], valid)


# Weights are large: a process keeps those of the last few jobs it was given at a time.
_MOST_TRANSLATORS = 3
_translators: dict[tuple[object, ...], Translator] = {}
_making = threading.Lock()


def translator_of(job: Job) -> Translator:
    """This process's one translator for a job, made on first use."""
    with _making:
        if _settings(job) not in _translators:
            from geotrans.inference import Translator

            translator = Translator(
                bundle_here(job.bundle), device=job.device, precision=job.precision,
                seed=job.seed, as_=job.as_, norm=job.norm,
            )  # fmt: skip
            _remember(job, translator)
            if job.threads is not None:
                import torch

                torch.set_num_threads(job.threads)
        return _translators[_settings(job)]


_ready: dict[tuple[object, ...], tuple[Translator, int]] = {}


def ready_translator(
    bundle: Bundle,
    *,
    base: int,
    device: str,
    precision: str,
    seed: int,
    as_: As,
    norm: NormStatistics | None,
) -> tuple[Translator, int]:
    """The translator of these choices, made anew only if the last one asked for was another.

    Scene after scene of an archive finds its network loaded, its precision chosen, and the memory
    it has already taken not counted as somebody else's.

    Args:
        bundle: Task and weights.
        base: Memory of this process now, bytes.
        device: As it was asked for, like the rest.
        precision: Arithmetic of the network.
        seed: Which of the equally plausible pictures.
        as_: Colours or classes.
        norm: Statistics for norms that take them from the image.

    Returns:
        The translator, and the memory of this process before it was made, bytes.
    """
    asked = (bundle.sha256, device, precision, seed, as_, norm)
    with _making:
        if asked not in _ready:
            from geotrans.inference import Translator

            _ready.clear()
            _translators.clear()
            translator = Translator(
                bundle_here(bundle), device=device, precision=precision, seed=seed, as_=as_,
                norm=norm,
            )  # fmt: skip
            settled = (bundle.sha256, device, translator.precision, seed, as_, norm)
            _ready[asked] = _ready[settled] = translator, base
        return _ready[asked]


def bundle_here(wanted: Bundle) -> Bundle:
    """A bundle as this machine has it: at the same path, or where its own geotrans keeps it."""
    shipped = shipped_bundles().get(wanted.path.stem)
    for path in (wanted.path, shipped):
        if (
            path is not None
            and path.exists()
            and (found := Bundle.open(path)).sha256 == wanted.sha256
        ):
            return found
    state = "changed while it was in use" if wanted.path.exists() else "is not here"
    raise BundleError(
        f"{wanted.path} {state}; the run began with sha256 {wanted.sha256[:12]}: put that file "
        "there, or start again"
    )


def discharge() -> None:
    """Let go of this process's translator."""
    with _making:
        _translators.clear()
        _ready.clear()


def adopt(job: Job, translator: Translator) -> None:
    """Make `translator` this process's one for a job."""
    with _making:
        _remember(job, translator)


def _remember(job: Job, translator: Translator) -> None:
    _translators.pop(_settings(job), None)
    _translators[_settings(job)] = translator
    for oldest in list(_translators)[:-_MOST_TRANSLATORS]:
        del _translators[oldest]


def _settings(job: Job) -> tuple[object, ...]:
    return (
        job.bundle.sha256, job.device, job.precision, job.seed, job.as_, job.threads, job.norm,
    )  # fmt: skip


def _scaled(window: Window, scale: int) -> Window:
    return Window(
        window.col_off * scale, window.row_off * scale, window.width * scale, window.height * scale
    )
