"""Products of held-out places: translated now, or read from files."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from os import PathLike
from typing import TYPE_CHECKING

import numpy as np

from geotrans.errors import BandError, DomainError, SamplingError
from geotrans.evaluation.places import Array, BoolArray, Places
from geotrans.grid import Window
from geotrans.labelling.scene import LabelScene
from geotrans.sampling.matching import Skipped, find_files, match_scenes, open_scenes
from geotrans.scene import Scene, expand_palette, match_bands, open_scene
from geotrans.scene.views.warped import warp_to_grid
from geotrans.tasks import BandSpec, Bundle
from geotrans.translation.lazy import eager_product
from geotrans.translation.options import PixelOptions, RunOptions
from geotrans.translation.plan import plan_job

if TYPE_CHECKING:
    import xarray as xr
    from odc.geo.geobox import GeoBox

log = logging.getLogger(__name__)

# Core edge of the tiles, px: small, so that the places have seams to look for. Never changes a
# product of a network that is strictly local.
TILE = 128

# First rows and first columns of tiles, px.
TileEdges = tuple[Sequence[int], Sequence[int]]

# What a shift by whole pixels may be off by, px: georeferences are rounded.
_ROUNDED_PX = 0.01


@dataclass(frozen=True)
class Products:
    """Pictures of places.

    Attributes:
        values: Stored values, `(N, K, H, W)`.
        edges: First rows and first columns of the tiles each was made from, px of the place; empty
            where that is not known, and None if it is for none of them.
    """

    values: Array
    edges: tuple[TileEdges, ...] | None = None


def translate_places(
    bundle: Bundle,
    places: Places,
    *,
    seed: int,
    tile: int = TILE,
    device: str,
    precision: str,
    advance: Callable[[int], None] = lambda done: None,
) -> Products:
    """Translate each place as a separate scene, as `geotrans translate` does.

    Raises:
        BandError: If the places lack a band the task reads.
        DomainError: If it changes the size of pixels.
    """
    spec = bundle.spec
    if spec.scale != 1:
        raise DomainError(
            f"task '{spec.name}' writes {spec.scale} px for each px it reads, which no truth here "
            "is paired with; translate first, and evaluate the products"
        )
    names = [band.name for band in spec.source]
    patches = _encode_classes(bundle, places)
    if patches is None:
        patches = places.source_bands(names, subject=f"task '{spec.name}'")
    products, edges = None, []
    for i, (patch, geobox) in enumerate(zip(patches, places.geoboxes, strict=True)):
        scene = open_scene(to_data_array(patch, geobox, names, margin=places.margin))
        pixels = PixelOptions(
            seed=seed, precision=precision, any_gsd=True, any_values=True, any_style=True
        )
        run = RunOptions(tile=max(tile, spec.align), device=device)
        job = plan_job(scene, bundle, pixels, run)
        data, _ = eager_product(job)
        rows, cols = (slice(places.margin, places.margin + n) for n in geobox.shape)
        product = data[:, rows, cols]
        if products is None:
            shape = (len(places), len(product), *places.valid.shape[1:])
            products = np.zeros(shape, product.dtype)
        products[i, :, : product.shape[1], : product.shape[2]] = product
        edges.append(
            ([row - places.margin for row in job.plan.row_edges],
             [col - places.margin for col in job.plan.col_edges])
        )  # fmt: skip
        advance(1)
    assert products is not None
    return Products(products, tuple(edges))


def to_data_array(
    patch: Array, geobox: GeoBox, names: Sequence[str], *, margin: int = 0
) -> xr.DataArray:
    """A patch `(C, H, W)`, cut to its grid and the margin around, as an array that knows both."""
    import rioxarray  # noqa: F401  registers the `.rio` accessor
    import xarray as xr
    from affine import Affine

    rows, cols = (slice(0, n + 2 * margin) for n in geobox.shape)
    array = xr.DataArray(
        patch[:, rows, cols], dims=("band", "y", "x"), coords={"band": list(names)}, name="place"
    )
    array = array.rio.write_crs(str(geobox.crs))
    georeferenced: xr.DataArray = array.rio.write_transform(
        geobox.affine @ Affine.translation(-margin, -margin)
    )
    return georeferenced


def relabel_classes(recipe: str, products: Array, places: Places) -> Array:
    """Classes `(N, 1, H, W)` that a recipe finds in products."""
    labels = np.zeros((len(products), 1, *products.shape[2:]), np.uint8)
    for product, geobox, label_map in zip(products, places.geoboxes, labels, strict=True):
        scene = open_scene(to_data_array(product, geobox, places.bands))
        classes = LabelScene(scene, recipe, any_gsd=True, any_values=True)
        rows, cols = geobox.shape
        label_map[:, :rows, :cols] = classes.read(Window.whole((rows, cols))).data
    return labels


def _encode_classes(bundle: Bundle, places: Places) -> Array | None:
    """Sources of classes in the values a task knows; None for a task that reads bands."""
    if bundle.spec.source_classes is None:
        return None
    assert places.classes is not None
    values = np.zeros(256, np.uint8)
    for i, item in enumerate(bundle.spec.source_classes):
        values[i] = item.value
    encoded: Array = values[places.classes][:, None]
    return encoded


def read_products(location: str | PathLike[str], places: Places) -> tuple[Places, Products]:
    """Products that files hold, on the grids of the places.

    A product belongs to a place whose file name it begins with, or else to the one it covers most
    of. Places without a product are left out, with a warning.

    Args:
        location: Folder or glob.
        places: Where to look.

    Returns:
        The places that have a product, valid where both are, and the products.

    Raises:
        SamplingError: If no place has one.
        BandError: If a product lacks a band of the truth, or stores another type.
    """
    scenes = open_scenes(find_files(location))
    unmatched = Skipped("places without a product")
    chosen, values, valid_masks, edges = [], [], [], []
    for i, record in enumerate(places.records):
        scene = _find_product(record.name, places.geoboxes[i], scenes)
        if scene is None:
            unmatched.add(record.name)
            continue
        data, valid = read_on_grid(scene, places, i)
        chosen.append(i)
        values.append(data)
        valid_masks.append(valid)
        edges.append(_read_tile_edges(scene, places.geoboxes[i]))
    if not chosen:
        raise SamplingError(
            f"none of the {len(scenes)} products in {location} lies on any of the {len(places)} "
            f"places, the first of which is {places.records[0].name}; products are paired by file "
            "name, else by ground"
        )
    unmatched.warn(len(places))
    matched = places[chosen]
    valid = matched.valid & np.stack(valid_masks)
    if not valid.any():
        raise SamplingError(f"no pixel of the products in {location} is valid where the truth is")
    has_edges = any(rows or cols for rows, cols in edges)
    return replace(matched, valid=valid), Products(
        np.stack(values), tuple(edges) if has_edges else None
    )


def _read_tile_edges(product: Scene, geobox: GeoBox) -> TileEdges:
    """Where the tiles begin that a product says it was made from, if the place is on its grid."""
    params = json.loads(product.tags.get("GEOTRANS_PARAMS", "{}"))
    to_place = ~geobox.affine @ product.geobox.affine
    shift = round(to_place.f), round(to_place.c)
    height, width = product.shape
    corners = [to_place @ corner for corner in ((0, 0), (width, 0), (0, height))]
    expected = [(shift[1], shift[0]), (width + shift[1], shift[0]), (shift[1], height + shift[0])]
    if "row_edges" not in params or not np.allclose(corners, expected, rtol=0, atol=_ROUNDED_PX):
        return [], []
    return (
        [row + shift[0] for row in params["row_edges"]],
        [col + shift[1] for col in params["col_edges"]],
    )


def _find_product(name: str, geobox: GeoBox, scenes: Sequence[Scene]) -> Scene | None:
    matches = [s for s in scenes if s.name == name or s.name.startswith(f"{name}_")]
    if matches:
        return min(matches, key=lambda scene: len(scene.name))
    try:
        return match_scenes([_Grid(geobox, name)], scenes)[0][1]  # type: ignore[list-item]
    except SamplingError:
        return None


@dataclass(frozen=True)
class _Grid:
    """The part of a scene's interface that pairing by ground needs."""

    geobox: GeoBox
    name: str
    uri: str = "place:"


