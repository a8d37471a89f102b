import logging

import numpy as np
import pytest
import rasterio

from geotrans.errors import BandError, ConfigError, SamplingError
from geotrans.runtime.config import validate_section
from geotrans.sampling.cache import PatchCache
from geotrans.sampling.config import DataConfig
from geotrans.sampling.domains import _apportion, open_domains
from geotrans.sampling.tiling import ensure_cache, write_patches
from tests.helpers.scenes import coded


@pytest.fixture
def collections(tmp_path, make_scene):
    """Infrared of two places by two sensors, colours of another place, pairs of a fourth."""
    for folder in ("infrared", "satellite", "colour", "pairs"):
        (tmp_path / folder).mkdir()
    for i in range(2):
        origin = (400_000.0 + 2000 * i, 3_800_000.0)
        make_scene(name=f"infrared/near_{i}.tif", bands=("red", "nir"), origin=origin)
    make_scene(
        "EPSG:4326", (80, 90), 30.0, name="satellite/far.tif", bands=("blue", "nir", "red"),
        origin=(-110.0, 30.0),
    )  # fmt: skip
    make_scene("EPSG:32612", name="colour/other.tif", bands=("red", "green", "blue"))
    make_scene(
        name="pairs/town.tif", bands=("nir", "red", "green", "blue"), origin=(500_000.0, 4e6)
    )
    return tmp_path


@pytest.fixture
def settings(collections):
    return {
        "root": str(collections),
        "cache": str(collections / "cache"),
        "splits": {"val": "pairs"},
        "unpaired": {
            "train": {
                "source": [{"files": "infrared"}, {"files": "satellite", "share": 0.25}],
                "target": "colour/*.tif",
                "windows": 40,
            }
        },
        "source": {"bands": ["nir", "red"]},
        "target": {"bands": ["red", "green", "blue"]},
        "patch": 16,
    }


def _config(settings, **changes):
    return validate_section(DataConfig, settings | changes, where="data")


def _train(settings, **changes):
    patch = {"patch": changes.pop("patch", settings["patch"])}
    train = {**settings["unpaired"]["train"], **changes}
    return _config(settings, unpaired={"train": train}, **patch)


def test_two_collections_in_one_cache_with_paired_truth(settings, tmp_path):
    cache = write_patches(_config(settings), tmp_path / "cache")
    train = PatchCache.open(cache.path).load("train")
    assert train.source.shape == (40, 2, 16, 16)
    assert train.target.shape == (40, 3, 16, 16)
    assert train.valid.all()
    assert train.target_valid.all()
    far = [record for record in train.records if record.name.startswith("far")]
    assert len(far) == 10
    assert {record.crs for record in far} == {"EPSG:4326"}
    assert len({(record.name, record.window) for record in train.records}) == 40
    values = {"near": coded((48, 64), bands=2)[[1, 0]], "far": coded((80, 90), bands=3)[[1, 2]]}
    for patch, record in zip(train.source, train.records, strict=True):
        col, row, width, height = record.window
        whole = values[record.name.split("_")[0]]
        np.testing.assert_array_equal(patch, whole[:, row : row + height, col : col + width])
    assert {record.place for record in train.target_records} == {"other"}
    val = cache.load("val")
    assert len(val.source) == len(val.target) == 12
    assert val.target_valid is None
    assert cache.manifest.gsd_m == pytest.approx((10, 27.92), rel=0.01)
    assert cache.manifest.source.bands == ("nir", "red")


def test_the_cache_belongs_to_its_configuration(settings, collections):
    first = ensure_cache(_config(settings))
    assert ensure_cache(_config(settings)).manifest == first.manifest
    with pytest.raises(SamplingError, match="cut by another configuration"):
        ensure_cache(_train(settings, seed=1))
    (collections / "satellite" / "far.tif").touch()
    with pytest.raises(SamplingError, match="have changed"):
        ensure_cache(_config(settings))


def test_draws_are_a_function_of_the_seed_and_independent(settings, tmp_path):
    def windows(seed, name):
        cache = write_patches(_train(settings, seed=seed), tmp_path / name).load("train")
        return [
            [(r.name, r.window) for r in side] for side in (cache.records, cache.target_records)
        ]

    one, again, other = windows(0, "a"), windows(0, "b"), windows(1, "c")
    assert one == again
    assert set(one[0]) != set(other[0])
    assert set(one[1]) != set(other[1])
    assert [w for _, w in one[0]] != [w for _, w in one[1]]


