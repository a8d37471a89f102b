import numpy as np
import pytest

from geotrans.errors import ConfigError, OutputError, SamplingError
from geotrans.maps.renderer import MapRenderer
from geotrans.runtime.config import validate_section
from geotrans.sampling.cache import PatchCache
from geotrans.sampling.config import DataConfig
from geotrans.sampling.tiling import ensure_cache, fingerprint, write_patches
from geotrans.scene.open import open_scene
from tests.helpers.scenes import coded
from tests.sampling.conftest import ORIGIN


@pytest.fixture
def settings(town):
    return {
        "root": str(town),
        "splits": {"train": "aerial/train", "val": "aerial/val"},
        "source": {"vectors": "streets.gpkg", "style": str(town / "town.yaml"), "margin": 4},
        "target": {"bands": ["red", "nir"]},
        "place": r"(town)_\d{4}_(\d+)",
        "group": r"_(\d{4})_",
    }


def _config(settings, **changes):
    return validate_section(DataConfig, settings | changes, where="data")


def test_map_and_aerial(settings, tmp_path, town):
    cache = write_patches(_config(settings), tmp_path / "cache")
    patches = PatchCache.open(cache.path).load("train", margin=4)
    assert patches.names == [f"town_{y}_{i}" for y in (2016, 2020) for i in range(3)]
    assert patches.places == [f"town_{i}" for i in range(3)] * 2
    assert patches.groups == ["2016"] * 3 + ["2020"] * 3
    values = coded((32, 40), bands=4)
    np.testing.assert_array_equal(patches.target, np.stack([values[[0, 3]]] * 6))
    renderer = MapRenderer(town / "streets.gpkg", town / "town.yaml", "EPSG:32611")
    for i in (0, 4):
        geobox = open_scene(town / f"aerial/train/{patches.names[i]}.tif").geobox
        np.testing.assert_array_equal(patches.classes[i], renderer.draw_classes(geobox))
        np.testing.assert_array_equal(patches.source[i, :, 4:-4, 4:-4], renderer.read(geobox))
        np.testing.assert_array_equal(patches.records[i].transform, tuple(geobox.affine)[:6])
    assert patches.valid.all()
    assert patches.source.shape == (6, 3, 40, 48)
    assert cache.load("val").source.shape == (2, 3, 32, 40)
    manifest = cache.manifest
    assert manifest.source.bands == ("red", "green", "blue")
    assert manifest.target.bands == ("red", "nir")
    assert manifest.gsd_m == pytest.approx((10, 10))
    assert manifest.palette == (("yard", (30, 160, 60)), ("road", (250, 250, 250)))
    assert manifest.drawn == "source"


def test_a_split_of_several_folders_holds_them_all(settings, tmp_path):
    parts = ["aerial/train/town_2016_*.tif", "aerial/train/town_2020_[01].tif"]
    config = _config(settings, splits={"train": parts, "val": "aerial/val"})
    cache = write_patches(config, tmp_path / "cache")
    names = [*(f"town_2016_{i}" for i in range(3)), "town_2020_0", "town_2020_1"]
    assert cache.load("train").names == names
    assert cache.load("val").source.shape[0] == 2


def test_a_range_and_a_derived_band_reach_the_cache(settings, tmp_path):
    config = _config(
        settings,
        source={"bands": ["s"], "derive": {"s": {"red": 0.5, "nir": 0.25}}, "range": [10, 90]},
        target={"bands": ["red", "nir"]},
    )
    cache = write_patches(config, tmp_path / "cache")
    assert cache.manifest.source.bands == ("s",)
    assert cache.manifest.source.value_range == (10, 90)
    assert cache.manifest.target.value_range is None
    red, nir = coded((32, 40), bands=4)[[0, 3]].astype(float)
    wanted = np.rint(0.5 * red + 0.25 * nir)
    np.testing.assert_array_equal(cache.load("val").source[0, 0], wanted)
    wide = settings | {"cache": str(tmp_path / "cache")}
    with pytest.raises(SamplingError, match="was cut by another configuration"):
        ensure_cache(_config(wide, source={"bands": ["red"]}, target={"bands": ["red"]}))


