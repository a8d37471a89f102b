from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from odc.geo.geobox import GeoBox
from pyproj import Transformer
from rasterio.warp import Resampling, reproject

from geotrans.errors import SceneError, UsageError
from geotrans.grid import Window
from geotrans.scene import open_scene, pair, warp_to_grid

MakeScene = Callable[..., Path]

UTM = "EPSG:32611"
ORIGIN = (360_000.0, 3_770_000.0)


def _waves(transform: Affine, crs: str, shape: tuple[int, int]) -> np.ndarray:
    """A smooth field over UTM metres, sampled on any grid: what a perfect warp would give."""
    cols, rows = np.meshgrid(np.arange(shape[1]) + 0.5, np.arange(shape[0]) + 0.5)
    x = transform.a * cols + transform.b * rows + transform.c
    y = transform.d * cols + transform.e * rows + transform.f
    if crs != UTM:
        x, y = Transformer.from_crs(crs, UTM, always_xy=True).transform(x, y)
    dx, dy = x - ORIGIN[0], y - ORIGIN[1]
    return np.stack([128 + 60 * np.sin(dx / 150) + 40 * np.cos(dy / 90)]).astype("float32")


def _grid(crs: str, gsd: float, shape: tuple[int, int], *, turn: float = 0.0) -> GeoBox:
    x, y = Transformer.from_crs(UTM, crs, always_xy=True).transform(
        ORIGIN[0] + 100, ORIGIN[1] - 100
    )
    step = gsd / 111_195 if crs == "EPSG:4326" else gsd
    affine = Affine.translation(x, y) @ Affine.rotation(turn) @ Affine.scale(step, -step)
    return GeoBox(shape, affine, crs)


@pytest.fixture
def field(make_scene: MakeScene) -> Path:
    transform = Affine(10, 0, ORIGIN[0], 0, -10, ORIGIN[1])
    return make_scene(
        UTM, (120, 140), dtype="float32", bands=1, data=_waves(transform, UTM, (120, 140)),
        transform=transform,
    )  # fmt: skip


def test_one_grid_is_read_as_it_is(make_scene: MakeScene) -> None:
    source, target = open_scene(make_scene()), open_scene(make_scene())
    paired = pair(source, target)
    assert paired.source is source
    assert paired.target is target
    assert paired.overlap == Window(0, 0, 64, 48)
    window = Window(5, 6, 20, 10)
    both = paired.read(window, source_bands=[2], target_bands=[1, 3])
    assert np.array_equal(both.source.data, source.read(window, [2]).data)
    assert np.array_equal(both.target.data, target.read(window, [1, 3]).data)
    assert both.valid.all()


@pytest.mark.parametrize("resampling", ["bilinear", "cubic"])
@pytest.mark.parametrize(
    "grid",
    [
        _grid("EPSG:4326", 7.0, (60, 70)),
        _grid("EPSG:3857", 12.0, (50, 60)),
        _grid(UTM, 6.3, (80, 90)),
        _grid(UTM, 10.0, (40, 50), turn=-30.0),
        _grid("EPSG:32612", 10.0, (50, 60)),
    ],
    ids=["lon-lat", "mercator", "finer", "turned", "next zone"],
)
def test_a_warped_scene_lies_where_the_ground_does(
    field: Path, grid: GeoBox, resampling: str
) -> None:
    scene = warp_to_grid(open_scene(field), grid, resampling=resampling)
    patch = scene.read(Window.whole(scene.shape))
    expected = _waves(grid.affine, str(grid.crs), scene.shape)
    assert patch.valid.mean() > 0.8
    # At the very edge of the scene a kernel has one side only.
    inner = patch.valid.copy()
    for axis in (0, 1):
        inner &= np.roll(patch.valid, 1, axis) & np.roll(patch.valid, -1, axis)
    # A shift of half a pixel would show as more than 2.
    assert np.abs(patch.data - expected)[:, inner].max() < 0.5


def test_resampling_is_gdals(field: Path) -> None:
    grid = _grid(UTM, 23.0, (30, 35))
    for name in ("nearest", "bilinear", "cubic", "average", "lanczos"):
        patch = warp_to_grid(open_scene(field), grid, resampling=name).read(Window(2, 2, 30, 25))
        with rasterio.open(field) as file:
            truth = np.zeros((1, 30, 35), "float32")
            reproject(
                file.read(), truth, src_transform=file.transform, src_crs=file.crs,
                dst_transform=grid.affine, dst_crs=UTM, resampling=Resampling[name],
            )  # fmt: skip
        difference = np.abs(patch.data - truth[:, 2:27, 2:32])[:, patch.valid]
        assert difference.max() < 0.2, name


