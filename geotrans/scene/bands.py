"""Bands by name: match the bands of a scene to those of a task."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from geotrans.errors import BandError, option, suggest

if TYPE_CHECKING:
    from geotrans.scene.base import Band, Scene


class WantedBand(Protocol):
    """A band that a task reads, such as `geotrans.tasks.BandSpec`."""

    @property
    def name(self) -> str:
        """Name by which the band is found."""

    @property
    def common_name(self) -> str | None:
        """STAC common name."""


# What people call the STAC common names.
_ALIASES = {
    "coastal": ("coastal aerosol", "ultra blue", "aerosol"),
    "blue": ("b",),
    "green": ("g",),
    "red": ("r",),
    "rededge": ("red edge", "vegetation red edge"),
    "rededge1": ("red edge 1", "rededge071", "vre1"),
    "rededge2": ("red edge 2", "rededge075", "vre2"),
    "rededge3": ("red edge 3", "rededge078", "vre3"),
    "nir": ("near infrared", "near ir", "nearinfrared", "n", "nir1", "ir"),
    "nir08": ("narrow nir", "nir narrow", "nir2"),
    "nir09": ("water vapour", "water vapor"),
    "swir16": ("swir1", "swir 1", "shortwave infrared 1"),
    "swir22": ("swir2", "swir 2", "shortwave infrared 2"),
    "lwir": ("thermal", "tir", "thermal infrared"),
    "pan": ("panchromatic", "grey", "gray", "greyscale", "grayscale"),
}
_COMMON_NAMES = {alias: name for name, aliases in _ALIASES.items() for alias in (name, *aliases)}

_SENTINEL_2 = {
    "b1": "coastal",
    "b2": "blue",
    "b3": "green",
    "b4": "red",
    "b5": "rededge1",
    "b6": "rededge2",
    "b7": "rededge3",
    "b8": "nir",
    "b8a": "nir08",
    "b9": "nir09",
    "b10": "cirrus",
    "b11": "swir16",
    "b12": "swir22",
}
_LANDSAT_8 = {
    "sr b1": "coastal",
    "sr b2": "blue",
    "sr b3": "green",
    "sr b4": "red",
    "sr b5": "nir08",
    "sr b6": "swir16",
    "sr b7": "swir22",
}
# A code such as B4 is red on one sensor and near infrared on another. A table is used only where
# the other bands of the scene contain a code that no other sensor has.
_SENSORS = (({"b8", "b8a", "b12"}, _SENTINEL_2), ({"sr b6"}, _LANDSAT_8))

# Descriptions that writers put where there is nothing to say.
_GENERIC_PATTERN = re.compile(r"^((band|layer|channel|lyr|raster)\s*)?\d*$")

# Near infrared has two common names, told apart by sensors that carry both.
_SIMILAR = ({"nir", "nir08"}, {"lwir", "lwir11"})


def find_common_name(name: str | None, siblings: Iterable[str] = ()) -> str | None:
    """STAC common name of a band description, given those of the scene's other bands."""
    normalized = _normalize_name(name)
    if normalized in _COMMON_NAMES:
        return _COMMON_NAMES[normalized]
    sibling_names = {_normalize_name(s) for s in siblings}
    for markers, table in _SENSORS:
        if normalized in table and markers & sibling_names:
            return table[normalized]
    return None


def match_bands(
    scene: Scene,
    wanted: Sequence[WantedBand],
    mapping: Mapping[str, int | str] | None = None,
    *,
    task: str | None = None,
) -> tuple[int, ...]:
    """Find the bands of a scene that a task reads.

    An explicit mapping decides first, then descriptions and common names, then the colour
    interpretation of bands without a description. A band whose name contradicts is never
    taken for its position.

    Args:
        scene: Scene whose bands are searched.
        wanted: Bands the task reads, in channel order.
        mapping: Position, counted from 1, or description of a band, by the name of a wanted one.
        task: Name of the task, for messages.

    Returns:
        Positions counted from 1, in the order wanted.

    Raises:
        BandError: If a band is missing, ambiguous or mapped to nothing.
    """
    mapping = dict(mapping or {})
    names = [band.name for band in wanted]
    for name in mapping:
        if name not in names:
            raise BandError(
                f"{_describe_reader(task)} reads bands {', '.join(names)}, not '{name}'"
                f"{suggest(name, names)}"
            )
    if not mapping and len(wanted) == 1 and (only := _find_only_band(scene)) is not None:
        return (only,)
    indices = {
        band.name: _match_mapping(scene, mapping[band.name])
        if band.name in mapping
        else _find_band(scene, band)
        for band in wanted
    }
    missing = [name for name, index in indices.items() if index is None]
    if missing:
        raise BandError(_describe_mismatch(scene, names, missing, task))
    return tuple(index for name in names if (index := indices[name]) is not None)


