"""Styles: contrast, inheritance, and errors that name what was meant."""

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from geotrans.errors import ConfigError
from geotrans.maps import style as style_module
from geotrans.maps.style import BLANK, MIN_CONTRAST, find_style, list_styles, load_style, palette

BASE: dict[str, Any] = {
    "name": "mine",
    "background": "grass",
    "classes": [
        {"name": "grass", "color": [90, 210, 60]},
        {"name": "road", "color": [60, 60, 60]},
        {"name": "track", "color": [180, 60, 60]},
    ],
    "layers": [{"layer": "lines", "where": {"kind": "road"}, "class": "road", "width_m": 8}],
}


def changed(**changes: Any) -> dict[str, Any]:
    return {**BASE, **changes}


@pytest.mark.parametrize("name", list_styles())
def test_shipped_styles_keep_their_classes_apart(name: str) -> None:
    colors = np.array([color for _, color in palette(load_style(name))])
    for a, b in itertools.combinations(colors, 2):
        assert np.abs(a - b).max() >= MIN_CONTRAST


@pytest.mark.parametrize("name", list_styles())
def test_no_class_of_a_shipped_style_is_a_mix_of_two_others(name: str) -> None:
    classes = palette(load_style(name))
    share = np.linspace(0, 1, 65)[:, None]
    for (a, color_a), (b, color_b) in itertools.combinations(classes, 2):
        mixes = share * np.array(color_a) + (1 - share) * np.array(color_b)
        for c, color in classes:
            if c not in (a, b):
                distance = np.abs(mixes - color).max(axis=1).min()
                assert distance >= MIN_CONTRAST, f"{c} looks like a mix of {a} and {b}"


def test_plain_has_a_mapping_for_osm_and_one_for_santa_monica() -> None:
    style = load_style("plain")
    assert list(style.mappings) == ["osm", "santa_monica"]
    osm = style.choose_mapping(["points", "lines", "multipolygons"], [])
    city = style.choose_mapping(["streets", "right_of_way", "landuse", "facilities", "blocks"], [])
    assert osm is style.mappings["osm"]
    assert city is style.mappings["santa_monica"]
    # A class that one mapping never paints would be one the model has never seen.
    for mapping in (osm, city):
        painted = {layer.class_name for layer in mapping.layers} | {mapping.background}
        assert painted - {None} == {name for name, _ in palette(style)}
    assert not any("building" in field for field in osm.fields)


def test_the_coarse_style_counts_apartments_among_houses() -> None:
    style = load_style("plain_coarse")
    names = [name for name, _ in palette(style)]
    assert "apartments" not in names
    assert names == [name for name, _ in palette(load_style("plain")) if name != "apartments"]
    fine, coarse = load_style("plain").mappings["osm"], style.mappings["osm"]
    renamed = ["houses" if x.class_name == "apartments" else x.class_name for x in fine.layers]
    assert [x.class_name for x in coarse.layers] == renamed


def test_a_style_survives_the_bundle_it_is_kept_in() -> None:
    style = load_style("plain")
    assert load_style(style.model_dump(mode="json", by_alias=True)) == style


def test_a_single_mapping_needs_no_name() -> None:
    style = load_style(BASE)
    assert list(style.mappings) == ["mine"]
    assert style.choose_mapping(["whatever"], []).background == "grass"
    assert style.index("track") == 2
    assert style.index(None) == BLANK


def test_values_are_words_as_they_are_written() -> None:
    text = yaml.safe_load("{layer: lines, where: {oneway: yes, lanes: [2, 3.5]}, class: ~}")
    layer = load_style(changed(layers=[text])).mappings["mine"].layers[0]
    assert layer.where == {"oneway": ("yes",), "lanes": ("2", "3.5")}
    assert layer.class_name is None