def test_the_other_direction_draws_the_target(settings, tmp_path):
    forth = write_patches(_config(settings), tmp_path / "forth").load("train")
    turned = _config(settings, source=settings["target"], target=settings["source"])
    back = write_patches(turned, tmp_path / "back").load("train")
    np.testing.assert_array_equal(forth.source, back.target)
    np.testing.assert_array_equal(forth.target, back.source)
    np.testing.assert_array_equal(forth.classes, back.classes)


def test_patches_of_a_size_cover_each_scene(settings, tmp_path):
    cache = write_patches(_config(settings, patch=16), tmp_path / "cache")
    patches = cache.load("train")
    assert patches.target.shape == (6 * 2 * 3, 2, 16, 16)
    values = coded((32, 40), bands=4)[[0, 3]]
    seen = np.zeros((32, 40), bool)
    for i, record in enumerate(patches.records[:6]):
        col, row, width, height = record.window
        inside = np.s_[row : row + height, col : col + width]
        np.testing.assert_array_equal(patches.target[i], values[:, *inside])
        assert record.name == f"town_2016_0_{col}_{row}"
        assert record.place == "town_0"
        seen[inside] = True
    assert seen.all()
    assert (
        len(write_patches(_config(settings, patch=16, stride=4), tmp_path / "c2").load("val"))
        == 2 * 35
    )


def test_scenes_of_several_sizes_are_padded_to_one(settings, tmp_path, town, make_scene):
    make_scene(
        name="aerial/train/town_2020_7.tif",
        bands=("red", "green", "blue", "nir"),
        shape=(20, 50),
        origin=(ORIGIN[0], ORIGIN[1] - 5000),
    )
    patches = write_patches(_config(settings), tmp_path / "cache").load("train")
    assert patches.target.shape[-2:] == (32, 50)
    for record, valid in zip(patches.records, patches.valid, strict=True):
        height, width = record.shape
        assert (height, width) == ((20, 50) if record.place == "town_7" else (32, 40))
        assert valid[:height, :width].all()
        assert valid.sum() == height * width


def test_rasters_on_both_sides_pair_on_one_grid(town, tmp_path, make_scene):
    for split, col in (("train", 0), ("val", 3)):
        (town / "radar" / split).mkdir(parents=True)
        make_scene(
            name=f"radar/{split}/radar_{col}.tif",
            crs="EPSG:32611",
            gsd_m=20,
            shape=(40, 40),
            bands=("vv", "vh"),
            dtype="float32",
            origin=(ORIGIN[0] + 400 * col - 100, ORIGIN[1] + 100),
        )
    settings = {
        "root": str(town),
        "splits": {"train": "train", "val": "val"},
        "source": {"files": "radar/{split}", "resampling": "nearest"},
        "target": {"files": "aerial/{split}/*_2020_*.tif", "bands": [2]},
        "pair": r"_(\d+)$",
    }
    patches = write_patches(_config(settings), tmp_path / "cache").load("train")
    assert patches.names == ["town_2020_0"]
    assert patches.classes is None
    assert patches.source.dtype == np.float32
    expected = coded((40, 40), bands=2, dtype="float32")[:, 5:21, 5:25]
    np.testing.assert_array_equal(patches.source[0], expected.repeat(2, 1).repeat(2, 2))
    on_source = write_patches(_config(settings, grid="source"), tmp_path / "other").load("train")
    assert on_source.source.shape == (1, 2, 40, 40)
    np.testing.assert_array_equal(on_source.source[0], coded((40, 40), bands=2, dtype="float32"))
    assert on_source.valid[0].sum() == 16 * 20


