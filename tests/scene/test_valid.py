from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine

from geotrans.grid import Window
from geotrans.scene import open_scene

MakeScene = Callable[..., Path]
WHOLE = Window(0, 0, 64, 48)


@pytest.fixture
def hole() -> np.ndarray:
    invalid = np.zeros((48, 64), bool)
    invalid[10:20, 5:40] = True
    invalid[47, 63] = True
    return invalid


@pytest.mark.parametrize(
    "options",
    [
        {"nodata": 0},
        {"nodata": 255},
        {"dtype": "uint16", "nodata": 65535},
        {"dtype": "int16", "nodata": -9999},
        {"dtype": "float32", "nodata": -9999.0},
        {"dtype": "float32", "nodata": float("nan")},
        {"dtype": "float32", "nodata": -3.4028234663852886e38},
        {"dtype": "float64", "nodata": -1.7976931348623157e308},
        {"alpha": True},
        {"alpha": True, "dtype": "uint16"},
        {"mask": True},
        {"mask": True, "dtype": "int16"},
    ],
    ids=str,
)
def test_valid_is_what_gdals_masks_say(
    make_scene: MakeScene, hole: np.ndarray, options: dict[str, object]
) -> None:
    path = make_scene(invalid=hole, **options)
    scene = open_scene(path)
    assert scene.maskable
    assert len(scene.bands) == 3
    patch = scene.read(WHOLE)
    assert np.array_equal(patch.valid, ~hole)
    with rasterio.open(path) as truth:
        masks = truth.read_masks([1, 2, 3])
    assert np.array_equal(patch.valid, (masks != 0).all(axis=0))
    part = Window(3, 8, 20, 9)
    assert np.array_equal(scene.read(part, [2]).valid, ~hole[part.slices])


def test_dark_in_one_band_is_not_a_hole(tmp_path: Path, hole: np.ndarray) -> None:
    data = np.full((3, 48, 64), 7, "uint8")
    data[:, hole] = 0
    data[0, 30:] = 0
    grid = {"width": 64, "height": 48, "count": 3, "nodata": 0, "transform": Affine.scale(10)}
    for dtype in ("uint8", "int16"):
        with rasterio.open(tmp_path / f"{dtype}.tif", "w", dtype=dtype, **grid) as file:
            file.write(data.astype(dtype))
    scene = open_scene(tmp_path / "uint8.tif")
    assert np.array_equal(scene.read(WHOLE).valid, ~hole)
    assert not scene.read(Window(0, 30, 64, 1), [1]).valid.any()  # nothing else tells it apart
    signed = open_scene(tmp_path / "int16.tif")  # 0 is no lack of light there
    assert np.array_equal(signed.read(WHOLE).valid, data.all(axis=0))


def test_nan_and_infinite_values_are_not_valid_without_any_nodata(make_scene: MakeScene) -> None:
    data = np.ones((2, 48, 64), "float32")
    data[0, 1, 2], data[1, 3, 4], data[1, 5, 6] = np.nan, np.inf, -np.inf
    scene = open_scene(make_scene(dtype="float32", bands=2, data=data))
    expected = np.isfinite(data).all(axis=0)
    assert np.array_equal(scene.read(WHOLE).valid, expected)
    assert (~scene.read(WHOLE, [1]).valid).sum() == 1


def test_nodata_alpha_and_mask_all_count(make_scene: MakeScene, hole: np.ndarray) -> None:
    """GDAL's own mask looks at one of them only."""
    data = np.full((3, 48, 64), 7, "uint8")
    data[:, 40, 40] = 0
    path = make_scene(nodata=0, data=data, alpha=True, invalid=None)
    with rasterio.open(path, "r+") as file:
        file.write((~hole * 255).astype("uint8"), 4)
    expected = ~hole
    expected[40, 40] = False
    assert np.array_equal(open_scene(path).read(WHOLE).valid, expected)
    masked = make_scene(nodata=0, data=data, mask=True)
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(masked, "r+") as file:
        file.write_mask(~hole)
    assert np.array_equal(open_scene(masked).read(WHOLE).valid, expected)


def test_a_mask_file_beside_the_scene_counts(make_scene: MakeScene, hole: np.ndarray) -> None:
    path = make_scene()
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=False), rasterio.open(path, "r+") as file:
        file.write_mask(~hole)
    assert path.with_name(path.name + ".msk").exists()
    assert np.array_equal(open_scene(path).read(WHOLE).valid, ~hole)


def test_only_the_bands_used_count(make_scene: MakeScene) -> None:
    data = np.full((3, 48, 64), 9, "uint8")
    data[2, :, :10] = 255
    scene = open_scene(make_scene(nodata=255, data=data))
    assert scene.read(WHOLE, [1, 2]).valid.all()
    assert not scene.read(WHOLE).valid[:, :10].any()


@pytest.mark.parametrize("nodata", [-9999.0, 300.0, 0.5])
def test_a_nodata_value_no_pixel_can_have_marks_none(tmp_path: Path, nodata: float) -> None:
    path = tmp_path / "odd.vrt"
    path.write_text(
        '<VRTDataset rasterXSize="64" rasterYSize="48">'
        "<GeoTransform>5, 1, 0, 9, 0, -1</GeoTransform>"
        f'<VRTRasterBand dataType="Byte" band="1"><NoDataValue>{nodata}</NoDataValue>'
        "</VRTRasterBand></VRTDataset>"
    )
    assert open_scene(path).read(WHOLE).valid.all()


def test_a_scene_in_which_everything_counts_says_so(make_scene: MakeScene) -> None:
    scene = open_scene(make_scene())
    assert not scene.maskable
    assert scene.read(WHOLE).valid.all()
