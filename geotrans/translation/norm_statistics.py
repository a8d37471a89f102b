"""Scene statistics for normalisation layers that need them, computed once before the first tile."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from geotrans.errors import SceneError, TilingError, UsageError, option, suggest
from geotrans.grid import TilePlan, Window, plan_tiles
from geotrans.tasks import Bundle, TaskSpec
from geotrans.tasks.statistics import NORM_MODES, NormStatistics
from geotrans.translation.job import Job, read_source, window_context

if TYPE_CHECKING:
    from geotrans.inference import Translator
    from geotrans.inference.calibration import Sample

_log = logging.getLogger(__name__)

TAG = "GEOTRANS_NORM_STATS"

# A sample of the scene: windows of this edge, px, in the middle of so many strata of each axis.
_WINDOW_PX, _N_STRATA = 256, 5
# Places tried in a stratum, the middle first, until half of a window is valid.
_OFFSETS = (0.0, -0.3, 0.3)
_MIN_VALID = 0.5
# The whole scene is read in cores of this edge, px; in one pass if it is no larger than this, px.
_EXACT_CORE_PX, _ONE_PASS_PX = 512, 2 * (_N_STRATA * _WINDOW_PX) ** 2


def needs_samples(spec: TaskSpec, norm_stats: str | os.PathLike[str] | None) -> bool:
    """Whether pixels of the scene decide what the norms of a network do."""
    if norm_stats is None:
        return spec.norm == "instance"
    return spec.norm != "none" and os.fspath(norm_stats) in ("scene", "exact")


def resolve_norms(
    job: Job,
    *,
    norm_stats: str | os.PathLike[str] | None,
    memory: int | None,
    recorded: Mapping[str, Any],
) -> NormStatistics | None:
    """Where the norms of a job's network have their statistics from, and what these are.

    Args:
        job: What is going to be translated; only its scene, bands, bundle, device, seed and the
            anchor of its plan count.
        norm_stats: A mode, a product to take the statistics of, or None for the network's default.
        memory: Budget of the process, bytes.
        recorded: Fingerprint of a run that was stopped, whose statistics are taken over.

    Returns:
        Statistics, or None for a network that has its own.

    Raises:
        UsageError: If the mode is not known or the network has no norms.
        SceneError: If the scene has no valid pixel.
        TilingError: If a sample of the scene does not fit into the budget.
    """
    spec = job.spec
    if norm_stats is None:
        if spec.norm != "instance":
            return None
        norm_stats = "scene"
    if spec.norm == "none":
        raise UsageError(
            f"the network of task '{spec.name}' has no norms; leave out {option('norm_stats')}"
        )
    mode = os.fspath(norm_stats)
    if mode not in NORM_MODES:
        if not os.path.exists(mode):
            raise UsageError(
                f"{option('norm_stats', mode)} is neither one of {', '.join(NORM_MODES)} nor a "
                f"product{suggest(mode, NORM_MODES)}"
            )
        return read_statistics(mode, job.bundle)
    if mode == "tile":
        _log.warning(
            "each tile is normalised by its own statistics, so that tiles show and other tile "
            "sizes give other pixels; use those of the scene unless this is what you study"
        )
        return NormStatistics("tile")
    recorded_statistics = NormStatistics.from_dict(recorded.get("norm"))
    if (
        recorded_statistics is not None
        and recorded_statistics.mode == mode
        and _is_same_run(job, recorded)
    ):
        return recorded_statistics
    return _measure(job, mode, memory)


def sample_windows(shape: tuple[int, int], *, align: int, anchor: tuple[int, int]) -> list[Window]:
    """A fixed sample of a scene: all of it in windows of 256 px, or 25 of them on a grid.

    Args:
        shape: `(height, width)` of the scene, px.
        align: Stride of the network, px; windows are made larger if it is larger.
        anchor: `(row, col)` of the scene's first pixel on the ground lattice.
    """
    edge = -(-_WINDOW_PX // align) * align
    rows, cols = (
        _window_starts(size, edge, align, first) for size, first in zip(shape, anchor, strict=True)
    )
    return [Window(col, row, edge, edge) for row in rows for col in cols]


def read_statistics(product: str | os.PathLike[str], bundle: Bundle) -> NormStatistics:
    """Statistics in the tags of a product, so that neighbouring scenes agree.

    Args:
        product: A product of the bundle.
        bundle: The task and its weights.

    Raises:
        UsageError: If the file holds none, or those of other weights.
    """
    import rasterio
    from rasterio.errors import RasterioError

    try:
        with rasterio.open(product) as file:
            tags = file.tags()
        statistics = NormStatistics.from_dict(json.loads(tags.get(TAG, "null")))
    except (RasterioError, ValueError):
        tags, statistics = {}, None
    if statistics is None or not statistics.values:
        raise UsageError(
            f"{os.fspath(product)} holds no statistics of norms; give a product of task "
            f"'{bundle.spec.name}', made with {option('norm_stats', 'scene')} or "
            f"{option('norm_stats', 'exact')}"
        )
    if tags.get("GEOTRANS_WEIGHTS_SHA256") != bundle.sha256:
        raise UsageError(
            f"{os.fspath(product)} was made by other weights than {bundle.path}, whose norms want "
            "statistics of their own; give one of its products"
        )
    return statistics


def _window_starts(size: int, edge: int, align: int, anchor: int) -> list[int]:
    """Where windows start on an axis, on the lattice of the network's stride."""
    first = anchor // align * align - anchor
    if size - first <= _N_STRATA * edge:
        return list(range(first, size, edge))
    centres = ((2 * i + 1) * size // (2 * _N_STRATA) for i in range(_N_STRATA))
    return [(c - edge // 2 + anchor) // align * align - anchor for c in centres]


def _measure(job: Job, mode: str, memory: int | None) -> NormStatistics:
    from geotrans.inference import Translator
    from geotrans.inference.calibration import pool_by_layer, pool_together

    if memory is not None and mode == "scene":
        n_px = sum(w.width * w.height for w in _list_windows(job))
        if (needed := _pooling_bytes(job, n_px)) > memory:
            raise TilingError(
                f"{option('memory', f'{memory / 1e6:.0f}MB')} is too little to take the statistics "
                f"that task '{job.spec.name}' wants of the scene; it needs "
                f"{-(-needed // 1e7) * 10:.0f}MB, or give {option('norm_stats', 'exact')}, which "
                "takes longer"
            )
    # As exact as can be, whatever the tiles are computed in.
    translator = Translator(
        job.bundle, device=job.device, precision="float32", seed=job.seed,
        norm=NormStatistics("tile"),
    )  # fmt: skip
    if mode == "scene":
        samples = [_read_sample(job, translator, w, counted=w) for w in _choose_windows(job)]
        return NormStatistics("scene", pool_together(translator.network, samples))
    plan = _plan_whole_scene(job)

    def tiles() -> Iterator[Sample]:
        for tile in plan:
            sample = _read_sample(job, translator, tile.read, counted=tile.core)
            if sample.weight.any():
                yield sample

    n_px = len(plan) * plan.window_shape[0] * plan.window_shape[1]
    has_room = memory is None or _pooling_bytes(job, n_px) <= memory
    if n_px <= _ONE_PASS_PX and has_room:
        if not (samples := list(tiles())):
            raise _no_valid_pixel_error(job)
        return NormStatistics("exact", pool_together(translator.network, samples))
    if next(tiles(), None) is None:
        raise _no_valid_pixel_error(job)
    return NormStatistics("exact", pool_by_layer(translator.network, tiles))


def _plan_whole_scene(job: Job) -> TilePlan:
    """All of the scene, in tiles that no choice of the user changes: sums keep their order."""
    spec = job.spec
    return plan_tiles(
        job.scene.shape, tile=max(_EXACT_CORE_PX, spec.align), halo=spec.halo, align=spec.align,
        anchor=job.plan.anchor,
    )  # fmt: skip


def _read_sample(job: Job, translator: Translator, window: Window, *, counted: Window) -> Sample:
    """A window as the network sees it; what lies outside `counted`, the scene or `valid` is not."""
    import torch

    from geotrans.inference.calibration import Sample

    patch = read_source(job, window)
    weight = np.zeros(window.shape, np.float32)
    inner = counted.intersection(Window.whole(job.scene.shape)).relative_to(window).slices
    weight[inner] = patch.valid[inner]
    planes = translator.planes(patch.data, **window_context(job, window))
    return Sample(planes, torch.from_numpy(weight))


def _choose_windows(job: Job) -> list[Window]:
    """Windows of the sample, moved within their strata to where the scene is valid."""
    align, anchor = job.spec.align, job.plan.anchor
    grid = _list_windows(job)
    candidates = [_move_window(job, window) for window in grid]
    if windows := [window for window, share in candidates if share > 0]:
        return windows
    # So little is valid that no place tried has any of it.
    edge = grid[0].width
    rows, cols = (
        range(first // align * align - first, size, edge)
        for size, first in zip(job.scene.shape, anchor, strict=True)
    )
    for row in rows:
        for col in cols:
            window = Window(col, row, edge, edge)
            if _read_valid(job, window).any():
                windows.append(window)
            if len(windows) == _N_STRATA**2:
                return windows
    if not windows:
        raise _no_valid_pixel_error(job)
    return windows


def _move_window(job: Job, window: Window) -> tuple[Window, float]:
    """The first place tried where enough of a window is valid, or else the best; and its share."""
    height, width = (n / _N_STRATA for n in job.scene.shape)
    align, best_window, best_share = job.spec.align, window, -1.0
    is_whole = max(height, width) <= window.width
    for down in _OFFSETS:
        for right in _OFFSETS:
            candidate = window.shifted(
                rows=int(down * max(0.0, height - window.height)) // align * align,
                cols=int(right * max(0.0, width - window.width)) // align * align,
            )
            share = float(_read_valid(job, candidate).mean())
            if share > best_share:
                best_window, best_share = candidate, share
            if is_whole or share >= _MIN_VALID or not job.scene.maskable:
                return best_window, best_share
    return best_window, best_share


def _read_valid(job: Job, window: Window) -> npt.NDArray[np.bool_]:
    """Where the part of a window that lies in the scene is valid."""
    inside = window.intersection(Window.whole(job.scene.shape))
    return job.scene.read(inside, job.bands).valid


def _list_windows(job: Job) -> list[Window]:
    return sample_windows(job.scene.shape, align=job.spec.align, anchor=job.plan.anchor)


def _pooling_bytes(job: Job, n_px: int) -> float:
    """Memory of this process with so many pixels waiting at one of the network's norms, bytes."""
    from geotrans.models import largest_layer
    from geotrans.runtime.gdal import GDAL_CACHE_BYTES
    from geotrans.runtime.memory import resident_bytes

    # What waits at a norm is what the layer before it made: at most half of the largest layer.
    per_px = 2 * largest_layer(job.bundle.generator(), job.spec.channels_in)
    return resident_bytes() + GDAL_CACHE_BYTES + n_px * per_px


def _is_same_run(job: Job, recorded: Mapping[str, Any]) -> bool:
    current = replace(job, norm=None).fingerprint()
    return all(current[key] == recorded.get(key) for key in ("source", "weights", "bands", "seed"))


def _no_valid_pixel_error(job: Job) -> SceneError:
    return SceneError(f"{job.scene.name} holds no valid pixel; nothing to translate")
