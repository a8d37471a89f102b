"""A STAC Item as a scene: the assets a task needs, on one grid, less what a mask asset excludes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from geotrans.errors import BandError, SceneError, UsageError, option
from geotrans.grid import Window, gsd_m
from geotrans.scene.access.identity import SourceIdentity
from geotrans.scene.bands import WantedBand, common_name
from geotrans.scene.base import Band, Patch, Scene, SceneInfo
from geotrans.scene.open import open_scene
from geotrans.scene.valid import holds_values
from geotrans.scene.views.warped import warp_to_grid

# Assets that are pictures of the item rather than its measurements.
_PICTURES = {"thumbnail", "overview", "metadata", "tilejson"}

# Pixel sizes are given in round numbers.
_GSD_TOLERANCE = 0.05


@dataclass(frozen=True)
class Mask:
    """Pixels to leave out: where an asset has one of some values.

    Attributes:
        asset: Its key in the item, such as `"scl"`.
        values: Stored values that mark a pixel as not to be used.
    """

    asset: str
    values: tuple[int, ...]


def parse_mask(asset: str | None, values: Sequence[int] | str | None) -> Mask | None:
    """A mask as it is asked for: `"scl"` and `"3,8,9,10"`, or numbers.

    Raises:
        UsageError: If one is there without the other, or the values are no whole numbers.
    """
    if asset is None and values is None:
        return None
    words = values.split(",") if isinstance(values, str) else values
    try:
        numbers = tuple(int(word) for word in words or ())
    except ValueError:
        raise UsageError(
            f"{option('mask_values', values)} are not whole numbers; give 3,8,9,10"
        ) from None
    if asset is None or not numbers:
        raise UsageError(
            f"give both {option('mask_asset')} and {option('mask_values')}, or neither"
        )
    return Mask(asset, numbers)


@dataclass(frozen=True)
class _Layer:
    """One band of one asset, as the item describes it."""

    asset: str
    href: str
    index: int
    name: str
    common: str | None
    scale: float | None
    offset: float | None
    nodata: float | None
    rank: tuple[bool, bool, bool]


def open_item(
    item: Mapping[str, Any],
    wanted: Sequence[WantedBand],
    mapping: Mapping[str, int | str] | None = None,
    *,
    gsd_range: tuple[float, float] | None = None,
    mask: Mask | None = None,
) -> Scene:
    """Open the assets of an item that hold the bands wanted.

    Assets of different resolution or CRS are read onto the grid of the finest of them whose pixel
    size the task has seen. Scale and offset are the item's, else the file's.

    Args:
        item: The item as JSON, with absolute hrefs.
        wanted: Bands a task reads.
        mapping: Asset or band of the item, by the name of a wanted band.
        gsd_range: Pixel sizes the task has seen, m.
        mask: Which pixels to leave out.

    Raises:
        BandError: If it lacks a band or the mask; says what it has.
        SceneError: If an asset cannot be read.
    """
    layers = [_find_layer(item, band, mapping or {}) for band in wanted]
    scenes = {layer.href: open_scene(layer.href) for layer in layers}
    base = _finest([scenes[layer.href] for layer in layers], gsd_range)
    grids = {href: warp_to_grid(scene, base.geobox) for href, scene in scenes.items()}
    where = None
    if mask is not None:
        href = _asset_href(item, mask.asset)
        where = warp_to_grid(open_scene(href), base.geobox, resampling="nearest")
    bands = tuple(
        _band(i, layer, want, scenes[layer.href])
        for i, (layer, want) in enumerate(zip(layers, wanted, strict=True), 1)
    )
    return ItemScene(item, bands, [(grids[one.href], one) for one in layers], base, where, mask)


class ItemScene(Scene):
    """Bands of several rasters as one scene."""

    def __init__(
        self,
        item: Mapping[str, Any],
        bands: tuple[Band, ...],
        layers: Sequence[tuple[Scene, _Layer]],
        base: Scene,
        where: Scene | None,
        mask: Mask | None,
    ) -> None:
        self._layers, self._where, self._mask = tuple(layers), where, mask
        super().__init__(
            SceneInfo(
                uri=item_key(item),
                name=str(item["id"]),
                geobox=base.geobox,
                bands=bands,
                dtype=np.result_type(*(band.dtype for band in bands)),
                nodata=base.nodata,
                maskable=True,
                tags={**_times(item), "AREA_OR_POINT": base.tags.get("AREA_OR_POINT", "Area")},
                crs_wkt=base.crs_wkt,
                notes=base.notes,
            )
        )

    @property
    def files(self) -> tuple[str, ...]:
        """The files of all assets that are read."""
        scenes = [scene for scene, _ in self._layers] + ([self._where] if self._where else [])
        return tuple(dict.fromkeys(file for scene in scenes for file in scene.files))

    @property
    def identity(self) -> SourceIdentity:
        """Hash of the identities of all assets, and of how they are read."""
        told = [f"{scene.identity} {layer.index}" for scene, layer in self._layers]
        told += [f"{band.scale} {band.offset}" for band in self.bands]
        if self._where is not None:
            told.append(f"{self._where.identity} {self._mask}")
        return SourceIdentity("token", hashlib.sha256("\n".join(told).encode()).hexdigest())

    def close(self) -> None:
        """Close the files of all assets."""
        for scene, _ in self._layers:
            scene.close()
        if self._where is not None:
            self._where.close()

    def _read(self, window: Window, bands: tuple[Band, ...], out_shape: tuple[int, int]) -> Patch:
        data = np.empty((len(bands), *out_shape), np.result_type(*(band.dtype for band in bands)))
        valid = np.ones(out_shape, bool)
        for plane, band in zip(data, bands, strict=True):
            scene, layer = self._layers[band.index - 1]
            patch = scene.read(window, [layer.index], out_shape=out_shape)
            plane[...] = patch.data[0]
            valid &= patch.valid
            if layer.nodata is not None:
                valid &= holds_values(patch.data, [layer.nodata])
        if self._where is not None and self._mask is not None:
            seen = self._where.read(window, [1], out_shape=out_shape)
            valid &= ~np.isin(seen.data[0], self._mask.values)
        return Patch(data, valid)


def item_key(item: Mapping[str, Any]) -> str:
    """What an item is known by: where it lies, else its collection and id."""
    links = (link["href"] for link in item.get("links", ()) if link.get("rel") == "self")
    return str(next(links, f"{item.get('collection') or 'item'}/{item['id']}"))


def hrefs_of(item: Mapping[str, Any]) -> tuple[str, ...]:
    """Where the assets of an item lie."""
    return tuple(asset["href"] for asset in item.get("assets", {}).values())


def _find_layer(
    item: Mapping[str, Any], want: WantedBand, mapping: Mapping[str, int | str]
) -> _Layer:
    layers = sorted(_layers(item), key=lambda layer: layer.rank)
    asked = mapping.get(want.name)
    common = want.common_name or common_name(want.name)
    tests: list[Callable[[_Layer], bool]]
    if asked is not None:
        tests = [lambda one: str(asked) in (one.asset, one.name)]
    else:
        tests = [
            lambda one: one.name.casefold() == want.name.casefold(),
            lambda one: common is not None and one.common == common,
            lambda one: one.asset.casefold() == want.name.casefold(),
        ]
    for test in tests:
        found = next((layer for layer in layers if test(layer)), None)
        if found is not None:
            return found
    raise BandError(
        f"asked item {item['id']} for band {asked or want.name}; it has {_inventory(item)}; pass "
        f"{option('bands', {want.name: 'ASSET'})}"
    )


def _layers(item: Mapping[str, Any]) -> Iterator[_Layer]:
    """Every band of every asset that holds measurements."""
    for key, asset in item.get("assets", {}).items():
        roles, kind = set(asset.get("roles") or ()), str(asset.get("type") or "")
        if roles & _PICTURES or kind.startswith(
            ("image/png", "image/jpeg", "text/", "application/")
        ):
            continue
        bands = _bands_of(asset)
        rank = ("visual" in roles or key == "visual", "tiff" not in kind, len(bands) > 1)
        for i, band in enumerate(bands or [{}], 1):
            name = str(band.get("name") or key)
            common = band.get("eo:common_name") or band.get("common_name")
            yield _Layer(
                asset=key,
                href=asset["href"],
                index=i,
                name=name,
                common=common or common_name(name) or (common_name(key) if not bands else None),
                scale=band.get("raster:scale", band.get("scale")),
                offset=band.get("raster:offset", band.get("offset")),
                nodata=_number(band.get("nodata")),
                rank=rank,
            )


def _bands_of(asset: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Bands of an asset, whichever version of STAC describes them."""
    if asset.get("bands"):
        # What all bands have in common may stand at the asset.
        shared = ("nodata", "raster:scale", "raster:offset")
        common = {name: asset[name] for name in shared if name in asset}
        return [{**common, **band} for band in asset["bands"]]
    eo, raster = asset.get("eo:bands") or [], asset.get("raster:bands") or []
    n = max(len(eo), len(raster))
    eo, raster = ([*bands, *({} for _ in range(n - len(bands)))] for bands in (eo, raster))
    return [{**two, **one} for one, two in zip(eo, raster, strict=True)]