def test_a_source_of_one_layer_goes_by_its_fields() -> None:
    style = load_style("plain")
    assert style.choose_mapping(["export"], ["id", "highway"]) is style.mappings["osm"]
    with pytest.raises(ConfigError, match="knows sources with layers"):
        style.choose_mapping(["export"], ["id", "width"])
    with pytest.raises(ConfigError, match="the vectors have roads, houses"):
        style.choose_mapping(["roads", "houses"], [])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (changed(backgroud="grass"), r"unknown key 'backgroud'; did you mean 'background'\?"),
        (
            changed(layers=[{"class": "road", "widht_m": 3}]),
            r"unknown key 'mappings.mine.layers\[0\].widht_m'; did you mean 'width_m'\?",
        ),
        (
            changed(classes=[{"name": "grass", "colour": [1, 2, 3], "color": [1, 2, 3]}]),
            r"unknown key 'classes\[0\].colour'; did you mean 'color'\?",
        ),
        (changed(layers=[{"class": "raod"}]), r"class 'raod' is not among.*did you mean 'road'\?"),
        (changed(layers=[{"class": "road", "over": "gras"}]), r"'gras'.*did you mean 'grass'\?"),
        (changed(background="rode"), r"class 'rode'"),
        (changed(layers=[]), "layers: "),
        (changed(layers=[{"class": "road", "width_m": 0}]), r"width_m: .*greater than 0"),
        (changed(layers=[{"layer": "lines"}]), r"layers\[0\].class: Field required"),
        (
            changed(classes=[*BASE["classes"], {"name": "lawn", "color": [100, 219, 79]}]),
            "'grass' and 'lawn' differ by 19 grey levels",
        ),
        (
            changed(classes=[*BASE["classes"], {"name": "road", "color": [0, 0, 255]}]),
            "not all different",
        ),
        (changed(classes=[{"name": "grass", "color": [0, 0, 256]}]), "less than or equal to 255"),
        (changed(merge={"track": "road"}), "merge"),
        ({"extends": "plane", "name": "x"}, r"no style 'plane'.*did you mean 'plain'\?"),
        ({"extends": "plain", "merge": {"appartments": "houses"}}, r"did you mean 'apartments'\?"),
        ({"extends": "plain", "merge": {"park": "verge", "verge": "park"}}, "that stays"),
    ],
)
def test_what_cannot_be_meant_is_named(content: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_style(content)


def test_the_example_in_the_documentation() -> None:
    text = (style_module.__doc__ or "").partition("learned:\n")[2]
    style = load_style(yaml.safe_load(text))
    assert palette(style) == palette(load_style("plain"))
    (mapping,) = style.mappings.values()
    assert mapping.layer_names == ("zoning", "lakes", "roads")
    assert mapping.layers[1].class_name is None
    assert mapping.layers[2].unless == {"bridge": ("yes",)}


def test_files(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump(BASE))
    assert load_style(file) == load_style(str(file)) == load_style(BASE)
    heir = tmp_path / "heir.yaml"
    text = "{name: heir, extends: mine.yaml, background: road, layers: [{class: track}]}"
    heir.write_text(text)
    assert palette(load_style(heir)) == palette(load_style(BASE))
    heir.write_text(text.replace("background: road, ", ""))
    with pytest.raises(ConfigError, match="background: Field required"):
        load_style(heir)


def test_an_heir_takes_what_it_does_not_say() -> None:
    layers = [{"layer": "roads", "class": "street", "width_m": 9}]
    own = load_style({"extends": "plain", "name": "own", "background": "verge", "layers": layers})
    assert palette(own) == palette(load_style("plain"))
    assert list(own.mappings) == ["own"]
    mapping = {"background": "verge", "layers": layers}
    more = load_style({"extends": "plain", "name": "more", "mappings": {"roads": mapping}})
    assert list(more.mappings) == ["roads", "osm", "santa_monica"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: [", "is not YAML"),
        ("- a list", "holds no mapping"),
        ("extends: loop.yaml", "extends itself"),
    ],
)
def test_files_that_hold_no_style(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "loop.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=message):
        load_style(file)


def test_a_missing_style_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"no style 'plian'.*did you mean 'plain'\?"):
        find_style("plian")