def test_invalid_patches_are_left_out(settings, tmp_path, town, make_scene):
    invalid = np.zeros((32, 40), bool)
    invalid[:16], invalid[16:, :10] = True, True
    make_scene(
        name="aerial/train/town_2016_0.tif",
        bands=("red", "green", "blue", "nir"),
        shape=(32, 40),
        origin=ORIGIN,
        mask=True,
        invalid=invalid,
    )
    names = write_patches(_config(settings, patch=16), tmp_path / "a").load("train").names
    assert len(names) == 36 - 3
    assert not {"town_2016_0_0_0", "town_2016_0_16_0", "town_2016_0_24_0"} & set(names)
    fuller = (
        write_patches(_config(settings, patch=16, min_valid=0.5), tmp_path / "b")
        .load("train")
        .names
    )
    assert set(names) - set(fuller) == {"town_2016_0_0_16"}


def test_splits_by_blocks_share_no_ground(settings, tmp_path):
    splits = {"scenes": "aerial/train", "block_m": 160, "shares": {"train": 2, "val": 1}}
    cache = write_patches(_config(settings, splits=splits, patch=8), tmp_path / "cache")
    ground = {
        split: {
            (record.transform[2] + 10 * col, record.transform[5] - 10 * row)
            for record in records
            for row in range(8)
            for col in range(8)
        }
        for split, records in cache.manifest.splits.items()
    }
    assert set(ground) == {"train", "val"}
    assert ground["train"]
    assert ground["val"]
    assert not ground["train"] & ground["val"]


