"""Whether a scene is like those a task has seen: ground sampling distance, values, map style."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from geotrans.errors import DomainError, option
from geotrans.grid import Window, gsd_m
from geotrans.scene import Patch, Scene
from geotrans.scene.radiometry import describe_foreign_values
from geotrans.scene.views.classes import ClassScene, read_class_names
from geotrans.tasks.spec import PaletteClass, TaskSpec

# Resolutions are given in round numbers.
_GSD_TOLERANCE = 0.05

# A map in a style has mostly the colours of its palette, and at soft edges mixes of two of them,
# within this many grey levels in every channel. The sample town has 97 % and 100 %, after JPEG at
# quality 75 still 81 % and 94 %; aerial photographs have 1 % and 68 %, relief maps 0 % and 13 %.
_COLOR_TOLERANCE = 12
_MIN_PLAIN, _MIN_MIXED = 0.5, 0.85
# Of a single block: such as no block of a scene that fits has.
_MIN_PLAIN_BLOCK, _MIN_MIXED_BLOCK = 0.2, 0.5
# Pixels are compared with every pair of colours; this many suffice.
_N_COMPARED = 20_000

# Sample windows per axis, and their edge, px.
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
        check_gsd(spec, scene)
    if spec.source_classes is not None:
        # An unknown class is refused.
        _read_samples(scene, bands, area or Window.whole(scene.shape))
        return
    if any_values and (any_style or spec.source_palette is None):
        return
    patch = _read_samples(scene, bands, area or Window.whole(scene.shape))
    _check_patch(
        spec, scene, bands, patch, any_values=any_values, any_style=any_style, tail=2,
        least=(_MIN_PLAIN, _MIN_MIXED),
    )  # fmt: skip


def check_block(
    spec: TaskSpec,
    scene: Scene,
    bands: Sequence[int],
    patch: Patch,
    *,
    any_values: bool = False,
    any_style: bool = False,
) -> None:
    """Refuse a block whose values clearly belong to another kind of scene.

    A block is less evidence than samples of the whole scene, which are not read while a lazy
    array is built: at least half of its values must be foreign.

    Args:
        spec: The task.
        scene: What the block is a part of.
        bands: Positions of the bands the task reads.
        patch: The block's own pixels, of these bands.
        any_values: Take any range of values.
        any_style: Take a map in any colours.

    Raises:
        DomainError: If they are; names the option that overrides.
    """
    if spec.source_classes is None:
        _check_patch(
            spec, scene, bands, patch, any_values=any_values, any_style=any_style, tail=50,
            least=(_MIN_PLAIN_BLOCK, _MIN_MIXED_BLOCK),
        )  # fmt: skip


def _check_patch(
    spec: TaskSpec,
    scene: Scene,
    bands: Sequence[int],
    patch: Patch,
    *,
    any_values: bool,
    any_style: bool,
    tail: float,
    least: tuple[float, float],
) -> None:
    if not patch.valid.any():
        return
    if not any_values:
        foreign = describe_foreign_values(
            patch.data, patch.valid, scene.select(bands), spec.source, tail=tail
        )
        if foreign:
            raise DomainError(
                f"{scene.name} is unlike what task '{spec.name}' has seen: {foreign}; "
                f"give another scene or {option('bands')}, or {option('any_values', True)} if this "
                "is meant"
            )
    if spec.source_palette is not None and not any_style:
        plain, mixed = palette_shares(patch.data[:, patch.valid], spec.source_palette)
        if plain < least[0] or mixed < least[1]:
            raise DomainError(
                f"task '{spec.name}' reads maps in its own style; of {scene.name}, {plain:.0%} has "
                f"its colours and {mixed:.0%} mixes of them; draw a map with "
                f"'geotrans render --style-of {spec.name}', or give {option('any_style', True)} if "
                "this is meant"
            )


def as_task_classes(spec: TaskSpec, scene: Scene) -> Scene:
    """A class raster in the values and colours of a task; any other scene as it is.

    Classes are matched by their names where the raster carries them, else by their values. A pixel
    of a class the task has not seen is an error where it is read.

    Raises:
        DomainError: If the raster is not one band of classes, or none of them is known.
    """
    if spec.source_classes is None:
        return scene
    names, task_values = (
        read_class_names(scene),
        {item.name: item.value for item in spec.source_classes},
    )
    if len(scene.bands) != 1 or scene.dtype.kind not in "ui":
        raise DomainError(
            f"task '{spec.name}' reads one band of classes; {scene.name} has {len(scene.bands)} of "
            f"{scene.dtype}; make one of a photograph with geotrans label"
        )
    values = {value: value for value in task_values.values()}
    if names is not None:
        values = {value: task_values[name] for value, name in names.items() if name in task_values}
        if not values:
            raise DomainError(
                f"task '{spec.name}' reads the classes {', '.join(task_values)}; {scene.name} has "
                f"{', '.join(names.values())}; name its classes like these, or make labels of a "
                "photograph with geotrans label"
            )
    colors = {item.value: item.color for item in spec.source_classes}
    return ClassScene(scene, values, colors=colors, names=names or {}, task=spec.name)


def palette_shares(
    pixels: npt.NDArray[Any], palette: Sequence[PaletteClass]
) -> tuple[float, float]:
    """Shares of an image's pixels that match a palette.

    Args:
        pixels: Red, green and blue, shape `(3, N)`.
        palette: Classes with their colours.

    Returns:
        Share of pixels of one of the colours, and share of those that lie between two of them.
    """
    step = -(-pixels.shape[1] // _N_COMPARED)
    sampled = pixels[:, ::step].T.astype(np.float32)  # (3, N) -> (n, 3)
    colors = np.array([item.color for item in palette], np.float32)
    plain = np.zeros(len(sampled), bool)
    for color in colors:
        plain |= _is_close(sampled, color)
    mixed = plain.copy()
    for start, end in itertools.combinations(colors, 2):
        difference = end - start
        position = np.clip((sampled - start) @ difference / max(difference @ difference, 1), 0, 1)
        mixed |= _is_close(sampled, start + position[:, None] * difference)
    return float(plain.mean()), float(mixed.mean())


def _is_close(
    pixels: npt.NDArray[np.float32], colors: npt.NDArray[np.float32]
) -> npt.NDArray[np.bool_]:
    is_close: npt.NDArray[np.bool_] = (np.abs(pixels - colors) <= _COLOR_TOLERANCE).all(axis=1)
    return is_close


def check_gsd(spec: TaskSpec, scene: Scene) -> None:
    """Refuse a scene with pixels of a size a task has not seen.

    Raises:
        DomainError: If it has; names the option that overrides.
    """
    found = gsd_m(scene.geobox)
    if spec.gsd_m is None or found is None:  # The scene's notes say that it cannot be checked.
        return
    smallest, largest = spec.gsd_m
    if not smallest * (1 - _GSD_TOLERANCE) <= found <= largest * (1 + _GSD_TOLERANCE):
        known = f"{smallest:g}" if smallest == largest else f"{smallest:g} to {largest:g}"
        raise DomainError(
            f"{scene.name} has pixels of {found:.3g} m, and task '{spec.name}' has seen {known} m; "
            f"resample the scene, or give {option('any_gsd', True)} if this is meant"
        )


def _read_samples(scene: Scene, bands: Sequence[int], area: Window) -> Patch:
    """A few windows spread over an area, side by side."""
    height, width = (min(_SAMPLE_PX, n) for n in area.shape)
    patches = [
        scene.read(Window(area.col_off + col, area.row_off + row, width, height), bands)
        for row in _spread_offsets(area.height - height)
        for col in _spread_offsets(area.width - width)
    ]
    return Patch(
        np.concatenate([p.data for p in patches], axis=2),
        np.concatenate([p.valid for p in patches], axis=1),
    )


def _spread_offsets(last: int) -> list[int]:
    """Offsets in `[0, last]`, in the middle of as many equal parts."""
    return sorted({(2 * i + 1) * last // (2 * _N_SAMPLES) for i in range(_N_SAMPLES)})