def read_on_grid(
    scene: Scene, places: Places, i: int, resampling: str = "nearest"
) -> tuple[Array, BoolArray]:
    """A product on the grid of a place and where it is valid, padded like the truth.

    Raises:
        BandError: If it lacks a band of the truth, or stores another type.
    """
    if len(places.bands) > 1:
        scene = expand_palette(scene)
    try:
        positions = match_bands(scene, [BandSpec(name=name) for name in places.bands])
    except BandError as error:
        available = ", ".join(str(band.name or band.colorinterp) for band in scene.bands)
        raise BandError(
            f"the truth has the bands {', '.join(places.bands)}, the product {scene.name} has "
            f"{available}; name them alike"
        ) from error
    if scene.dtype != places.target.dtype:
        raise BandError(
            f"the product {scene.name} stores {scene.dtype}, the truth {places.target.dtype}; "
            "compare what is stored alike"
        )
    geobox = places.geoboxes[i]
    rows, cols = geobox.shape
    patch = warp_to_grid(scene, geobox, resampling=resampling).read(
        Window.whole((rows, cols)), positions
    )
    values = np.zeros(places.target.shape[1:], places.target.dtype)
    valid = np.zeros(places.valid.shape[1:], bool)
    values[:, :rows, :cols], valid[:rows, :cols] = patch.data, patch.valid
    return values, valid