@pytest.mark.parametrize(("balance", "expected"), [("area", 0.8), ("scenes", 0.5)])
def test_scenes_are_balanced_by_area_or_alike(collections, make_scene, settings, balance, expected):
    for name, shape, left in (("small", (100, 200), 0), ("large", (400, 200), 9000)):
        make_scene(
            name=f"{name}.tif", bands=("nir", "red"), shape=shape, origin=(600_000.0 + left, 4e6)
        )
    files = {"files": [str(collections / f"{name}.tif") for name in ("small", "large")]}
    config = _train(settings, source=files, balance=balance)
    source, _ = open_domains(config, "train", collections)
    names = [scene.scene.name for scene, _ in source.draw(600)]
    assert names.count("large") / 600 == pytest.approx(expected, abs=0.06)


def test_windows_hold_enough_valid_pixels(collections, make_scene, settings, tmp_path):
    invalid = np.zeros((60, 60), bool)
    invalid[np.arange(60)[:, None] + np.arange(60) < 60] = True
    make_scene(
        name="infrared/gaps.tif", bands=("nir", "red"), shape=(60, 60), nodata=0, invalid=invalid,
        origin=(700_000.0, 4e6),
    )  # fmt: skip
    config = _train(settings, source="infrared/gaps.tif", min_valid=0.75, windows=10_000)
    source, _ = open_domains(config, "train", collections)
    drawn = {window for _, window in source.draw(10_000)}
    shares = {
        (row, col): (~invalid[row : row + 16, col : col + 16]).mean()
        for row in range(45)
        for col in range(45)
    }
    wanted = {place for place, share in shares.items() if share >= 0.75}
    assert {(window.row_off, window.col_off) for window in drawn} == wanted
    train = write_patches(config, tmp_path / "cache").load("train")
    assert train.valid.mean(axis=(1, 2)).min() >= 0.75
    assert not train.valid.all()


def test_domains_of_one_place_are_refused_unless_asked(settings, collections, make_scene):
    make_scene("EPSG:32611", name="colour/same.tif", origin=(400_100.0, 3_800_000.0))
    with pytest.raises(SamplingError, match=r"'near_0' \(source\) and 'same' .*same_place: true"):
        open_domains(_config(settings), "train", collections)
    source, target = open_domains(_train(settings, same_place=True), "train", collections)
    assert len(source.scenes), len(target.scenes) == (3, 2)


def test_footprints_are_compared_across_crs(settings, collections, make_scene):
    make_scene("EPSG:4326", (20, 20), 30.0, name="colour/lonlat.tif", origin=(-118.09, 34.34))
    with pytest.raises(SamplingError, match=r"\(source\) and 'lonlat' \(target\) share"):
        open_domains(_config(settings), "train", collections)


def test_held_out_ground_never_trains(settings, tmp_path, make_scene):
    make_scene(name="infrared/town_again.tif", bands=("nir", "red"), origin=(500_000.0, 4e6))
    with pytest.raises(SamplingError, match=r"'town' \(val\) and 'town_again' \(train\) share"):
        write_patches(_config(settings), tmp_path / "cache")


def test_scenes_without_a_crs_are_told_of(settings, collections, make_scene, caplog):
    make_scene(None, name="colour/nowhere.tif")
    with caplog.at_level(logging.WARNING, logger="geotrans"):
        open_domains(_config(settings), "train", collections)
    assert "whether source and target share a place is not known" in caplog.text


def test_unreadable_scenes_are_left_out_and_counted(settings, collections, caplog):
    (collections / "infrared" / "broken.tif").write_bytes(b"no raster")
    with caplog.at_level(logging.WARNING, logger="geotrans"):
        source, _ = open_domains(_config(settings), "train", collections)
    assert "left out 1 of 3 scenes that cannot be read" in caplog.text
    assert len(source.scenes) == 3
    for path in (collections / "infrared").iterdir():
        path.write_bytes(b"no raster")
    with pytest.raises(SamplingError, match="no scene to sample"):
        open_domains(_config(settings), "train", collections)


