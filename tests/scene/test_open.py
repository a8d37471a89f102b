from __future__ import annotations

import os
import pickle
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from affine import Affine
from rasterio.enums import ColorInterp
from rasterio.windows import Window as RasterioWindow

from geotrans.errors import BandError, SceneError, UsageError
from geotrans.grid import Window
from geotrans.scene import Patch, Scene, open_scene
from geotrans.scene.access import datasets as handles
from tests.helpers.scenes import coded

MakeScene = Callable[..., Path]

WHOLE = Window(0, 0, 64, 48)


@pytest.mark.parametrize("crs", ["EPSG:32611", "EPSG:4326", "EPSG:2229", "ESRI:102003"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32", "float64"])
def test_a_scene_is_what_rasterio_says(make_scene: MakeScene, crs: str, dtype: str) -> None:
    path = make_scene(crs=crs, dtype=dtype, tags={"PLACE": "here"})
    with open_scene(path) as scene, rasterio.open(path) as truth:
        assert scene.shape == truth.shape
        assert scene.geobox.affine == truth.transform
        assert rasterio.crs.CRS.from_user_input(scene.crs_wkt) == truth.crs
        assert scene.geobox.crs == truth.crs.to_wkt()
        assert scene.dtype == np.dtype(dtype)
        assert scene.nodata is None
        assert scene.tags["PLACE"] == "here"
        assert scene.notes == ()
        assert [b.name for b in scene.bands] == ["red", "green", "blue"]
        patch = scene.read(WHOLE)
        assert patch.data.dtype == np.dtype(dtype)
        assert np.array_equal(patch.data, coded((48, 64), dtype=dtype))
        assert patch.valid.all()


def test_epsg_codes_are_kept_as_codes(make_scene: MakeScene) -> None:
    assert open_scene(make_scene("EPSG:3857")).geobox.crs.epsg == 3857
    assert open_scene(make_scene("EPSG:26911")).geobox.crs.epsg == 26911


def test_a_window_is_cut_where_rasterio_cuts_it(make_scene: MakeScene) -> None:
    path = make_scene()
    with rasterio.open(path) as truth:
        expected = truth.read([3, 1], window=RasterioWindow(5, 7, 30, 20))
    patch = open_scene(path).read(Window(5, 7, 30, 20), [3, 1])
    assert np.array_equal(patch.data, expected)
    assert patch.valid.shape == (20, 30)


def test_a_scene_opens_as_a_string_a_path_and_itself(make_scene: MakeScene) -> None:
    path = make_scene()
    scene = open_scene(str(path))
    assert open_scene(scene) is scene
    assert open_scene(path).name == scene.name == path.stem
    assert scene.uri == str(path)


@pytest.mark.parametrize("options", [{"rotation": 25.0}, {"rotation": -3.0, "crs": "EPSG:4326"}])
def test_a_rotated_grid_is_handled_as_itself_and_said(
    make_scene: MakeScene, options: dict[str, object]
) -> None:
    path = make_scene(**options)
    scene = open_scene(path)
    with rasterio.open(path) as truth:
        assert scene.geobox.affine == truth.transform
    assert any("rotated" in note for note in scene.notes)
    assert np.array_equal(scene.read(WHOLE).data, coded((48, 64)))


def test_a_scene_without_crs_is_handled_as_itself_and_said(make_scene: MakeScene) -> None:
    scene = open_scene(make_scene(crs=None))
    assert scene.geobox.crs is None
    assert scene.crs_wkt is None
    assert scene.geobox.affine == Affine.identity()
    assert any("no CRS" in note for note in scene.notes)
    assert np.array_equal(scene.read(WHOLE).data, coded((48, 64)))


def test_control_points_alone_are_said(tmp_path: Path) -> None:
    path = tmp_path / "gcps.tif"
    points = [
        rasterio.control.GroundControlPoint(r, c, -118 + c / 1000, 34 - r / 1000)
        for r, c in [(0, 0), (0, 8), (8, 0), (8, 8)]
    ]
    with rasterio.open(
        path, "w", driver="GTiff", width=8, height=8, count=1, dtype="uint8", gcps=points,
        crs="EPSG:4326",
    ) as file:  # fmt: skip
        file.write(coded((8, 8), bands=1))
    assert any("control points" in note for note in open_scene(path).notes)


def test_any_format_and_gdal_name_opens(make_scene: MakeScene, tmp_path: Path) -> None:
    png = tmp_path / "map.png"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        with rasterio.open(
            png, "w", driver="PNG", width=64, height=48, count=3, dtype="uint8"
        ) as file:
            file.write(coded((48, 64)))
    assert np.array_equal(open_scene(png).read(WHOLE).data, coded((48, 64)))
    tif = make_scene()
    assert np.array_equal(open_scene(f"GTIFF_DIR:1:{tif}").read(WHOLE).data, coded((48, 64)))


def test_bands_say_what_the_file_says(make_scene: MakeScene) -> None:
    path = make_scene(
        dtype="int16",
        bands=["B4", "B8"],
        scales=[1e-4, 1e-4],
        offsets=[-0.1, -0.1],
        units=["reflectance", ""],
        colorinterp=[ColorInterp.red, ColorInterp.undefined],
    )
    red, nir = open_scene(path).bands
    assert (red.index, red.name, red.common_name, red.colorinterp) == (1, "B4", "red", "red")
    assert (nir.index, nir.name, nir.common_name) == (2, "B8", "nir")
    assert (red.scale, red.offset, red.units, nir.units) == (1e-4, -0.1, "reflectance", None)


def test_a_palette_is_kept(make_scene: MakeScene) -> None:
    colors = {0: (10, 20, 30, 255), 1: (40, 50, 60, 255)}
    path = make_scene(bands=1, colormap=colors, colorinterp=[ColorInterp.palette])
    scene = open_scene(path)
    assert scene.colormap is not None
    assert {k: scene.colormap[k] for k in colors} == colors


def test_a_missing_band_or_window_is_said(make_scene: MakeScene) -> None:
    scene = open_scene(make_scene(alpha=True))
    with pytest.raises(BandError, match="band 4; it has 1, 2, 3"):
        scene.read(WHOLE, [1, 4])
    with pytest.raises(SceneError, match="64 x 48 px"):
        scene.read(Window(0, 0, 65, 48))


def test_overview_is_the_whole_scene_made_small(make_scene: MakeScene) -> None:
    invalid = np.zeros((96, 128), bool)
    invalid[:, :64] = True
    ramp = np.broadcast_to(np.arange(128, dtype="uint8"), (1, 96, 128))
    path = make_scene(shape=(96, 128), bands=1, data=ramp, nodata=255, invalid=invalid)
    patch = open_scene(path).overview(16)
    assert patch.data.shape == (1, 12, 16)
    assert not patch.valid[:, :8].any()
    assert patch.valid[:, 8:].all()
    assert np.abs(patch.data[0, 0, 8:] - (np.arange(8, 16) * 8 + 3.5)).max() <= 1
    assert open_scene(path).overview(1000).data.shape == (1, 96, 128)


def test_threads_and_copies_read_the_same(make_scene: MakeScene) -> None:
    scene = open_scene(make_scene(shape=(160, 160)))
    expected = coded((160, 160))
    windows = [Window(c, r, 40, 40) for r in range(0, 160, 40) for c in range(0, 160, 40)] * 8
    with ThreadPoolExecutor(6) as pool:
        for window, patch in zip(windows, pool.map(scene.read, windows), strict=True):
            assert np.array_equal(patch.data, expected[:, *window.slices])
    again: Scene = pickle.loads(pickle.dumps(scene))
    assert again.geobox == scene.geobox
    assert again.bands == scene.bands
    scene.close()
    assert np.array_equal(again.read(windows[3]).data, expected[:, *windows[3].slices])


def _first_value(scene: Scene) -> int:
    return int(scene.read(Window(3, 2, 1, 1)).data[0, 0, 0])


@pytest.mark.parametrize("method", ["spawn", "fork"])
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_other_processes_read_the_same(make_scene: MakeScene, method: str) -> None:
    scene = open_scene(make_scene())
    expected = _first_value(scene)
    with get_context(method).Pool(1) as pool:
        assert pool.apply(_first_value, (scene,)) == expected


def test_a_collection_does_not_run_out_of_file_handles(make_scene: MakeScene) -> None:
    scenes = [open_scene(make_scene(shape=(16, 16))) for _ in range(handles.MAX_OPEN + 5)]
    for scene in scenes + scenes:
        assert scene.read(Window(0, 0, 16, 16)).data.shape == (3, 16, 16)
    assert len(handles._own_datasets().datasets) <= handles.MAX_OPEN


def test_a_closed_scene_lets_go_and_opens_again(make_scene: MakeScene) -> None:
    scene = open_scene(make_scene())
    with ThreadPoolExecutor(1) as pool:
        pool.submit(scene.read, WHOLE).result()
        scene.close()
        scene.close()
        assert scene._key not in handles._own_datasets().datasets  # type: ignore[attr-defined]
        assert isinstance(pool.submit(scene.read, WHOLE).result(), Patch)


# --- Bad input ---


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(SceneError, match=r"nowhere\.tif: no such file"):
        open_scene(tmp_path / "nowhere.tif")


def test_a_name_gdal_cannot_take_is_said(make_scene: MakeScene, tmp_path: Path) -> None:
    odd = os.fsdecode(os.fsencode(tmp_path) + b"/\xff.tif")
    os.rename(make_scene(), odd)
    with pytest.raises(SceneError, match=r"/\\xff\.tif: its name is no UTF-8.*rename the file"):
        open_scene(odd)


def test_a_directory_is_said(tmp_path: Path) -> None:
    with pytest.raises(SceneError, match="is a directory"):
        open_scene(tmp_path)


def test_an_empty_file_is_said(tmp_path: Path) -> None:
    (tmp_path / "empty.tif").touch()
    with pytest.raises(SceneError, match=r"empty \(0 bytes\)"):
        open_scene(tmp_path / "empty.tif")


def test_a_file_that_is_no_raster_is_said(tmp_path: Path) -> None:
    (tmp_path / "notes.tif").write_text("dear diary")
    with pytest.raises(SceneError, match="cannot be opened as a raster") as caught:
        open_scene(tmp_path / "notes.tif")
    assert "\n" not in str(caught.value)


def test_a_header_cut_short_is_said(make_scene: MakeScene) -> None:
    path = make_scene()
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(SceneError, match=r"\.tif cannot be"):
        open_scene(path).read(WHOLE)


def test_a_block_that_cannot_be_read_names_its_window(
    make_scene: MakeScene, tmp_path: Path
) -> None:
    # A COG keeps its header in front, so that a download cut short still opens.
    path = tmp_path / "cut.tif"
    rasterio.shutil.copy(
        make_scene(shape=(256, 256)), path, driver="COG", blocksize=128, compress="none"
    )
    path.write_bytes(path.read_bytes()[:-60_000])
    scene = open_scene(path)
    assert scene.read(Window(0, 0, 64, 64)).valid.all()
    with pytest.raises(SceneError, match=r"columns 192 to 256, rows 192 to 256.*truncated"):
        scene.read(Window(192, 192, 64, 64))


def test_complex_values_are_said(make_scene: MakeScene) -> None:
    path = make_scene(bands=1, dtype="complex64", data=np.ones((1, 48, 64), "complex64"))
    with pytest.raises(SceneError, match="complex values"):
        open_scene(path)


def test_a_container_of_layers_is_said(tmp_path: Path) -> None:
    path = tmp_path / "two.gpkg"
    for table in "ab":
        with rasterio.open(
            path, "w", driver="GPKG", width=8, height=6, count=3, dtype="uint8", crs="EPSG:32611",
            transform=Affine(10, 0, 4e5, 0, -10, 4e6), RASTER_TABLE=table, APPEND_SUBDATASET="YES",
        ) as file:  # fmt: skip
            file.write(coded((6, 8)))
    with pytest.raises(SceneError, match=r"holds no raster bands; open one of its 2 layers"):
        open_scene(path)


def test_what_is_no_source_at_all_is_said() -> None:
    with pytest.raises(UsageError, match="cannot open a int as a scene"):
        open_scene(42)  # type: ignore[arg-type]  # that is what is tested