def test_splits_that_share_ground_are_refused(settings, tmp_path, make_scene):
    make_scene(
        name="aerial/val/town_2020_9.tif",
        bands=("red", "green", "blue", "nir"),
        shape=(32, 40),
        origin=(ORIGIN[0] + 810, ORIGIN[1] - 300),
    )
    with pytest.raises(SamplingError, match=r"'town_2016_2' \(train\) and 'town_2020_9' \(val\)"):
        write_patches(_config(settings), tmp_path / "cache")
    with pytest.raises(SamplingError, match="place 'town' lies in the splits"):
        write_patches(_config(settings, place="town"), tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


def test_unreadable_scenes_are_left_out_and_counted(settings, tmp_path, town, make_scene, caplog):
    (town / "aerial/train/town_2016_1.tif").write_bytes(b"")
    damaged = make_scene(
        name="aerial/train/town_2020_1.tif",
        bands=("red", "green", "blue", "nir"),
        shape=(32, 40),
        origin=(ORIGIN[0] + 400, ORIGIN[1]),
        compress="deflate",
    )
    content = bytearray(damaged.read_bytes())
    # Blocks, and not the directory behind them.
    content[1000:3000] = bytes(2000)
    damaged.write_bytes(content)
    open_scene(damaged)
    cache = write_patches(_config(settings), tmp_path / "cache")
    names = {record.name for record in cache.manifest.splits["train"]}
    assert names == {"town_2016_0", "town_2016_2", "town_2020_0", "town_2020_2"}
    told = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert [message.partition(":")[0] for message in told] == [
        "left out 1 of 6 scenes that cannot be read",
        "left out 1 of 5 scenes that cannot be read",
    ]
    assert "town_2016_1.tif" in told[0]
    assert "town_2020_1" in told[1]


def test_what_cannot_be_cut_is_told(settings, tmp_path, town, make_scene):
    with pytest.raises(ConfigError, match=r"data\.group: '\(x\)' finds nothing in 'town_2016_0'"):
        write_patches(_config(settings, group="(x)"), tmp_path / "cache")
    (town / "empty").mkdir()
    with pytest.raises(SamplingError, match="empty holds not a raster"):
        write_patches(_config(settings, splits={"train": "empty"}), tmp_path / "cache")
    with pytest.raises(SamplingError, match="stride of 9 px"):
        write_patches(_config(settings, patch=8, stride=9), tmp_path / "cache")
    make_scene(
        name="aerial/train/town_2016_8.tif",
        bands=("red", "nir"),
        dtype="uint16",
        origin=(ORIGIN[0], ORIGIN[1] - 9000),
    )
    with pytest.raises(SamplingError, match=r"'town_2016_8' has 2 bands of uint16, those before"):
        write_patches(_config(settings), tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


def test_a_cache_is_cut_once_and_again_after_a_change(settings, tmp_path, town, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    config = _config(settings)
    first = ensure_cache(config)
    assert first.path.is_relative_to(tmp_path / "home" / "geotrans")
    written = (first.path / "manifest.json").stat().st_mtime_ns
    assert ensure_cache(config).path == first.path
    assert (first.path / "manifest.json").stat().st_mtime_ns == written
    changed = [
        ensure_cache(_config(settings, patch=16)).path,
        ensure_cache(_config(settings, min_valid=0.5)).path,
    ]
    scene = town / "aerial/val/town_2016_3.tif"
    scene.rename(scene.with_name("town_2017_3.tif"))
    changed.append(ensure_cache(config).path)
    style = town / "town.yaml"
    style.write_text(style.read_text().replace("250", "240"))
    changed.append(ensure_cache(config).path)
    assert len({first.path, *changed}) == 5


def test_a_named_cache_is_held_against_its_configuration(settings, tmp_path, town):
    config = _config(settings, cache=str(tmp_path / "cache"))
    assert ensure_cache(config).path == tmp_path / "cache"
    assert fingerprint(config) == PatchCache.open(tmp_path / "cache").manifest.fingerprint
    # Where the rasters are does not matter, nor whether they are here at all.
    town.joinpath("aerial").rename(town / "away")
    ensure_cache(config)
    town.joinpath("away").rename(town / "aerial")
    with pytest.raises(SamplingError, match="cut by another configuration"):
        ensure_cache(_config(settings, cache=str(tmp_path / "cache"), patch=8))
    (town / "aerial/val/town_2016_3.tif").unlink()
    with pytest.raises(SamplingError, match="have changed since it was cut"):
        ensure_cache(config)


def test_a_cache_is_never_written_over_unasked(settings, tmp_path):
    config = _config(settings)
    write_patches(config, tmp_path / "cache")
    with pytest.raises(OutputError, match="overwrite=True"):
        write_patches(config, tmp_path / "cache")
    write_patches(_config(settings, patch=8), tmp_path / "cache", overwrite=True)
    assert PatchCache.open(tmp_path / "cache").load("val").target.shape[-1] == 8


@pytest.mark.slow
@pytest.mark.realdata
def test_santa_monica(data_dir, tmp_path):
    config = validate_section(
        DataConfig,
        {
            "root": str(data_dir),
            "splits": {
                # A part; the training configurations cut the whole.
                "train": "santa_monica/aerial/train/*_2020_1*",
                "val": "santa_monica/aerial/val/*_2020_*",
            },
            "source": {"vectors": "santa_monica/streetmap.gpkg", "style": "plain"},
            "target": {"bands": ["red", "green", "blue", "nir"]},
            "place": r"(santa_monica)_\d{4}_(\d+)",
            "group": r"_(\d{4})_",
        },
        where="data",
    )
    cache = write_patches(config, tmp_path / "cache")
    assert [len(records) for records in cache.manifest.splits.values()] == [6, 13]
    patches = cache.load("val")
    assert patches.valid.all()
    # The map says something about the photograph where it lies, and less anywhere else.
    here = _explained(patches.classes, patches.target)
    assert here > 0.08
    for axis in (1, 2):
        assert _explained(np.flip(patches.classes, axis), patches.target) < here / 2
        for shift in (-10, 10):
            moved = np.roll(patches.classes, shift, axis)
            assert _explained(moved, patches.target) < 0.9 * here
    assert _explained(np.roll(patches.classes, 1, axis=0), patches.target) < here / 2


def _explained(classes, images):
    """Share of the variance within an image that its classes explain, mean over images."""
    shares = []
    for labels, image in zip(classes.reshape(len(classes), -1), images, strict=True):
        values = image.reshape(len(image), -1).astype(np.float64)
        rest = sum(
            values[:, labels == label].var(axis=1) * (labels == label).mean()
            for label in np.unique(labels)
        )
        shares.append(1 - rest.sum() / values.var(axis=1).sum())
    return np.mean(shares)
