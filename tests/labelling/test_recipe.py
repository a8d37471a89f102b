import pytest

from geotrans.errors import ConfigError
from geotrans.labelling.recipe import list_recipes, load_recipe

TWO = {
    "name": "two",
    "gsd_m": [0.5, 1],
    "texture_m": 3,
    "classes": [{"name": "green", "color": [0, 200, 0]}, {"name": "rest", "color": [90, 90, 90]}],
    "rules": [{"class": "green", "where": {"ndvi": [0.2, None]}}, {"class": "rest"}],
}


def test_the_shipped_one_reads():
    assert list_recipes() == ("landcover",)
    recipe = load_recipe("landcover")
    assert [one.name for one in recipe.rule_classes] == [
        "tree", "grass", "bare soil", "bright roof", "dark roof", "red roof", "paved", "shadow",
        "water",
    ]  # fmt: skip
    assert [one.name for one in recipe.classes][-1] == "road"
    assert recipe.style is not None


def test_only_measures_that_rules_ask_for():
    assert load_recipe(TWO).index_names == ("ndvi",)
    assert load_recipe(TWO).style is None


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"rules": TWO["rules"][:1]}, "last rule must fit every pixel"),
        ({"rules": [{"class": "gren"}]}, "'gren' is not among .*did you mean 'green'"),
        ({"rules": [{"class": "rest", "where": {"ndvl": [0, 1]}}]}, "'ndvl'; did you mean 'ndvi'"),
        ({"bands": ["red", "green", "blue"]}, "bands are red, green, blue; .*nir"),
        ({"texture": 3}, "unknown key; did you mean 'texture_m'"),
        ({"vectors": {"over": ["rest"], "mappings": {"a": {
            "background": None, "layers": [{"layer": "x", "class": "way"}]}}}}, "'way'"),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_told(change, told):
    with pytest.raises(ConfigError, match=rf"recipe 'two': .*{told}"):
        load_recipe({**TWO, **change})


def test_a_missing_one_names_the_nearest():
    with pytest.raises(ConfigError, match=r"no recipe 'landcovr'.*did you mean 'landcover'"):
        load_recipe("landcovr")


def test_a_file(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("- not a mapping\n")
    with pytest.raises(ConfigError, match="holds no mapping"):
        load_recipe(path)
    path.write_text("name: [")
    with pytest.raises(ConfigError, match="is not YAML"):
        load_recipe(path)