def _number(value: Any) -> float | None:
    """A nodata value; NaN is never a measurement anyway."""
    return float(value) if isinstance(value, int | float) else None


def _finest(scenes: Sequence[Scene], gsd_range: tuple[float, float] | None) -> Scene:
    """The scene of smallest pixels, among those whose pixels the task has seen if there are any."""

    def size(scene: Scene) -> float:
        return gsd_m(scene.geobox) or abs(scene.geobox.affine.determinant) ** 0.5

    if gsd_range is not None:
        low, high = gsd_range[0] * (1 - _GSD_TOLERANCE), gsd_range[1] * (1 + _GSD_TOLERANCE)
        scenes = [scene for scene in scenes if low <= size(scene) <= high] or scenes
    return min(scenes, key=size)


def _band(index: int, layer: _Layer, want: WantedBand, scene: Scene) -> Band:
    (found,) = scene.select([layer.index])
    return replace(
        found,
        index=index,
        name=want.name,
        common_name=want.common_name or common_name(want.name),
        scale=found.scale if layer.scale is None else float(layer.scale),
        offset=found.offset if layer.offset is None else float(layer.offset),
    )


def _asset_href(item: Mapping[str, Any], key: str) -> str:
    asset = item.get("assets", {}).get(key)
    if asset is None:
        raise BandError(f"asked item {item['id']} for mask asset {key}; it has {_inventory(item)}")
    return str(asset["href"])


def _inventory(item: Mapping[str, Any]) -> str:
    assets = item.get("assets", {})
    if not assets:
        raise SceneError(f"item {item['id']} has no assets")
    told = []
    for key, asset in assets.items():
        names = [str(band.get("name")) for band in _bands_of(asset) if band.get("name")]
        told.append(f"{key} ({', '.join(names)})" if names and names != [key] else key)
    return f"assets {', '.join(told)}"


def _times(item: Mapping[str, Any]) -> dict[str, str]:
    """When it was seen, as tags."""
    properties = item.get("properties", {})
    names = {
        "datetime": "ACQUISITIONDATETIME",
        "start_datetime": "START_DATETIME",
        "end_datetime": "END_DATETIME",
    }
    return {tag: str(properties[name]) for name, tag in names.items() if properties.get(name)}
