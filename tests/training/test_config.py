from pathlib import Path

import pytest
import yaml

import geotrans
from geotrans import models
from geotrans.errors import ConfigError, OutputError
from geotrans.labelling.recipe import load_recipe
from geotrans.maps.style import load_style, palette
from geotrans.runtime.config import validate_section
from geotrans.sampling.config import DerivedSide
from geotrans.tasks.spec import BandSpec
from geotrans.training import load_config
from geotrans.training.config import TrainConfig, resolve_config, save_config
from geotrans.training.generator import generator_args
from tests.helpers.patches import BASE, toy_config

DOMAINS = {"source": "a", "target": "b"}
SHIPPED = sorted((Path(geotrans.__file__).parents[1] / "configs").glob("*.yaml"))


@pytest.fixture
def config_file(tmp_path):
    path = tmp_path / "toy.yaml"
    path.write_text(yaml.safe_dump(BASE))
    return path


def test_arguments_win_over_the_file(config_file):
    config = load_config(
        config_file,
        ["training.max_minutes=30", "augment.jitter.gamma=0.2", "augment.critic=[color, cutout]"],
    )
    assert config.training.max_minutes == 30
    assert config.training.crop == BASE["training"]["crop"]
    assert config.augment.jitter.gamma == 0.2
    assert config.augment.critic == ("color", "cutout")


def test_members_are_trainings_with_changes():
    config = toy_config(augment__jitter={"gamma": 0.2, "contrast": 0.1})
    members = [{}, {"augment": {"jitter": {"gamma": 0.3}}, "training": {"seed": 4}}]
    config = TrainConfig.model_validate(config.model_dump() | {"members": members})
    plain, changed = config.trainings
    assert plain == toy_config(augment__jitter={"gamma": 0.2, "contrast": 0.1})
    assert changed.training == plain.training.model_copy(update={"seed": 4})
    assert (changed.augment.jitter.gamma, changed.augment.jitter.contrast) == (0.3, 0.1)
    assert plain.trainings == ()


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ("[{}]", "members lists one training; list two or more, or leave it out"),
        ("[{}, {}]", "member 2 is the same training as member 1; give it another training.seed"),
        ("[{}, {training: {sed: 1}}]", "member 2.training.sed: unknown key; did you mean 'seed'"),
        ("[{}, {training: {seed: -1}}]", "member 2.training.seed: .* greater than or equal to 0"),
        ("[{}, {task: {name: other}}]", r"members\.1\.task: unknown key"),
        ("[{}, {loss: {gan: 0, l1: 0}}]", "member 2: every loss has weight 0"),
    ],
)
def test_members_that_cannot_be_trained_are_refused(config_file, members, message):
    with pytest.raises(ConfigError, match=message):
        load_config(config_file, [f"members={members}"])


def test_the_way_back_is_not_averaged():
    content = toy_config().model_dump() | {"members": [{}, {"training": {"seed": 1}}]}
    content["task"]["inverse"] = True
    content["training"]["method"] = "cyclegan"
    content["loss"] = {"gan": 1.0}
    with pytest.raises(ConfigError, match="which members do not average"):
        validate_section(TrainConfig, content, where="toy")


def test_a_year_may_be_written_as_a_number(config_file):
    words = ["training.val_group=2020", "augment.groups={2020: 0.5, 2018: 1}"]
    config = load_config(config_file, words)
    assert config.training.val_group == "2020"
    assert config.augment.groups == {"2020": 0.5, "2018": 1.0}


def test_a_heading_without_anything_below_is_a_section(config_file):
    config_file.write_text(config_file.read_text() + "augment:\n")
    assert load_config(config_file, ["augment.dihedral=false"]).augment.dihedral is False


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("training.max_minute=3", r"training\.max_minute: unknown key; did you mean 'max_minutes'"),
        ("trainig.steps=3", r"trainig: unknown key; did you mean 'training'\?"),
        ("loss.crossentropy=1", r"loss\.crossentropy: unknown key; did you mean 'cross_entropy'"),
        ("data.pach=8", r"data\.pach: unknown key; did you mean 'patch'\?"),
        ("augment.jitter.gama=1", r"augment\.jitter\.gama: unknown key; did you mean 'gamma'"),
        (
            "training.steps",
            r"override 'training\.steps' has no '='; write it as section\.key=value",
        ),
        ("training.steps.more=1", "reaches into 'steps', which is no section"),
        ("augment.critic=[color", r"override 'augment.critic=\[color' is not YAML after '='"),
        ("training.steps=0", r"training\.steps: .*greater than or equal to 1"),
        ("training.steps=many", r"training\.steps: .*valid integer"),
        ("training.seed=-1", r"training\.seed: .*greater than or equal to 0"),
        ("training.accelerator=gpus", r"training\.accelerator: .*'gpu'"),
        ("training.select=l1", r"training\.select: .*pattern"),
        ("augment.critic=[colour]", r"augment\.critic\.0: .*'color'"),
        ("augment.groups={'2020': 0}", r"augment\.groups\.2020: .*greater than 0"),
        ("loss.cross_entropy=1", "loss.cross_entropy needs classes; set task.palette to true"),
        ("loss.jaccard=1", "loss.jaccard needs classes; set task.palette to true"),
        ("loss={gan: 0, l1: 0}", "every loss has weight 0"),
        ("loss={gan: 0, feature: 1}", "loss.feature matches the critic's activations"),
        ("task.name=My Task", r"task\.name: .*pattern"),
    ],
)
def test_what_cannot_be_meant_is_told_in_one_line(config_file, word, message):
    with pytest.raises(ConfigError, match=message) as caught:
        load_config(config_file, [word])
    assert "\n" not in str(caught.value)