@pytest.mark.parametrize("resampling", ["nearest", "bilinear", "average", "cubic"])
@pytest.mark.parametrize("grid", [_grid("EPSG:4326", 17.0, (60, 70)), _grid(UTM, 3.3, (70, 90))])
def test_windows_of_a_warped_scene_agree(
    make_scene: MakeScene, grid: GeoBox, resampling: str
) -> None:
    invalid = np.random.default_rng(0).random((120, 140)) < 0.05
    source = open_scene(
        make_scene(UTM, (120, 140), dtype="uint16", nodata=0, invalid=invalid, origin=ORIGIN)
    )
    scene = warp_to_grid(source, grid, resampling=resampling)
    whole = scene.read(Window.whole(scene.shape))
    for window in (Window(0, 0, 20, 20), Window(13, 17, 31, 9), Window(40, 30, 1, 1)):
        part = scene.read(window)
        assert np.array_equal(part.data, whole.data[:, *window.slices])
        assert np.array_equal(part.valid, whole.valid[window.slices])


def test_invalid_pixels_do_not_bleed(make_scene: MakeScene) -> None:
    invalid = np.zeros((120, 140), bool)
    invalid[40:60, 50:90] = True
    data = np.full((1, 120, 140), 200, "uint8")
    source = open_scene(
        make_scene(UTM, (120, 140), nodata=0, bands=1, data=data, invalid=invalid, origin=ORIGIN)
    )
    patch = warp_to_grid(source, _grid(UTM, 7.0, (150, 180))).read(Window(0, 0, 180, 150))
    assert (patch.data[:, patch.valid] == 200).all()
    # 20 x 40 px of 10 m on a grid of 7 m.
    assert (~patch.valid[:100, :130]).sum() == pytest.approx(800 * 100 / 49, rel=0.05)


def test_a_target_grid_across_crs_and_pixel_size(make_scene: MakeScene, field: Path) -> None:
    grid = _grid("EPSG:4326", 7.0, (60, 70))
    target = open_scene(
        make_scene("EPSG:4326", (60, 70), dtype="float32", bands=1, transform=grid.affine,
                   data=_waves(grid.affine, "EPSG:4326", (60, 70)))
    )  # fmt: skip
    with pair(open_scene(field), target) as paired:
        assert paired.geobox == target.geobox
        window = paired.overlap
        both = paired.read(window)
        difference = np.abs(both.source.data - both.target.data)[:, both.valid]
        assert both.valid.mean() > 0.9
        assert difference.max() < 0.5


def test_a_palette_is_never_mixed(make_scene: MakeScene) -> None:
    data = np.random.default_rng(0).choice([3, 200], (1, 48, 64)).astype("uint8")
    colors = {3: (1, 2, 3, 255), 200: (4, 5, 6, 255)}
    source = open_scene(make_scene(bands=1, data=data, colormap=colors, origin=ORIGIN))
    patch = warp_to_grid(source, _grid(UTM, 7.0, (30, 30))).read(Window(0, 0, 30, 30))
    assert set(np.unique(patch.data[0][patch.valid])) == {3, 200}


def test_without_crs_grids_share_their_units(make_scene: MakeScene) -> None:
    source = open_scene(make_scene(crs=None))
    grid = GeoBox((10, 10), Affine(2, 0, 4, 0, 2, 6), None)
    patch = warp_to_grid(source, grid, resampling="nearest").read(Window(0, 0, 10, 10))
    assert patch.valid.all()
    with pytest.raises(SceneError, match="the scene has no CRS"):
        warp_to_grid(source, _grid(UTM, 10, (5, 5)))


def test_scenes_that_do_not_meet_are_said(make_scene: MakeScene) -> None:
    far = open_scene(make_scene(origin=(700_000.0, 4_500_000.0)))
    with pytest.raises(SceneError, match="do not overlap"):
        pair(open_scene(make_scene()), far)


def test_an_unknown_resampling_is_said(make_scene: MakeScene) -> None:
    scene = open_scene(make_scene())
    with pytest.raises(UsageError, match="did you mean 'bilinear'"):
        warp_to_grid(scene, scene.geobox, resampling="biliner")
