"""The product encoded behind its tiles is the one GDAL's COG driver makes of them."""

from __future__ import annotations

import math
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from rio_cogeo.cogeo import cog_validate

from geotrans.parts.layout import Layout, LayoutBand
from geotrans.product import make as making
from geotrans.product.cog.driver import cog_options
from geotrans.product.cog.encode import Encoded, encode, encoding_profile
from geotrans.scene.base import Patch
from geotrans.translation.translate import translate
from tests.helpers.bundles import identity_bundle, random_bundle
from tests.helpers.scenes import write_scene
from tests.helpers.thorough import slow

LARGE = (1300, 2060)


def _gaps(shape: tuple[int, int]) -> np.ndarray[Any, Any]:
    invalid = np.zeros(shape, bool)
    invalid[: shape[0] // 3, shape[1] // 2 :] = True
    invalid[::37, ::41] = True
    return invalid


@pytest.mark.parametrize(
    ("shape", "dtype", "choices", "options"),
    [
        ((300, 400), "uint8", {}, {}),
        ((513, 90), "uint8", {"mask": True}, {}),
        ((1025, 1025), "uint8", {}, {}),
        slow(LARGE, "uint8", {"mask": True}, {}),
        ((700, 1100), "uint16", {"nodata": 7}, {"COMPRESS": "ZSTD"}),
        ((600, 700), "int16", {"mask": True, "crs": "EPSG:4326"}, {"LEVEL": "6"}),
        slow((600, 1100), "float32", {"nodata": math.nan}, {"PREDICTOR": "NO"}),
        ((600, 520), "float32", {"mask": True, "rotation": 9.0}, {"COMPRESS": "LZW"}),
        slow((600, 700), "uint8", {"bands": ("a", "b"), "mask": True}, {"BIGTIFF": "YES"}),
        ((600, 700), "uint8", {"bands": ("red", "green", "blue", "nir")}, {}),
        slow((2304, 4352), "uint8", {"mask": True}, {}),
        slow((4100, 600), "int16", {"nodata": -1}, {}),
    ],
)
def test_it_is_the_product_of_the_cog_driver(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    shape: tuple[int, int],
    dtype: str,
    choices: dict[str, Any],
    options: dict[str, str],
) -> None:
    if "mask" in choices or "nodata" in choices:
        choices["invalid"] = _gaps(shape)
    path = write_scene(tmp_path / "scene.tif", shape=shape, dtype=dtype, block=256, **choices)
    bands = choices.get("bands", ("red", "green", "blue"))
    bundle = identity_bundle(tmp_path / "same.safetensors", dtype=dtype, bands=bands)
    ours = _translate(path, bundle, tmp_path / "ours.tif", options)
    monkeypatch.setattr(making, "can_stream", lambda options: False)
    theirs = _translate(path, bundle, tmp_path / "theirs.tif", options)
    _compare(ours, theirs)
    with rasterio.open(ours) as file, rasterio.open(path) as source:
        valid = file.dataset_mask() != 0
        assert np.array_equal(file.read()[:, valid], source.read()[: file.count, valid])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_a_fourth_band_is_written_without_a_word(capfd: pytest.CaptureFixture[str]) -> None:
    """GDAL's own threads print an error about extra samples, in one block of some hundred."""
    names = ("red", "green", "blue", "undefined")
    layout = Layout(tuple(LayoutBand(name, name) for name in names), "uint8")
    profile = encoding_profile(layout, cog_options(layout))
    valid = np.zeros((1024, 2048), bool)
    valid[300:600, 900:1300] = True  # blocks that are done at once, beside some that take a while
    data = np.random.default_rng(0).integers(0, 256, (4, *valid.shape), np.uint8) * valid
    patch = Patch(data, valid)
    with ThreadPoolExecutor(2) as pool:
        made = list(pool.map(lambda _: _encoded(patch, profile), range(30)))
    assert all(one.images[1].shape == valid.shape for one in made)
    assert capfd.readouterr().err == ""


def _encoded(patch: Patch, profile: dict[str, Any]) -> Encoded:
    return encode(patch, profile, factors=(2, 4), resampling="AVERAGE")


def test_classes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    palette = [
        {"name": "ground", "color": (240, 240, 230)},
        {"name": "water & sea", "color": (120, 170, 220)},
    ]
    bundle = random_bundle(tmp_path / "classes.safetensors", palette=palette)
    path = write_scene(tmp_path / "scene.tif", shape=(600, 1100), gsd_m=0.6, block=256)
    ours = _translate(path, bundle, tmp_path / "ours.tif", {}, as_="classes", precision="float32")
    monkeypatch.setattr(making, "can_stream", lambda options: False)
    theirs = _translate(
        path, bundle, tmp_path / "theirs.tif", {}, as_="classes", precision="float32"
    )
    _compare(ours, theirs)
    for product in (ours, theirs):
        with rasterio.open(product) as file:
            assert file.colormap(1)[1] == (120, 170, 220, 255)
        with rasterio.open(product, overview_level=1) as file:
            assert file.colorinterp[0].name == "palette"
        names = product.with_name(f"{product.name}.aux.xml").read_text()
        assert "<Category>water &amp; sea</Category>" in names


def _translate(
    path: Path, bundle: Path, out: Path, options: dict[str, str], **choices: Any
) -> Path:
    return translate(path, task=bundle, out=out, tile=450, creation_options=options, **choices).path


def _compare(ours: Path, theirs: Path) -> None:
    for product in (ours, theirs):
        assert cog_validate(product, strict=True, quiet=True) == (True, [], [])
    with rasterio.open(ours) as a, rasterio.open(theirs) as b:
        n_overviews = len(a.overviews(1))
        assert repr(a.profile) == repr(b.profile)
        assert a.overviews(1) == b.overviews(1)
        assert a.descriptions == b.descriptions
        assert a.colorinterp == b.colorinterp
        assert a.mask_flag_enums == b.mask_flag_enums
        assert (a.scales, a.offsets, a.units) == (b.scales, b.offsets, b.units)
        assert {**a.tags(), "GEOTRANS_CREATED": ""} == {**b.tags(), "GEOTRANS_CREATED": ""}
        packets = [re.sub(r"\s", "", f.tags(ns="xml:XMP")["xml:XMP"]) for f in (a, b)]
        assert packets[0] == packets[1]
        assert a.tags(ns="IMAGE_STRUCTURE") == b.tags(ns="IMAGE_STRUCTURE")
    for level in (None, *range(n_overviews)):
        chosen = {} if level is None else {"overview_level": level}
        with rasterio.open(ours, **chosen) as a, rasterio.open(theirs, **chosen) as b:
            if a.shape != b.shape:
                # Of an odd number of pixels the driver makes fewer, each of a bit more than two.
                assert np.subtract(a.shape, b.shape).max() == 1
                break
            assert a.block_shapes == b.block_shapes
            masks = a.dataset_mask(), b.dataset_mask()
            assert np.array_equal(*masks), f"mask of overview {level}"
            valid = masks[0] != 0
            one, other = a.read()[:, valid], b.read()[:, valid]
            assert np.array_equal(one, other), f"overview {level}"