def test_files_that_are_no_configuration(tmp_path):
    with pytest.raises(ConfigError, match="cannot read configuration"):
        load_config(tmp_path / "none.yaml")
    path = tmp_path / "config.yaml"
    path.write_text("task: {name: [")
    with pytest.raises(ConfigError, match="is not YAML"):
        load_config(path)
    path.write_text("just words")
    with pytest.raises(ConfigError, match="has no section 'data:', nor any other"):
        load_config(path)
    path.write_text("task: {name: toy}")
    with pytest.raises(ConfigError, match=r"config\.yaml\.data: Field required"):
        load_config(path)


def test_a_saved_configuration_is_the_same(tmp_path):
    config = toy_config(augment__groups={"2020": 1.0}, data__place=r"_(\d+)$")
    save_config(tmp_path / "config.yaml", config)
    assert resolve_config(load_config(tmp_path / "config.yaml")) == resolve_config(config)
    with pytest.raises(OutputError, match="cannot be written"):
        save_config(tmp_path / "none" / "config.yaml", config)


def test_weights_above_zero_by_name():
    config = toy_config(loss={"gan": 0, "l1": 3, "feature": 0, "perceptual": 0.5})
    assert config.loss.weights == {"l1": 3, "perceptual": 0.5}


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_configurations_hold_together(path):
    config = load_config(path)
    assert isinstance(config, TrainConfig)
    assert config.task.name == path.stem
    data, names = config.data, []
    if data.drawn_side is not None:
        names = [name for name, _ in palette(load_style(getattr(data, data.drawn_side).style))]
    n_source = 3
    if isinstance(data.source, DerivedSide):
        n_source = len(load_recipe(data.source.recipe).rule_classes)
    for members in config.task.iou_groups.values():
        assert set(members) <= set(names)
    n_out = len(names) if config.task.palette else len(config.task.target or "rgb")
    sides = [
        [BandSpec(name=str(name)) for name in getattr(side, "bands", None) or "rgb"[:n]]
        for side, n in ((data.source, n_source), (data.target, 3))
    ]
    args = config.generator.args
    if config.generator.arch == "residual":
        args = generator_args(config.generator, source=sides[0], target=sides[1])
    net = models.build(
        config.generator.arch,
        n_source + len(config.task.coordinates) + len(config.task.noise),
        n_out,
        **args,
    )
    if config.inverse is not None:
        generator_args(config.inverse, source=sides[1], target=sides[0])
    loop = config.training
    assert (loop.crop + 2 * loop.margin) % models.alignment(net) == 0
    assert loop.margin <= getattr(config.data.source, "margin", 0)


def test_configurations_are_shipped():
    assert {path.stem for path in SHIPPED} >= {
        "map2aerial",
        "aerial2map",
        "landcover2aerial",
        "pan2rgb",
        "spectral2natural",
        "spectral2natural_plain",
        "summer2winter",
    }


@pytest.mark.parametrize(
    ("method", "weights"),
    [
        ("pix2pix", {"gan": 1, "l1": 100}),
        ("cyclegan", {"gan": 1, "cycle": 10}),
        ("cut", {"gan": 1, "nce": 1, "nce_identity": 1}),
    ],
)
def test_each_method_has_weights_of_its_own(method, weights):
    config = toy_config(without=("loss",), training__method=method)
    assert config.loss.weights == weights
    again = validate_section(TrainConfig, resolve_config(config), where="again")
    assert again == config


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"loss": {"l1": 3}}, r"loss\.l1 is no loss of cyclegan, which has gan, cycle, identity"),
        ({"task__palette": True}, r"task\.palette needs pairs; cyclegan learns from pictures"),
        ({"augment": {"like_group": "2020"}}, "need pairs; cyclegan draws from two domains"),
        ({"training__method": "cut", "task__inverse": True}, "way back, which cut does not learn"),
        (
            {"training__method": "cyclegn"},
            r"training\.method: Input should be 'pix2pix', 'cyclegan'",
        ),
        (
            {"training__method": "pix2pix", "data": {"patch": 8, "unpaired": {"train": DOMAINS}}},
            r"pix2pix needs pairs to train; set training\.method to cyclegan",
        ),
    ],
)
def test_what_a_method_cannot_use_is_told(overrides, message):
    with pytest.raises(ConfigError, match=message):
        toy_config(without=("loss",), **{"training__method": "cyclegan", **overrides})
