"""A scene cut into tiles, and put together again."""

from __future__ import annotations

import json
import logging
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
from hypothesis import given
from hypothesis import strategies as st
from rio_cogeo.cogeo import cog_validate

import geotrans
from geotrans.errors import OutputError, SceneError, UsageError
from geotrans.mosaicking.tileset import load_tileset
from tests.helpers.bundles import identity_bundle
from tests.helpers.scenes import coded, write_scene
from tests.helpers.thorough import examples


def read(path: Path) -> tuple[np.ndarray, np.ndarray]:
    with rasterio.open(path) as file:
        return file.read(), file.dataset_mask() != 0


def assert_same(made: Path, scene: Path) -> None:
    """Grid, type, nodata, names, valid pixels and values, to the bit."""
    with rasterio.open(made) as one, rasterio.open(scene) as other:
        assert (one.crs, one.transform, one.shape) == (other.crs, other.transform, other.shape)
        assert (one.dtypes, one.nodata) == (other.dtypes, other.nodata)
        assert one.descriptions == other.descriptions
        valid = other.dataset_mask() != 0
        np.testing.assert_array_equal(one.dataset_mask() != 0, valid)
        np.testing.assert_array_equal(one.read()[:, valid], other.read()[:, valid])


@examples(25)
@given(
    shape=st.tuples(st.integers(1, 60), st.integers(1, 60)),
    tile=st.integers(4, 40),
    halo=st.integers(0, 20),
    align=st.sampled_from([1, 2, 4]),
    dtype=st.sampled_from(["uint8", "uint16", "float32"]),
    nodata=st.sampled_from([None, 0]),
    gaps=st.booleans(),
    seed=st.integers(0, 9),
)
def test_tiles_give_the_scene_back_with_and_without_plan(
    tmp_path_factory, shape, tile, halo, align, dtype, nodata, gaps, seed
):
    folder = tmp_path_factory.mktemp("cut")
    invalid = np.random.default_rng(seed).random(shape) < 0.3 * gaps
    invalid[0, 0] = invalid[-1, -1] = False  # Else nothing says that the scene went on there.
    scene = write_scene(
        folder / "scene.tif", shape=shape, dtype=dtype, nodata=nodata, invalid=invalid,
        mask=nodata is None,
    )  # fmt: skip
    cut = geotrans.cut_tiles(scene, out=folder / "tiles", tile=tile, halo=halo, align=align)
    tiles = sorted((folder / "tiles").glob("*.tif"))
    assert len(tiles) == cut.n_tiles
    random.Random(seed).shuffle(tiles)
    blend = random.Random(seed).choice(["first", "last", "mean", "feather"])
    assert_same(geotrans.mosaic(tiles, out=folder / "free.tif", blend=blend).path, scene)
    assert_same(geotrans.mosaic(tiles, out=folder / "planned.tif", plan=cut.plan).path, scene)


@pytest.mark.parametrize("padded", [False, True])
def test_png_tiles_that_lost_everything_but_their_names(tmp_path, padded):
    invalid = np.zeros((50, 70), bool)
    invalid[:20, :30] = True
    scene = write_scene(tmp_path / "scene.tif", shape=(50, 70), nodata=0, invalid=invalid, bands=3)
    cut = geotrans.cut_tiles(
        scene, out=tmp_path / "tiles", tile=16, halo=6, align=4, format_="png", pad=padded
    )
    assert cut.n_empty == 1
    assert {path.suffix for path in (tmp_path / "tiles").iterdir()} == {
        ".png", ".pgw", ".xml", ".json", ".parquet", ".gtiff",
    }  # fmt: skip
    made = tmp_path / "translated"
    made.mkdir()
    shapes = set()
    for path in (tmp_path / "tiles").glob("*.png"):
        with rasterio.open(path) as png:
            shapes.add(png.shape)
        shutil.copy(path, made / f"{path.stem}_fake_B.png")  # As pix2pix names them.
    assert (len(shapes) == 1) is padded
    again = geotrans.mosaic(made, out=tmp_path / "out.tif", plan=tmp_path / "tiles")
    assert_same(again.path, scene)
    assert cog_validate(str(again.path), strict=True)[0]


def test_a_png_tile_lies_where_it_was(tmp_path):
    scene = write_scene(tmp_path / "scene.tif", shape=(40, 40))
    geotrans.cut_tiles(scene, out=tmp_path / "tiles", tile=20, halo=3, format_="png")
    assert_same(geotrans.mosaic(tmp_path / "tiles", out=tmp_path / "free.tif").path, scene)
    for path in (tmp_path / "tiles").glob("*.aux.xml"):
        path.unlink()
    with (
        rasterio.open(tmp_path / "tiles" / "r00001_c00001.png") as png,
        rasterio.open(scene) as one,
    ):
        assert png.transform.almost_equals(one.window_transform(((17, 40), (17, 40))), 1e-6)


