import re

import pytest

from geotrans.errors import ConfigError, SamplingError
from geotrans.sampling.matching import find_files, match_key, match_scenes, open_scenes, require_key
from tests.sampling.conftest import ORIGIN


@pytest.fixture
def scene_at(make_scene):
    """`scene_at(col, name)`: a scene of 400 m, `col` metres east of the origin."""

    def make(col, name, **options):
        path = make_scene(name=name, shape=(40, 40), origin=(ORIGIN[0] + col, ORIGIN[1]), **options)
        return open_scenes([path])[0]

    return make


def _names(pairs):
    return [(grid.name, other.name) for grid, other in pairs]


def test_files_of_a_folder_in_natural_order(tmp_path):
    for name in ("a_10.tif", "a_2.TIFF", "a_2.tif.aux.xml", "notes.txt"):
        (tmp_path / name).touch()
    (tmp_path / "sub.tif").mkdir()
    assert [p.name for p in find_files(tmp_path)] == ["a_2.TIFF", "a_10.tif"]
    assert [p.name for p in find_files(f"{tmp_path}/*.txt")] == ["notes.txt"]


def test_empty_and_missing_folders_are_told(tmp_path):
    with pytest.raises(SamplingError, match="holds not a raster"):
        find_files(tmp_path)
    with pytest.raises(SamplingError, match="holds not a file"):
        find_files(tmp_path / "none")


def test_unreadable_scenes_are_left_out_and_counted(make_scene, tmp_path, caplog):
    good = [make_scene(), make_scene()]
    (tmp_path / "empty.tif").touch()
    (tmp_path / "text.tif").write_text("not a raster")
    bad = [tmp_path / "empty.tif", tmp_path / "text.tif"]
    assert len(open_scenes([good[0], *bad, good[1]])) == 2
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert record.message.startswith("left out 2 of 4 scenes that cannot be read: ")
    assert "empty.tif" in record.message
    assert "text.tif" in record.message
    with pytest.raises(SamplingError, match=r"no scene to sample: .*empty\.tif"):
        open_scenes(bad)


def test_pairs_by_name(scene_at, caplog):
    grids = [scene_at(0, f"opt_{i}_x.tif") for i in (1, 2, 3)]
    others = [scene_at(9000, f"sar_{i}_y.tif") for i in (3, 1)]
    pairs = match_scenes(grids, others, pattern=re.compile(r"_(\d)_"))
    assert _names(pairs) == [("opt_1_x", "sar_1_y"), ("opt_3_x", "sar_3_y")]
    assert "left out 1 of 3 scenes without a partner: opt_2_x" in caplog.text
    with pytest.raises(SamplingError, match=r"finds '1' in both 'sar_1_y' and 'sar_1_z'"):
        match_scenes(grids, [*others, scene_at(0, "sar_1_z.tif")], pattern=re.compile(r"_(\d)_"))
    with pytest.raises(SamplingError, match="3 scenes with 2 by names"):
        match_scenes(grids, others, pattern=re.compile("q"))


def test_pairs_by_ground_take_the_largest_share(scene_at):
    grids = [scene_at(0, "a.tif"), scene_at(1000, "b.tif")]
    others = [scene_at(-150, "p.tif"), scene_at(100, "q.tif"), scene_at(1390, "r.tif")]
    assert _names(match_scenes(grids, others)) == [("a", "q"), ("b", "r")]


def test_pairs_by_ground_across_crs(scene_at, make_scene):
    wide = make_scene("EPSG:4326", (120, 120), 10, origin=(-118.092, 34.34))
    assert _names(match_scenes([scene_at(0, "a.tif")], open_scenes([wide]))) == [("a", "scene0")]


def test_scenes_that_touch_or_lie_elsewhere_are_no_pair(scene_at):
    with pytest.raises(SamplingError, match="by ground and found no pair"):
        match_scenes([scene_at(0, "a.tif")], [scene_at(400, "b.tif"), scene_at(-900, "c.tif")])
    with pytest.raises(SamplingError, match="by ground and found no pair"):
        match_scenes([scene_at(0, "a.tif")], [scene_at(0, "plain.tif", crs=None)])


def test_a_scene_is_its_own_partner_before_any_other(scene_at):
    scenes = [scene_at(0, f"{name}.tif") for name in "abc"]
    assert _names(match_scenes(scenes, scenes)) == [("a", "a"), ("b", "b"), ("c", "c")]


def test_keys_of_names():
    assert match_key(None, "town_2016_3") == "town_2016_3"
    assert match_key(re.compile(r"(town)_\d{4}_(\d+)"), "town_2016_3") == "town_3"
    assert match_key(re.compile(r"\d{4}"), "town_2016_3") == "2016"
    assert match_key(re.compile("city"), "town_2016_3") is None
    with pytest.raises(ConfigError, match=r"data\.place: 'city' finds nothing in 'town_2016_3'"):
        require_key(re.compile("city"), "town_2016_3", option="place")
