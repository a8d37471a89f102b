"""A STAC Item as a scene: the assets a task reads on one grid, without pixels a mask excludes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from geotrans.errors import BandError, SceneError, UsageError, option
from geotrans.grid import Window, gsd_m
from geotrans.scene.access.identity import SourceIdentity
from geotrans.scene.bands import WantedBand, find_common_name
from geotrans.scene.base import Band, Patch, Scene, SceneInfo
from geotrans.scene.open import open_scene
from geotrans.scene.valid import find_valid
from geotrans.scene.views.warped import warp_to_grid

# Assets that are pictures of the item rather than its measurements.
_PICTURE_ROLES = {"thumbnail", "overview", "metadata", "tilejson"}

# Pixel sizes are given in round numbers.
_GSD_TOLERANCE = 0.05


@dataclass(frozen=True)
class Mask:
    """Pixels to exclude: those where an asset has one of the given values.

    Attributes:
        asset: Its key in the item, such as `"scl"`.
        values: Stored values that exclude a pixel.
    """

    asset: str
    values: tuple[int, ...]


def parse_mask(asset: str | None, values: Sequence[int] | str | None) -> Mask | None:
    """Parse the mask options, such as `"scl"` and `"3,8,9,10"`, or numbers.

    Raises:
        UsageError: If one is given without the other, or the values are no whole numbers.
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

    Assets of different resolution or CRS are resampled to the grid of the finest of them whose
    pixel size lies in `gsd_range`. Scale and offset are the item's, else the file's.

    Args:
        item: The item as JSON, with absolute hrefs.
        wanted: Bands a task reads.
        mapping: Asset or band of the item, by the name of a wanted band.
        gsd_range: Smallest and largest pixel size of the task, m.
        mask: Pixels to exclude.

    Raises:
        BandError: If it lacks a band or the mask; the message lists what it has.
        SceneError: If an asset cannot be read.
    """
    layers = [_find_layer(item, band, mapping or {}) for band in wanted]
    scenes = {layer.href: open_scene(layer.href) for layer in layers}
    base = _choose_finest([scenes[layer.href] for layer in layers], gsd_range)
    grids = {href: warp_to_grid(scene, base.geobox) for href, scene in scenes.items()}
    mask_scene = None
    if mask is not None:
        href = _find_asset_href(item, mask.asset)
        mask_scene = warp_to_grid(open_scene(href), base.geobox, resampling="nearest")
    bands = tuple(
        _make_band(i, layer, spec, scenes[layer.href])
        for i, (layer, spec) in enumerate(zip(layers, wanted, strict=True), 1)
    )
    return ItemScene(
        item, bands, [(grids[layer.href], layer) for layer in layers], base, mask_scene, mask
    )


class ItemScene(Scene):
    """Bands of several rasters as one scene."""

    def __init__(
        self,
        item: Mapping[str, Any],
        bands: tuple[Band, ...],
        layers: Sequence[tuple[Scene, _Layer]],
        base: Scene,
        mask_scene: Scene | None,
        mask: Mask | None,
    ) -> None:
        self._layers, self._mask_scene, self._mask = tuple(layers), mask_scene, mask
        super().__init__(
            SceneInfo(
                uri=get_item_key(item),
                name=str(item["id"]),
                geobox=base.geobox,
                bands=bands,
                dtype=np.result_type(*(band.dtype for band in bands)),
                nodata=base.nodata,
                maskable=True,
                tags={**_read_times(item), "AREA_OR_POINT": base.tags.get("AREA_OR_POINT", "Area")},
                crs_wkt=base.crs_wkt,
                notes=base.notes,
            )
        )

    @property
    def files(self) -> tuple[str, ...]:
        """The files of all assets that are read."""
        scenes = [scene for scene, _ in self._layers] + (
            [self._mask_scene] if self._mask_scene else []
        )
        return tuple(dict.fromkeys(file for scene in scenes for file in scene.files))

    @property
    def identity(self) -> SourceIdentity:
        """Hash of the identities of all assets, and of how they are read."""
        lines = [f"{scene.identity} {layer.index}" for scene, layer in self._layers]
        lines += [f"{band.scale} {band.offset}" for band in self.bands]
        if self._mask_scene is not None:
            lines.append(f"{self._mask_scene.identity} {self._mask}")
        return SourceIdentity("token", hashlib.sha256("\n".join(lines).encode()).hexdigest())

    def close(self) -> None:
        """Close the files of all assets."""
        for scene, _ in self._layers:
            scene.close()
        if self._mask_scene is not None:
            self._mask_scene.close()

    def _read(self, window: Window, bands: tuple[Band, ...], out_shape: tuple[int, int]) -> Patch:
        data = np.empty((len(bands), *out_shape), np.result_type(*(band.dtype for band in bands)))
        valid = np.ones(out_shape, bool)
        for channel, band in zip(data, bands, strict=True):
            scene, layer = self._layers[band.index - 1]
            patch = scene.read(window, [layer.index], out_shape=out_shape)
            channel[...] = patch.data[0]
            valid &= patch.valid
            if layer.nodata is not None:
                valid &= find_valid(patch.data, [layer.nodata])
        if self._mask_scene is not None and self._mask is not None:
            mask_patch = self._mask_scene.read(window, [1], out_shape=out_shape)
            valid &= ~np.isin(mask_patch.data[0], self._mask.values)
        return Patch(data, valid)


def get_item_key(item: Mapping[str, Any]) -> str:
    """The key of an item: its URL, else its collection and id."""
    links = (link["href"] for link in item.get("links", ()) if link.get("rel") == "self")
    return str(next(links, f"{item.get('collection') or 'item'}/{item['id']}"))


def list_hrefs(item: Mapping[str, Any]) -> tuple[str, ...]:
    """Hrefs of the assets of an item."""
    return tuple(asset["href"] for asset in item.get("assets", {}).values())


def _find_layer(
    item: Mapping[str, Any], spec: WantedBand, mapping: Mapping[str, int | str]
) -> _Layer:
    layers = sorted(_iter_layers(item), key=lambda layer: layer.rank)
    key = mapping.get(spec.name)
    common = spec.common_name or find_common_name(spec.name)
    tests: list[Callable[[_Layer], bool]]
    if key is not None:
        tests = [lambda layer: str(key) in (layer.asset, layer.name)]
    else:
        tests = [
            lambda layer: layer.name.casefold() == spec.name.casefold(),
            lambda layer: common is not None and layer.common == common,
            lambda layer: layer.asset.casefold() == spec.name.casefold(),
        ]
    for test in tests:
        match = next((layer for layer in layers if test(layer)), None)
        if match is not None:
            return match
    raise BandError(
        f"asked item {item['id']} for band {key or spec.name}; it has {_describe_assets(item)}; "
        f"pass {option('bands', {spec.name: 'ASSET'})}"
    )


def _iter_layers(item: Mapping[str, Any]) -> Iterator[_Layer]:
    """Iterate over the bands of all assets that hold measurements."""
    for key, asset in item.get("assets", {}).items():
        roles, kind = set(asset.get("roles") or ()), str(asset.get("type") or "")
        if roles & _PICTURE_ROLES or kind.startswith(
            ("image/png", "image/jpeg", "text/", "application/")
        ):
            continue
        bands = _list_bands(asset)
        rank = ("visual" in roles or key == "visual", "tiff" not in kind, len(bands) > 1)
        for i, band in enumerate(bands or [{}], 1):
            name = str(band.get("name") or key)
            common = band.get("eo:common_name") or band.get("common_name")
            yield _Layer(
                asset=key,
                href=asset["href"],
                index=i,
                name=name,
                common=common
                or find_common_name(name)
                or (find_common_name(key) if not bands else None),
                scale=band.get("raster:scale", band.get("scale")),
                offset=band.get("raster:offset", band.get("offset")),
                nodata=_parse_nodata(band.get("nodata")),
                rank=rank,
            )


def _list_bands(asset: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Bands of an asset, as any version of STAC describes them."""
    if asset.get("bands"):
        # Fields common to all bands may be given on the asset.
        shared = ("nodata", "raster:scale", "raster:offset")
        common = {name: asset[name] for name in shared if name in asset}
        return [{**common, **band} for band in asset["bands"]]
    eo, raster = asset.get("eo:bands") or [], asset.get("raster:bands") or []
    n = max(len(eo), len(raster))
    eo, raster = ([*bands, *({} for _ in range(n - len(bands)))] for bands in (eo, raster))
    return [{**second, **first} for first, second in zip(eo, raster, strict=True)]