def test_tiles_may_grow_by_one_whole_factor_and_change_their_bands(tmp_path):
    invalid = np.zeros((30, 40), bool)
    invalid[5:9, 7:20] = True
    scene = write_scene(tmp_path / "scene.tif", shape=(30, 40), nodata=0, invalid=invalid)
    cut = geotrans.cut_tiles(scene, out=tmp_path / "tiles", tile=16, halo=5)
    made = tmp_path / "made"
    made.mkdir()
    for path in (tmp_path / "tiles").glob("*.tif"):
        data = read(path)[0][:1].repeat(3, axis=1).repeat(3, axis=2).astype(np.int16)
        np.maximum(data, 1, out=data)  # What a network paints has no gaps.
        write_scene(
            made / path.name, crs=None, shape=data.shape[1:], bands=1, data=data, dtype="int16"
        )
    out = geotrans.mosaic(made, out=tmp_path / "out.tif", plan=cut.plan)
    assert out.shape == (90, 120)
    found, valid = read(out.path)
    expected = coded((30, 40), avoid=0)[:1].repeat(3, axis=1).repeat(3, axis=2)
    np.testing.assert_array_equal(valid, ~invalid.repeat(3, axis=0).repeat(3, axis=1))
    np.testing.assert_array_equal(found[:, valid], expected[:, valid])
    with rasterio.open(out.path) as file, rasterio.open(scene) as one:
        assert file.bounds == one.bounds
        assert json.loads(file.tags()["GEOTRANS_PARAMS"])["scale"] == 3


def test_the_plan_is_read_by_others(tmp_path):
    scene = write_scene(tmp_path / "scene.tif", shape=(30, 40), rotation=20)
    cut = geotrans.cut_tiles(scene, out=tmp_path / "tiles", tile=16, halo=5)
    table = gpd.read_parquet(tmp_path / "tiles" / "plan.parquet")
    assert table.crs == "EPSG:32611"
    plan = json.loads(cut.plan.read_text())
    assert list(table["name"]) == list(plan["tiles"])
    with rasterio.open(scene) as file:
        corners = [(0, 0), (40, 0), (40, 30), (0, 30)]
        whole = shapely.Polygon([file.transform @ corner for corner in corners])
        first = plan["tiles"]["r00000_c00000"]["core"]
        assert table.geometry[0].area == pytest.approx(first[2] * first[3] * 100)
    assert table.geometry.area.sum() == pytest.approx(whole.area)
    assert table.union_all().symmetric_difference(whole).area == pytest.approx(0, abs=1e-3)


def test_tiles_for_a_task_are_what_its_network_reads(tmp_path):
    bundle = identity_bundle(tmp_path / "same.safetensors", halo=5, align=4)
    scene = write_scene(tmp_path / "scene.tif", shape=(50, 70))
    cut = geotrans.cut_tiles(scene, out=tmp_path / "tiles", task=bundle, tile=16)
    tileset = load_tileset(cut.plan)
    assert (tileset.tile_plan.halo, tileset.tile_plan.align, tileset.padded) == (5, 4, True)
    for path in (tmp_path / "tiles").glob("*.tif"):
        with rasterio.open(path) as file:
            assert file.shape == tileset.tile_plan.window_shape
            assert not any(size % 4 for size in file.shape)
    made = geotrans.mosaic(tmp_path / "tiles", out=tmp_path / "out.tif", plan=cut.plan)
    assert_same(made.path, scene)


def test_a_part_and_no_georeference(tmp_path):
    scene = write_scene(tmp_path / "scene.tif", crs=None, shape=(30, 40))
    cut = geotrans.cut_tiles(scene, out=tmp_path / "tiles", tile=16, halo=2, bbox=(3, 4, 20, 25))
    made = geotrans.mosaic(tmp_path / "tiles", out=tmp_path / "out.tif", plan=cut.plan)
    np.testing.assert_array_equal(read(made.path)[0], coded((30, 40))[:, 4:25, 3:20])
    with pytest.raises(
        SceneError, match=r"1 of 1 tiles do not say where they lie: .*give the plan they were"
    ):
        geotrans.mosaic(scene, out=tmp_path / "x.tif")


def test_tiles_of_a_synthetic_scene_stay_synthetic(tmp_path):
    scene = write_scene(tmp_path / "scene.tif", tags={"GEOTRANS_SYNTHETIC": "YES"})
    cut = geotrans.cut_tiles(scene, out=tmp_path / "tiles", tile=32, format_="png")
    made = geotrans.mosaic(tmp_path / "tiles", out=tmp_path / "out.tif", plan=cut.plan)
    with rasterio.open(made.path) as file:
        assert file.tags()["GEOTRANS_SYNTHETIC"] == "YES"


