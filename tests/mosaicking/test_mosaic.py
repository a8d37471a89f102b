"""Mosaics of any rasters, from files to file."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from rasterio.enums import ColorInterp
from rio_cogeo.cogeo import cog_validate

import geotrans
from geotrans.errors import BandError, OutputError, SceneError, UsageError
from geotrans.mosaicking.mosaic import estimate_mosaic
from tests.helpers.scenes import coded, write_scene
from tests.helpers.thorough import examples

ORIGIN = (360_000.0, 3_770_000.0)
GSD = 10.0

Tile = tuple[int, int, int, int]


def cut(folder: Path, data: np.ndarray, tiles: Sequence[Tile], **scene: Any) -> list[Path]:
    """Windows `(row, col, height, width)` of an array as georeferenced files."""
    paths = []
    for number, (row, col, height, width) in enumerate(tiles):
        part = data[:, row : row + height, col : col + width]
        invalid = scene.get("invalid")
        options = scene | {
            "invalid": None if invalid is None else invalid[row : row + height, col : col + width]
        }
        paths.append(
            write_scene(
                folder / f"tile_{number}.tif",
                shape=part.shape[1:],
                data=part,
                dtype=str(data.dtype),
                bands=len(data),
                origin=(ORIGIN[0] + col * GSD, ORIGIN[1] - row * GSD),
                **options,
            )
        )
    return paths


def read(path: Path) -> tuple[np.ndarray, np.ndarray]:
    with rasterio.open(path) as file:
        return file.read(), file.dataset_mask() != 0


@st.composite
def covers(draw: Any) -> tuple[int, int, list[Tile]]:
    """Tiles that cover a raster, overlapping by any amount, in any order."""
    height, width = draw(st.integers(1, 60)), draw(st.integers(1, 60))
    step, overlap = draw(st.integers(5, 40)), draw(st.integers(0, 20))
    tiles = [
        (row, col, min(step + overlap, height - row), min(step + overlap, width - col))
        for row in range(0, height, step)
        for col in range(0, width, step)
    ]
    return height, width, draw(st.permutations(tiles))


@examples(25)
@given(
    cover=covers(),
    blend=st.sampled_from(["first", "last", "min", "max", "mean", "feather"]),
    dtype=st.sampled_from(["uint8", "int16", "uint16", "float32", "float64"]),
    nodata=st.sampled_from([None, 0, 7]),
    seed=st.integers(0, 9),
)
def test_tiles_of_a_scene_give_it_back_bit_for_bit(
    tmp_path_factory, cover, blend, dtype, nodata, seed
):
    height, width, tiles = cover
    folder = tmp_path_factory.mktemp("cut")
    data = coded((height, width), dtype=dtype, avoid=nodata)
    if dtype.startswith("float"):
        data = data / data.dtype.type(7)
    invalid = np.random.default_rng(seed).random((height, width)) < 0.2
    invalid[0, 0] = invalid[-1, -1] = False
    paths = cut(folder, data, tiles, nodata=nodata, invalid=invalid, mask=nodata is None)
    made = geotrans.mosaic(paths, out=folder / "out.tif", blend=blend, feather=5)
    found, valid = read(made.path)
    assert made.n_resampled == 0
    np.testing.assert_array_equal(valid, ~invalid)
    np.testing.assert_array_equal(found[:, valid], data[:, valid])
    with rasterio.open(made.path) as file:
        assert file.dtypes[0] == dtype
        assert file.nodata == nodata
        assert file.transform == Affine(GSD, 0, ORIGIN[0], 0, -GSD, ORIGIN[1])


@examples(15)
@given(cover=covers(), feather=st.integers(1, 30))
def test_feather_weights_sum_to_one(tmp_path_factory, cover, feather):
    height, width, tiles = cover
    folder = tmp_path_factory.mktemp("cut")
    paths = cut(folder, np.zeros((1, height, width), np.float64), tiles)
    total = np.zeros((height, width))
    for chosen in paths:
        for path in paths:  # One tile is 1 everywhere, the others 0: the mosaic is its weight.
            with rasterio.open(path, "r+") as file:
                file.write(np.full((1, *file.shape), float(path == chosen)))
        out = folder / "weight.tif"
        made = geotrans.mosaic(paths, out=out, blend="feather", feather=feather, overwrite=True)
        weight = read(made.path)[0][0]
        assert weight.min() >= 0
        assert weight.max() <= 1
        total += weight
    np.testing.assert_allclose(total, 1, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("blend", "expected"),
    [("first", 10), ("last", 40), ("min", 10), ("max", 40), ("mean", 23), ("feather", 23)],
)
def test_what_becomes_of_an_overlap(tmp_path, blend, expected):
    paths = []
    for number, value in enumerate((10, 20, 40)):
        data = np.full((1, 8, 8), value, np.uint8)
        paths.append(
            write_scene(tmp_path / f"{number}.tif", shape=(8, 8), bands=1, data=data, origin=ORIGIN)
        )
    found, valid = read(geotrans.mosaic(paths, out=tmp_path / "out.tif", blend=blend).path)
    assert valid.all()
    assert (found == expected).all()


def test_blocks_do_not_show(tmp_path, monkeypatch):
    from geotrans.mosaicking import mosaic as mosaics

    rng = np.random.default_rng(0)
    paths = []
    for number, (row, col) in enumerate([(0, 0), (13, 40), (50, 7)]):
        data = rng.integers(1, 255, (2, 70, 60)).astype(np.uint8)
        invalid = rng.random((70, 60)) < 0.05
        paths.append(
            write_scene(
                tmp_path / f"{number}.tif",
                shape=(70, 60),
                bands=2,
                data=data,
                nodata=0,
                invalid=invalid,
                origin=(ORIGIN[0] + col * GSD, ORIGIN[1] - row * GSD),
            )
        )
    plan = mosaics.plan_mosaic
    for blend in ("first", "mean", "feather"):
        whole = geotrans.mosaic(paths, out=tmp_path / f"{blend}.tif", blend=blend, feather=20)
        with monkeypatch.context() as patch:
            patch.setattr(mosaics, "plan_mosaic", lambda scene: plan(scene, block=17))
            out = tmp_path / f"{blend}_blocks.tif"
            blocks = geotrans.mosaic(paths, out=out, blend=blend, feather=20)
        assert whole.n_blocks == 1
        assert blocks.n_blocks > 20
        np.testing.assert_array_equal(read(whole.path)[0], read(blocks.path)[0])
        np.testing.assert_array_equal(read(whole.path)[1], read(blocks.path)[1])


def test_gaps_between_tiles_are_invalid_and_the_product_is_a_cog(tmp_path):
    data = coded((40, 1500))
    paths = cut(tmp_path, data, [(0, 0, 40, 300), (0, 1200, 40, 300)])
    made = geotrans.mosaic(paths, out=tmp_path / "out.tif")
    found, valid = read(made.path)
    expected = np.zeros((40, 1500), bool)
    expected[:, :300] = expected[:, 1200:] = True
    np.testing.assert_array_equal(valid, expected)
    np.testing.assert_array_equal(found[:, valid], data[:, valid])
    is_valid, errors, warnings = cog_validate(str(made.path), strict=True)
    assert is_valid, (errors, warnings)
    assert not (tmp_path / "out.tif.parts").exists()


def test_what_a_mosaic_says_about_itself(tmp_path, caplog):
    real = cut(tmp_path, coded((20, 20)), [(0, 0, 20, 10)])[0]
    says = {"GEOTRANS_SYNTHETIC": "YES", "GEOTRANS_TASK": "t", "GEOTRANS_WEIGHTS_SHA256": "ab"}
    painted = write_scene(
        tmp_path / "painted.tif", shape=(20, 10), origin=(ORIGIN[0] + 100, ORIGIN[1]),
        bands=3, tags=says,
    )  # fmt: skip

    def told(*paths: Path) -> tuple[dict[str, str], str]:
        out = geotrans.mosaic(paths, out=tmp_path / "out.tif", overwrite=True).path
        with rasterio.open(out) as file:
            return file.tags(), file.tags(ns="xml:XMP")["xml:XMP"]

    tags, xmp = told(real)
    assert not any("SYNTHETIC" in key for key in tags)
    assert "DigitalSourceType" not in xmp
    assert json.loads(tags["GEOTRANS_SOURCES"]) == [str(real)]
    tags, xmp = told(painted)
    assert tags["GEOTRANS_SYNTHETIC"] == "YES"
    assert (tags["GEOTRANS_TASK"], tags["GEOTRANS_WEIGHTS_SHA256"]) == ("t", "ab")
    assert "/trainedAlgorithmicMedia" in xmp
    tags, xmp = told(real, painted)
    assert tags["GEOTRANS_SYNTHETIC"] == "YES"
    assert tags["GEOTRANS_N_SYNTHETIC"] == "1"
    assert "GEOTRANS_TASK" not in tags
    assert "/compositeWithTrainedAlgorithmicMedia" in xmp
    assert "networks" not in caplog.text
    with rasterio.open(shutil.copy(painted, tmp_path / "other.tif"), "r+") as file:
        file.update_tags(GEOTRANS_WEIGHTS_SHA256="cd")
    tags, _ = told(painted, tmp_path / "other.tif")
    assert tags["GEOTRANS_N_SYNTHETIC"] == "2"
    assert not {"GEOTRANS_TASK", "GEOTRANS_WEIGHTS_SHA256"} & set(tags)
    assert f"2 networks painted the tiles (t ab: {painted}; t cd: " in caplog.text


def test_names_colours_and_scale_are_kept(tmp_path):
    options = {
        "bands": ("red", "green", "blue"),
        "colorinterp": (ColorInterp.red, ColorInterp.green, ColorInterp.blue),
        "scales": (0.1, 0.1, 0.1),
        "offsets": (-5, -5, -5),
        "units": ("%", "%", "%"),
    }
    paths = [
        write_scene(
            tmp_path / f"{i}.tif", shape=(8, 8), dtype="uint16",
            origin=(ORIGIN[0] + 80 * i, ORIGIN[1]), **options,
        )
        for i in range(2)
    ]  # fmt: skip
    with rasterio.open(geotrans.mosaic(paths, out=tmp_path / "out.tif").path) as file:
        assert file.descriptions == options["bands"]
        assert file.colorinterp == options["colorinterp"]
        assert file.scales == options["scales"]
        assert file.offsets == options["offsets"]
        assert file.units == options["units"]


def test_classes_keep_their_colours_and_are_never_mixed(tmp_path):
    colormap = {value: (value, 255 - value, 7, 255) for value in range(256)}
    paths = [
        write_scene(
            tmp_path / f"{i}.tif", crs=crs, shape=(30, 30), bands=1, colormap=colormap,
            data=np.where(np.indices((30, 30))[0] < 15, 3, 200).astype(np.uint8)[None],
            colorinterp=(ColorInterp.palette,), tags={"GEOTRANS_CLASSES": '["a", "b"]'},
            origin=None if i else ORIGIN,
        )
        for i, crs in enumerate(("EPSG:32611", "EPSG:32611"))
    ]  # fmt: skip
    made = geotrans.mosaic(paths, out=tmp_path / "out.tif", gsd_m=7)
    assert made.n_resampled == 2
    found, valid = read(made.path)
    assert set(np.unique(found[0][valid])) == {3, 200}
    with rasterio.open(made.path) as file:
        assert file.colormap(1)[3] == colormap[3]
        assert json.loads(file.tags()["GEOTRANS_CLASSES"])[:2] == ["a", "b"]
    with pytest.raises(UsageError, match="classes, which have no mean; choose a blend of first"):
        geotrans.mosaic(paths, out=tmp_path / "x.tif", blend="mean")


def test_the_grid_is_that_of_most_tiles(tmp_path):
    data = coded((60, 60))
    paths = cut(tmp_path, data, [(0, 0, 30, 60), (30, 0, 30, 60)])
    shifted = write_scene(
        tmp_path / "shifted.tif", shape=(20, 20), bands=3,
        origin=(ORIGIN[0] + 604, ORIGIN[1] - 3),
    )  # fmt: skip
    lonlat = write_scene(tmp_path / "lonlat.tif", crs="EPSG:4326", shape=(20, 20), bands=3)
    made = geotrans.mosaic([shifted, lonlat, *paths], out=tmp_path / "out.tif", blend="last")
    assert (made.n_tiles, made.n_resampled) == (4, 2)
    with rasterio.open(made.path) as file:
        assert file.crs == "EPSG:32611"
        assert file.res == (GSD, GSD)
        col, row = ~file.transform @ ORIGIN
        assert (col, row) == (round(col), round(row))
        window = rasterio.windows.Window(int(col), int(row), 60, 60)
        np.testing.assert_array_equal(file.read(window=window), data)


def test_resampled_tiles_agree_with_gdal(tmp_path):
    smooth = np.add.outer(np.arange(80.0), 2 * np.arange(90.0))[None].astype(np.float32)
    path = write_scene(
        tmp_path / "a.tif", shape=(80, 90), bands=1, data=smooth, dtype="float32", origin=ORIGIN
    )
    made = geotrans.mosaic(path, out=tmp_path / "out.tif", crs="EPSG:3857", gsd_m=8)
    with rasterio.open(made.path) as file, rasterio.open(path) as source:
        assert file.crs == "EPSG:3857"
        with rasterio.vrt.WarpedVRT(
            source, crs=file.crs, transform=file.transform, width=file.width, height=file.height,
            resampling=rasterio.enums.Resampling.bilinear, nodata=-1,
        ) as vrt:  # fmt: skip
            expected = vrt.read(1)
        found, valid = file.read(1), file.dataset_mask() != 0
    inner = valid & (expected != -1)
    assert inner.mean() > 0.8
    assert np.abs(found - expected)[inner].max() < 0.3


@pytest.mark.parametrize(
    ("choices", "crs", "res", "shape"),
    [
        ({"gsd_m": 20}, "EPSG:32611", 20, (30, 30)),
        ({"gsd_m": 10}, "EPSG:32611", 10, (60, 60)),
        ({"crs": "EPSG:32611"}, "EPSG:32611", 10, (60, 60)),
        ({"crs": "EPSG:32612", "gsd_m": 50}, "EPSG:32612", 50, None),
        ({"bbox": (-118.515, 34.058, -118.5148, 34.0582)}, "EPSG:32611", 10, (3, 3)),
    ],
)
def test_a_grid_can_be_asked_for(tmp_path, choices, crs, res, shape):
    paths = cut(tmp_path, coded((60, 60)), [(0, 0, 60, 60)])
    estimate = estimate_mosaic(paths, out=tmp_path / "out.tif", **choices)
    made = geotrans.mosaic(paths, out=tmp_path / "out.tif", **choices)
    with rasterio.open(made.path) as file:
        assert file.crs == crs
        assert file.res == (res, res)
        assert file.transform.c % res == 0
        assert shape is None or file.shape == shape
        assert estimate.shape == file.shape
        other = geotrans.mosaic(paths, out=tmp_path / "like.tif", like=made.path)
        with rasterio.open(other.path) as same:
            assert (same.transform, same.shape) == (file.transform, file.shape)


def test_directories_patterns_and_repeated_files(tmp_path):
    folder = tmp_path / "ünï code"
    folder.mkdir()
    data = coded((20, 40))
    paths = cut(folder, data, [(0, 0, 20, 20), (0, 20, 20, 20)])
    (folder / "notes.txt").write_text("no raster")
    paths[0].with_suffix(".png").write_text("a preview, as batch and translate write them")
    for said in (
        folder,
        f"{folder}/*",
        f"{folder}/*.tif",
        [folder, *paths],
        [str(p) for p in paths],
    ):
        made = geotrans.mosaic(said, out=tmp_path / "out.tif", overwrite=True)
        assert made.n_tiles == 2
        np.testing.assert_array_equal(read(made.path)[0], data)


def test_tiles_without_crs_but_with_world_files(tmp_path):
    data = coded((20, 40))
    paths = []
    for col in (0, 20):
        path = tmp_path / f"{col}.png"
        with rasterio.open(
            path, "w", driver="PNG", height=20, width=20, count=3, dtype="uint8",
            transform=Affine(2, 0, 100 + 2 * col, 0, -2, 50), WORLDFILE="YES",
        ) as png:  # fmt: skip
            png.write(data[:, :, col : col + 20])
        path.with_name(f"{path.name}.aux.xml").unlink(missing_ok=True)
        paths.append(path)
    made = geotrans.mosaic(paths, out=tmp_path / "out.tif")
    np.testing.assert_array_equal(read(made.path)[0], data)


def test_a_stopped_mosaic_goes_on(tmp_path, monkeypatch):
    from geotrans.mosaicking import job as blocks
    from geotrans.mosaicking.mosaic import plan_mosaic

    data = coded((60, 60))
    paths = cut(tmp_path, data, [(0, 0, 60, 30), (0, 30, 60, 30)])
    monkeypatch.setattr(
        "geotrans.mosaicking.mosaic.plan_mosaic", lambda scene: plan_mosaic(scene, block=20)
    )
    make, n_made = blocks.MosaicJob.make, 0

    def stopping(self: Any, tile: Any) -> Any:
        nonlocal n_made
        n_made += 1
        if n_made == 5:
            raise SceneError("the disk was pulled out")
        return make(self, tile)

    monkeypatch.setattr(blocks.MosaicJob, "make", stopping)
    with pytest.raises(SceneError, match=r"pulled out; \d of 9 tiles are kept in"):
        geotrans.mosaic(paths, out=tmp_path / "out.tif")
    assert not (tmp_path / "out.tif").exists()
    with pytest.raises(OutputError, match="blend first, now last"):
        geotrans.mosaic(paths, out=tmp_path / "out.tif", blend="last")
    made = geotrans.mosaic(paths, out=tmp_path / "out.tif")
    assert made.n_resumed > 0
    np.testing.assert_array_equal(read(made.path)[0], data)


@pytest.mark.slow
def test_workers_make_the_same_mosaic(tmp_path, monkeypatch):
    from geotrans.mosaicking.mosaic import plan_mosaic

    data = coded((60, 60))
    paths = cut(tmp_path, data, [(0, 0, 60, 40), (0, 20, 60, 40)])
    monkeypatch.setattr(
        "geotrans.mosaicking.mosaic.plan_mosaic", lambda scene: plan_mosaic(scene, block=20)
    )
    made = geotrans.mosaic(paths, out=tmp_path / "out.tif", workers=2)
    np.testing.assert_array_equal(read(made.path)[0], data)


@pytest.mark.xdist_group("serial")
@pytest.mark.slow
def test_memory_does_not_grow_with_the_number_of_tiles(tmp_path):
    """As many pixels in 25 tiles and in 2500: the process may grow by their headers alone."""
    code = (
        "import resource, sys, geotrans\n"
        "geotrans.mosaic(sys.argv[1], out=sys.argv[2], blend='feather', feather=8)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)\n"
    )
    data = coded((1500, 1500), bands=1)
    peak_mb = {}
    for size in (300, 30):
        folder = tmp_path / str(size)
        folder.mkdir()
        steps = range(0, 1500, size)
        tiles = [(row, col, size + 4, size + 4) for row in steps for col in steps]
        cut(folder, data, tiles)
        out = tmp_path / f"{size}.tif"
        done = subprocess.run(
            [sys.executable, "-c", code, str(folder), str(out)],
            capture_output=True, text=True, check=True, timeout=240,
        )  # fmt: skip
        peak_mb[size] = int(done.stdout) / 1024
        np.testing.assert_array_equal(read(out)[0], data)
    assert peak_mb[30] < peak_mb[300] + 40, peak_mb
    print(peak_mb)


@pytest.fixture
def some(tmp_path: Path) -> Callable[..., Path]:
    def write(name: str, **options: Any) -> Path:
        return write_scene(tmp_path / name, **{"shape": (8, 8), "origin": ORIGIN} | options)

    return write


@pytest.mark.parametrize(
    ("first", "second", "error", "message"),
    [
        ({"bands": 3}, {"bands": 4}, BandError,
         r"differ in bands.*: 3 x uint8: .*a\.tif; 4 x uint8: .*b\.tif; make a mosaic of each"),
        ({"dtype": "uint8"}, {"dtype": "int16"}, BandError, r"3 x uint8: .*; 3 x int16: .*b\.tif"),
        ({"bands": ("red", "green")}, {"bands": ("green", "red")}, BandError,
         "differ in band names.*red, green: .*; green, red: "),
        ({}, {"scales": (2, 2, 2)}, BandError, "differ in scale and offset.*1 and 0.*2 and 0"),
        ({"bands": 1, "colormap": {0: (1, 2, 3, 255)}}, {"bands": 1}, BandError, "colour table"),
        ({}, {"crs": None}, SceneError,
         r"1 of 2 tiles do not say where they lie: .*b\.tif; give the plan they were cut by"),
    ],
)  # fmt: skip
def test_tiles_that_are_not_of_one_kind(tmp_path, some, first, second, error, message):
    paths = [some("a.tif", **first), some("b.tif", **second)]
    with pytest.raises(error, match=message):
        geotrans.mosaic(paths, out=tmp_path / "out.tif")
    assert not list(tmp_path.glob("out*"))


def test_what_cannot_be_a_mosaic(tmp_path, some):
    good = some("good.tif")
    bad = tmp_path / "bad.tif"
    bad.write_bytes(good.read_bytes()[:100])
    (tmp_path / "empty.tif").touch()
    out = tmp_path / "out.tif"
    with pytest.raises(SceneError, match=r"2 of 3 tiles cannot be opened: .*bad\.tif.*empty\.tif"):
        geotrans.mosaic([good, bad, tmp_path / "empty.tif"], out=out)
    with pytest.raises(SceneError, match="no such file or directory"):
        geotrans.mosaic([tmp_path / "none.tif"], out=out)
    with pytest.raises(UsageError, match="no tiles; give files"):
        geotrans.mosaic([], out=out)
    with pytest.raises(SceneError, match="matches no raster"):
        geotrans.mosaic([tmp_path / "*.jp2"], out=out)
    with pytest.raises(OutputError, match=r"good\.tif is an input"):
        geotrans.mosaic([good], out=good, overwrite=True)
    with pytest.raises(UsageError, match="no blend 'fist'; did you mean 'first'"):
        geotrans.mosaic([good], out=out, blend="fist")
    with pytest.raises(UsageError, match="crs 'EPSG:1' is not known"):
        geotrans.mosaic([good], out=out, crs="EPSG:1")
    with pytest.raises(UsageError, match="'like' already says which grid"):
        geotrans.mosaic([good], out=out, like=good, gsd_m=2)
    with pytest.raises(UsageError, match="positive number of metres"):
        geotrans.mosaic([good], out=out, gsd_m=-2)
    elsewhere = some("elsewhere.tif", origin=(700_000.0, 3_770_000.0))
    with pytest.raises(SceneError, match="none of the 1 tiles lies on the grid"):
        geotrans.mosaic([good], out=out, like=elsewhere)
    assert not list(tmp_path.glob("out*"))


def test_a_damaged_tile_is_named(tmp_path, some):
    good = some("good.tif", shape=(64, 64))
    bad = some("bad.tif", shape=(64, 64), origin=(ORIGIN[0] + 640, ORIGIN[1]))
    content = bytearray(bad.read_bytes())
    content[500:1500] = bytes(1000)  # In the middle of its compressed blocks.
    bad.write_bytes(content)
    with pytest.raises(SceneError, match=r"bad\.tif cannot be read at columns"):
        geotrans.mosaic([good, bad], out=tmp_path / "out.tif")
    assert not (tmp_path / "out.tif").exists()


def test_order_does_not_matter_to_a_mean(tmp_path):
    rng = np.random.default_rng(1)
    paths = []
    for number in range(5):
        data = rng.integers(0, 255, (1, 20, 20)).astype(np.uint8)
        col, row = rng.integers(0, 9, 2)
        paths.append(
            write_scene(
                tmp_path / f"{number}.tif", shape=(20, 20), bands=1, data=data,
                origin=(ORIGIN[0] + GSD * int(col), ORIGIN[1] - GSD * int(row)),
            )
        )  # fmt: skip
    one = read(geotrans.mosaic(paths, out=tmp_path / "one.tif", blend="mean").path)
    random.Random(3).shuffle(paths)
    other = read(geotrans.mosaic(paths, out=tmp_path / "other.tif", blend="mean").path)
    np.testing.assert_array_equal(one[0], other[0])