def parse_mapping(text: str, wanted: Sequence[WantedBand]) -> dict[str, int | str]:
    """Read `nir=1,red=2` or, in the order wanted, `1,2`.

    Raises:
        BandError: If it is neither.
    """
    items = [item.strip() for item in text.split(",") if item.strip()]
    names = [band.name for band in wanted]
    pairs: list[tuple[str, str]]
    if items and all("=" in item for item in items):
        pairs = [(k.strip(), v.strip()) for k, _, v in (item.partition("=") for item in items)]
    elif not any("=" in item for item in items) and len(items) == len(names):
        pairs = list(zip(names, items, strict=True))
    else:
        raise BandError(
            f"bands '{text}' do not name {', '.join(names)}; "
            f"write {','.join(f'{n}={i}' for i, n in enumerate(names, 1))}"
        )
    return {name: int(value) if value.isdigit() else value for name, value in pairs}


def _find_only_band(scene: Scene) -> int | None:
    """The band of a one-band scene without any description."""
    if len(scene.bands) != 1 or scene.colormap is not None:
        return None
    band = scene.bands[0]
    is_unnamed = is_generic(band.name) and band.common_name is None
    return band.index if is_unnamed and band.colorinterp in {"gray", "undefined"} else None


def _match_mapping(scene: Scene, value: int | str) -> int:
    by_index = {band.index: band for band in scene.bands}
    if isinstance(value, int):
        if value in by_index:
            return value
        raise BandError(
            f"asked for band {value} of {scene.name}; it has bands {_list_bands(scene.bands)}"
        )
    matches = [
        band.index for band in scene.bands if _normalize_name(band.name) == _normalize_name(value)
    ]
    if len(matches) != 1:
        known = [band.name for band in scene.bands if band.name]
        raise BandError(
            f"asked for band '{value}' of {scene.name}{suggest(value, known)}; "
            f"it has bands {_list_bands(scene.bands)}"
        )
    return matches[0]


def _find_band(scene: Scene, wanted: WantedBand) -> int | None:
    common = wanted.common_name or find_common_name(wanted.name)
    tests: tuple[Callable[[Band], bool], ...] = (
        lambda band: _normalize_name(band.name) == _normalize_name(wanted.name),
        lambda band: common is not None and band.common_name == common,
        lambda band: common is not None and _are_similar(band.common_name, common),
        lambda band: (
            is_generic(band.name)
            and band.common_name is None
            and band.colorinterp in {wanted.name, common}
        ),
    )
    for test in tests:
        matches = [band.index for band in scene.bands if test(band)]
        if len(matches) > 1:
            raise BandError(
                f"{scene.name} has {len(matches)} bands that are {wanted.name}: "
                f"{', '.join(map(str, matches))}; pass {option('bands', {wanted.name: 'N'})}"
            )
        if matches:
            return matches[0]
    return None


def _describe_mismatch(scene: Scene, names: list[str], missing: list[str], task: str | None) -> str:
    needs = f"{_describe_reader(task)} reads band{'s'[: len(names) > 1]} {', '.join(names)}"
    n = len(scene.bands)
    are_unnamed = all(is_generic(band.name) for band in scene.bands)
    if are_unnamed:
        contents = f"{scene.name} has {n} unnamed band{'s'[: n > 1]}"
    else:
        contents = f"{scene.name} has {_list_bands(scene.bands)}"
    if scene.colormap is not None:
        contents += " that are indices into a palette"
    if n < len(names):
        return f"{needs}; {contents}; it lacks {', '.join(missing)}"
    example = (
        {name: i for i, name in enumerate(names, 1)}
        if are_unnamed and missing == names
        else dict.fromkeys(missing, "N")
    )
    return f"{needs}; {contents}; pass {option('bands', example)}"


def _list_bands(bands: Sequence[Band]) -> str:
    return ", ".join(f"{band.index} ({band.name or band.colorinterp})" for band in bands)


def _describe_reader(task: str | None) -> str:
    return f"task '{task}'" if task else "the task"


def _normalize_name(name: str | None) -> str:
    """A band name without case, separators, leading zeros and the word band."""
    words = re.sub(r"[^a-z0-9]+", " ", (name or "").casefold()).strip()
    words = re.sub(r"\b(b|sr b)0+(\d)", r"\1\2", words)
    return words.removesuffix(" band").removesuffix(" reflectance")


def is_generic(name: str | None) -> bool:
    """Whether a description carries no information, such as `Band 1`."""
    return _GENERIC_PATTERN.match(_normalize_name(name)) is not None


def _are_similar(first: str | None, second: str) -> bool:
    return any(first in group and second in group for group in _SIMILAR)