def test_scenes_that_break_off_are_left_out_while_cutting(settings, collections, tmp_path, caplog):
    path = collections / "infrared" / "near_1.tif"
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 3 // 5])
    with caplog.at_level(logging.WARNING, logger="geotrans"):
        train = write_patches(_config(settings), tmp_path / "cache").load("train")
    assert "scenes that cannot be read" in caplog.text
    assert any(record.name.startswith("near_0") for record in train.records)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        (
            {"source": "nothing/*.tif"},
            SamplingError,
            "found no place to sample: .* holds not a file",
        ),
        (
            {"source": "pairs/town.tif", "target": "empty"},
            SamplingError,
            "empty holds not a raster",
        ),
        (
            {"target": [{"files": "colour", "bands": ["red", "swir"]}]},
            BandError,
            "red, swir; other",
        ),
        (
            {"source": [{"files": "infrared"}, {"files": "satellite", "bands": [1, 2, 3]}]},
            SamplingError,
            "source mixes scenes: 'near_0' has 2 bands of uint8, 'far' 3 of uint8",
        ),
    ],
)
def test_collections_that_cannot_be_drawn_from(settings, collections, changes, error, message):
    (collections / "empty").mkdir()
    with pytest.raises(error, match=message):
        open_domains(_train(settings, **changes), "train", collections)


def test_types_are_not_mixed(settings, collections, make_scene):
    make_scene(dtype="uint16", name="colour/zenith.tif", origin=(800_000.0, 4e6))
    with pytest.raises(SamplingError, match="'zenith' 3 of uint16"):
        open_domains(_config(settings), "train", collections)


def test_no_window_of_the_size_asked_for(settings, collections, caplog):
    message = (
        r"target: none of 1 scenes in colour/\*.tif has a window of 49 x 49 px, 90% of it valid"
    )
    with pytest.raises(SamplingError, match=message):
        open_domains(_train(settings, source="satellite/far.tif", patch=49), "train", collections)
    with rasterio.open(collections / "colour" / "other.tif", "r+") as file:
        file.nodata = 0
        file.write(np.zeros((3, 48, 64), np.uint8))
    with pytest.raises(SamplingError, match="has a window of 16 x 16 px"):
        open_domains(_config(settings), "train", collections)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"patch": None}, "unpaired domains need patch"),
        (
            {"source": {"vectors": "streets.gpkg"}},
            "unpaired domains are images read from rasters; source is not",
        ),
        ({"splits": None, "unpaired": {}}, "no data; give splits of pairs, or unpaired domains"),
        (
            {"unpaired": {"train": {"source": [{"files": "a", "share": 1}, "b"], "target": "c"}}},
            "the shares of source leave nothing",
        ),
        ({"unpaired": {"train": {"sorce": "a", "target": "c"}}}, "did you mean 'source'"),
    ],
)
def test_settings_that_cannot_be_meant(settings, changes, message):
    with pytest.raises(ConfigError, match=message):
        _config(settings, **changes)


def test_a_split_is_either_paired_or_not(settings, tmp_path):
    both = settings["unpaired"] | {"val": settings["unpaired"]["train"]}
    with pytest.raises(SamplingError, match=r"'val' is both in data\.splits and in data\.unpaired"):
        write_patches(_config(settings, unpaired=both), tmp_path / "cache")


def test_bands_of_pairs_and_domains_must_agree(settings, tmp_path):
    wanted = {"source": [{"files": "infrared", "bands": ["nir"]}], "target": "colour"}
    with pytest.raises(
        SamplingError, match="source of the splits differs: nir, red of uint8, and nir of"
    ):
        write_patches(_train(settings, **wanted), tmp_path / "cache")


def test_without_pairs_at_all(settings, tmp_path):
    config = _config(settings, splits=None)
    assert write_patches(config, tmp_path / "cache").splits == ("train",)


def test_shares_become_whole_numbers():
    assert _apportion(10, [0.25, 0.75]) == [3, 7] or _apportion(10, [0.25, 0.75]) == [2, 8]
    assert sum(_apportion(7, [1 / 3] * 3)) == 7