@pytest.fixture
def tiles(tmp_path: Path) -> Path:
    scene = write_scene(tmp_path / "scene.tif", shape=(20, 40))
    geotrans.cut_tiles(scene, out=tmp_path / "tiles", tile=20, halo=2)
    return tmp_path / "tiles"


def _missing(tiles: Path) -> None:
    (tiles / "r00000_c00001.tif").unlink()


def _twice(tiles: Path) -> None:
    shutil.copy(tiles / "r00000_c00001.tif", tiles / "again_r00000_c00001.tif")


def _foreign(tiles: Path) -> None:
    shutil.copy(tiles / "r00000_c00001.tif", tiles / "r00007_c00001.tif")


def _smaller(tiles: Path) -> None:
    write_scene(tiles / "r00000_c00001.tif", shape=(10, 11))


def _other(tiles: Path) -> None:
    write_scene(tiles / "r00000_c00001.tif", shape=(20, 22), bands=1)


def _damaged(tiles: Path) -> None:
    (tiles / "r00000_c00001.tif").write_bytes(b"II*\0 and no more")


def _no_plan(tiles: Path) -> None:
    (tiles / "plan.json").write_text('{"format": "geotrans tiles 9"}')


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_missing, r"1 of the 2 tiles of the plan are missing: r00000_c00001; give all"),
        (_twice, r"more than once: r00000_c00001 \(.*again_r00000_c00001\.tif, .*\)"),
        (_foreign, r"1 of 3 files are no tile of the plan: .*r00007_c00001\.tif"),
        (_smaller, r"1 of 2 tiles have another size than the plan says: .*r00000_c0000"),
        (_other, r"differ in bands.*3 x uint8: .*; 1 x uint8: "),
        (_damaged, r"1 of 2 tiles cannot be opened: .*r00000_c00001\.tif"),
        (_no_plan, r"plan\.json is no plan of 'geotrans tile' \(format: "),
    ],
)
def test_tiles_that_do_not_fit_the_plan(
    tiles: Path, tmp_path: Path, spoil: Callable[[Path], None], message: str
) -> None:
    spoil(tiles)
    with pytest.raises(geotrans.GeotransError, match=message):
        geotrans.mosaic(tiles, out=tmp_path / "out.tif", plan=tiles / "plan.json")
    assert not list(tmp_path.glob("out*"))


def test_what_contradicts_a_plan(tiles, tmp_path):
    with pytest.raises(UsageError, match="the plan says where every pixel goes; leave out"):
        geotrans.mosaic(tiles, out=tmp_path / "out.tif", plan=tiles, gsd_m=3)
    with pytest.raises(SceneError, match="nothing cannot be read: No such file"):
        geotrans.mosaic(tiles, out=tmp_path / "out.tif", plan=tmp_path / "nothing")


def test_what_cannot_be_cut(tiles, tmp_path, make_scene):
    scene = tmp_path / "scene.tif"
    with pytest.raises(OutputError, match="already holds tiles; replace them with overwrite=True"):
        geotrans.cut_tiles(scene, out=tiles)
    geotrans.cut_tiles(scene, out=tiles, overwrite=True)
    assert len(list(tiles.glob("*.tif"))) == 1
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "precious.txt").touch()
    with pytest.raises(OutputError, match="exists and holds no tiles; give another folder"):
        geotrans.cut_tiles(scene, out=tmp_path / "mine", overwrite=True)
    with pytest.raises(OutputError, match="does not exist; make it first"):
        geotrans.cut_tiles(scene, out=tmp_path / "no" / "tiles")
    with pytest.raises(UsageError, match=r"1 or 3 bands of uint8 or uint16; .* has 4 of int16"):
        geotrans.cut_tiles(make_scene(bands=4, dtype="int16"), out=tmp_path / "png", format_="png")
    with pytest.raises(UsageError, match="asked for tiles of 0 px"):
        geotrans.cut_tiles(scene, out=tmp_path / "zero", tile=0)
    with pytest.raises(SceneError, match="holds no valid pixel there; nothing to cut"):
        geotrans.cut_tiles(
            make_scene(nodata=0, invalid=np.ones((48, 64), bool)), out=tmp_path / "void"
        )
    assert {p.name for p in tmp_path.iterdir() if p.is_dir()} == {"tiles", "mine"}


def test_without_pyarrow_the_plan_is_json_alone(tiles, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr("geotrans.mosaicking.cut.can_write_parquet", lambda: False)
    with caplog.at_level(logging.WARNING):
        cut = geotrans.cut_tiles(tmp_path / "scene.tif", out=tmp_path / "plain")
    assert not cut.has_parquet
    assert "plan.parquet is not written: it needs pyarrow" in caplog.text
