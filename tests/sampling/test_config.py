import pytest
import yaml

from geotrans.errors import ConfigError, SamplingError
from geotrans.runtime.config import validate_section
from geotrans.sampling.config import (
    BlockSplits,
    BoxSplits,
    DataConfig,
    FolderSplits,
    MapSide,
    PolygonSplits,
    find_data_root,
    load_data_config,
)

PAIRED = {
    "splits": {"train": "a/train", "val": "a/val"},
    "source": {"vectors": "city.gpkg", "style": "plain", "margin": 16},
    "target": {"bands": ["red", "green", "blue"]},
    "place": r"_(\d+)$",
}


def _parse(**changes):
    return validate_section(DataConfig, PAIRED | changes, where="data")


@pytest.fixture
def config_file(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump({"data": PAIRED, "training": {"steps": 3}}))
    return path


def test_sections_are_told_apart_by_their_keys():
    config = _parse()
    assert isinstance(config.source, MapSide)
    assert isinstance(config.splits, FolderSplits)
    assert config.splits.folders == {"train": ("a/train",), "val": ("a/val",)}
    assert isinstance(_parse(splits={"scenes": "a", "polygons": "p.gpkg"}).splits, PolygonSplits)
    boxes = _parse(splits={"scenes": "a", "boxes": {"train": [[0, 0, 5, 5]]}})
    assert isinstance(boxes.splits, BoxSplits)
    blocks = _parse(splits={"scenes": "a", "block_m": 500, "shares": {"train": 4, "val": 1}})
    assert isinstance(blocks.splits, BlockSplits)


def test_plain_values_and_back():
    config = _parse()
    assert DataConfig.model_validate(config.model_dump(mode="json")) == config


def test_a_drawn_side_takes_the_others_grid():
    assert (_parse().grid_side, _parse().drawn_side) == ("target", "source")
    turned = _parse(source=PAIRED["target"], target=PAIRED["source"])
    assert (turned.grid_side, turned.drawn_side) == ("source", "target")
    rasters = _parse(source={}, grid="source")
    assert (rasters.grid_side, rasters.drawn_side) == ("source", None)


def test_a_section_is_read_with_its_overrides(config_file):
    config = load_data_config(config_file, ["data.patch=128", "data.source.margin=8"])
    assert config.patch == 128
    assert isinstance(config.source, MapSide)
    assert config.source.margin == 8


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sorce": {}}, r"^data\.sorce: unknown key; did you mean 'source'\?$"),
        (
            {"source": {"vectors": "x", "stile": "plain"}},
            r"^data\.source\.stile: unknown key; did you mean 'style'\?$",
        ),
        ({"target": {"band": ["red"]}}, r"data\.target\.band: unknown key; did you mean 'bands'"),
        ({"target": PAIRED["source"]}, "both drawn from vectors"),
        ({"stride": 8}, "stride without patch"),
        ({"patch": 0}, r"data\.patch: .*greater than or equal to 1"),
        ({"min_valid": 2}, r"data\.min_valid"),
        ({"place": "("}, r"data\.place: .*regular expression"),
        ({"splits": {"train": []}}, r"data\.splits\.folders\.train: .*at least 1"),
        ({"splits": {}}, r"data\.splits\.folders: .*at least 1"),
        ({"target": {"resampling": "bilinar"}}, r"data\.target\.resampling: .*'bilinear'"),
        ({"splits": {"scenes": "a", "block_m": 5, "shares": {"train": 0}}}, r"shares\.train"),
        ({"splits": {"scenes": "a", "boxes": {"train": [[3, 0, 3, 9]]}}}, "'train' is empty"),
        ({"target": {"range": [9, 2]}}, r"data\.target: range 9 to 2 is empty"),
        ({"target": {"rang": [2, 9]}}, r"data\.target\.rang: unknown key; did you mean 'range'"),
        ({"target": {"range": [0, float("inf")]}}, r"data\.target\.range.*finite"),
        (
            {"target": {"bands": ["pam"], "derive": {"pan": {"red": 1}}}},
            "derive makes the band 'pan', and bands does not ask for it; did you mean 'pam'",
        ),
        ({"target": {"derive": {"pan": {}}}}, r"data\.target\.derive\.pan: .*at least 1"),
        ({"target": {"classes": True, "range": [0, 9]}}, "classes are names, which have no range"),
        ({"splits": {"scenes": "a", "boxes": {"train": [[0, 0, 361, 9]]}}}, "boxes"),
    ],
)
def test_what_cannot_be_meant_is_told_in_one_line(changes, message):
    with pytest.raises(ConfigError, match=message) as caught:
        _parse(**changes)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("data: [1", "is not YAML"),
        ("training: {}", "no section 'data:'"),
        ("data: [1]", "no section 'data:'"),
        ("", "no section 'data:'"),
    ],
)
def test_files_that_are_no_configuration(tmp_path, text, message):
    path = tmp_path / "config.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        load_data_config(path)


def test_missing_files_and_bad_overrides(config_file, tmp_path):
    with pytest.raises(ConfigError, match="cannot read configuration"):
        load_data_config(tmp_path / "none.yaml")
    with pytest.raises(ConfigError, match="has no '='"):
        load_data_config(config_file, ["data.patch"])
    with pytest.raises(ConfigError, match="reaches into 'place'"):
        load_data_config(config_file, ["data.place.x=1"])
    with pytest.raises(ConfigError, match="is not YAML"):
        load_data_config(config_file, ["data.target.bands=[red"])


def test_where_relative_paths_start(tmp_path, monkeypatch):
    monkeypatch.setenv("GEOTRANS_DATA", str(tmp_path))
    assert find_data_root(_parse()) == tmp_path
    (tmp_path / "own").mkdir()
    assert find_data_root(_parse(root=str(tmp_path / "own"))) == tmp_path / "own"
    with pytest.raises(SamplingError, match=r"none \(data\.root\) is no folder; set GEOTRANS_DATA"):
        find_data_root(_parse(root=str(tmp_path / "none")))
    monkeypatch.setenv("GEOTRANS_DATA", str(tmp_path / "gone"))
    with pytest.raises(SamplingError, match=r"gone \(GEOTRANS_DATA\)"):
        find_data_root(_parse())