def _parse_nodata(value: Any) -> float | None:
    """A nodata value; NaN is never a measurement anyway."""
    return float(value) if isinstance(value, int | float) else None


def _choose_finest(scenes: Sequence[Scene], gsd_range: tuple[float, float] | None) -> Scene:
    """The scene of smallest pixels, if possible of those whose pixel size is in the range."""

    def size(scene: Scene) -> float:
        return gsd_m(scene.geobox) or abs(scene.geobox.affine.determinant) ** 0.5

    if gsd_range is not None:
        low, high = gsd_range[0] * (1 - _GSD_TOLERANCE), gsd_range[1] * (1 + _GSD_TOLERANCE)
        scenes = [scene for scene in scenes if low <= size(scene) <= high] or scenes
    return min(scenes, key=size)


def _make_band(index: int, layer: _Layer, spec: WantedBand, scene: Scene) -> Band:
    (stored,) = scene.select([layer.index])
    return replace(
        stored,
        index=index,
        name=spec.name,
        common_name=spec.common_name or find_common_name(spec.name),
        scale=stored.scale if layer.scale is None else float(layer.scale),
        offset=stored.offset if layer.offset is None else float(layer.offset),
    )


def _find_asset_href(item: Mapping[str, Any], key: str) -> str:
    asset = item.get("assets", {}).get(key)
    if asset is None:
        raise BandError(
            f"asked item {item['id']} for mask asset {key}; it has {_describe_assets(item)}"
        )
    return str(asset["href"])


def _describe_assets(item: Mapping[str, Any]) -> str:
    assets = item.get("assets", {})
    if not assets:
        raise SceneError(f"item {item['id']} has no assets")
    descriptions = []
    for key, asset in assets.items():
        names = [str(band.get("name")) for band in _list_bands(asset) if band.get("name")]
        descriptions.append(f"{key} ({', '.join(names)})" if names and names != [key] else key)
    return f"assets {', '.join(descriptions)}"


def _read_times(item: Mapping[str, Any]) -> dict[str, str]:
    """Acquisition times as tags."""
    properties = item.get("properties", {})
    names = {
        "datetime": "ACQUISITIONDATETIME",
        "start_datetime": "START_DATETIME",
        "end_datetime": "END_DATETIME",
    }
    return {tag: str(properties[name]) for name, tag in names.items() if properties.get(name)}
