"""Whether a scene is like those a task has seen: ground sampling distance, values, map style."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from geotrans.errors import DomainError
from geotrans.grid import Window, gsd_m
from geotrans.scene import Patch, Scene
from geotrans.scene.radiometry import foreign_values
from geotrans.tasks.spec import PaletteClass, TaskSpec

# Resolutions are given in round numbers.
_GSD_TOLERANCE = 0.05

# A pixel has a palette's colour within this many grey levels in every channel; a map in the style
# has more than this share of them, the rest being the soft edges between classes.
_COLOR_TOLERANCE = 12
_SHARE_IN_STYLE = 0.5

# Windows looked at on each axis, and their edge, px.
_N_SAMPLES, _SAMPLE_PX = 4, 128


def check_domain(
    spec: TaskSpec,
    scene: Scene,
    bands: Sequence[int],
    *,
    area: Window | None = None,
    any_gsd: bool = False,
    any_values: bool = False,
    any_style: bool = False,
) -> None:
    """Refuse a scene unlike anything a task has seen.

    Args:
        spec: The task.
        scene: The scene.
        bands: Positions of the bands the task reads.
        area: Part of the scene that is meant; all of it unless given.
        any_gsd: Take any ground sampling distance.
        any_values: Take any range of values.
        any_style: Take a map in any colours.

    Raises:
        DomainError: If it is; names the option that overrides.
    """
    if not any_gsd:
        _check_gsd(spec, scene)
    if any_values and (any_style or spec.source_palette is None):
        return
    patch = _samples(scene, bands, area or Window.whole(scene.shape))
    if not patch.valid.any():
        return
    if not any_values:
        found = foreign_values(patch.data, patch.valid, scene.select(bands), spec.source)
        if found:
            raise DomainError(
                f"{scene.name} is unlike what task '{spec.name}' has seen: {found}; "
                "give another scene or --bands, or --any-values if this is meant"
            )
    if spec.source_palette is not None and not any_style:
        share = palette_share(patch.data[:, patch.valid], spec.source_palette)
        if share < _SHARE_IN_STYLE:
            raise DomainError(
                f"task '{spec.name}' reads maps in its own style, and {share:.0%} of {scene.name} "
                f"has its colours; draw one with geotrans render --style-of {spec.name}, or give "
                "--any-style if this is meant"
            )


def palette_share(pixels: npt.NDArray[Any], palette: Sequence[PaletteClass]) -> float:
    """Share of pixels `(3, N)` that have, or almost have, a colour of a palette."""
    close = np.zeros(pixels.shape[1], bool)
    for one in palette:
        color = np.asarray(one.color, np.float32)[:, None]
        close |= (np.abs(pixels - color) <= _COLOR_TOLERANCE).all(axis=0)
    return float(close.mean())


def _check_gsd(spec: TaskSpec, scene: Scene) -> None:
    found = gsd_m(scene.geobox)
    if spec.gsd_m is None or found is None:
        return
    smallest, largest = spec.gsd_m
    if not smallest * (1 - _GSD_TOLERANCE) <= found <= largest * (1 + _GSD_TOLERANCE):
        seen = f"{smallest:g}" if smallest == largest else f"{smallest:g} to {largest:g}"
        raise DomainError(
            f"{scene.name} has pixels of {found:.3g} m, and task '{spec.name}' has seen {seen} m; "
            "resample the scene, or give --any-gsd if this is meant"
        )


def _samples(scene: Scene, bands: Sequence[int], area: Window) -> Patch:
    """A few windows spread over an area, side by side."""
    height, width = (min(_SAMPLE_PX, n) for n in area.shape)
    patches = [
        scene.read(Window(area.col_off + col, area.row_off + row, width, height), bands)
        for row in _spread(area.height - height)
        for col in _spread(area.width - width)
    ]
    return Patch(
        np.concatenate([p.data for p in patches], axis=2),
        np.concatenate([p.valid for p in patches], axis=1),
    )


def _spread(last: int) -> list[int]:
    """Offsets in `[0, last]`, in the middle of as many equal parts."""
    return sorted({(2 * i + 1) * last // (2 * _N_SAMPLES) for i in range(_N_SAMPLES)})
