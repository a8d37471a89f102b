import json

import numpy as np
import pytest
import rasterio
import shapely
import yaml

from geotrans.errors import ConfigError, OutputError, SamplingError
from geotrans.grid import Window
from geotrans.inference import Translator
from geotrans.tasks import open_bundle
from geotrans.training import load_config, train
from geotrans.training.run import _command
from tests.helpers.patches import BASE, toy_config, toy_data
from tests.helpers.vectors import write_vectors


@pytest.fixture
def config_file(tmp_path, make_scene):
    path = tmp_path / "toy.yaml"
    path.write_text(yaml.safe_dump(BASE | {"data": toy_data(tmp_path, make_scene)}))
    return path


def test_a_run_leaves_everything_in_its_folder(config_file, tmp_path):
    out = tmp_path / "runs" / "toy"
    trained = train(config_file, ["training.steps=2", "training.seed=3"], out=out, quiet=True)
    assert {p.name for p in out.iterdir()} == {
        "checkpoint.pt", "config.yaml", "losses.csv", "machine.json", "places.geojson",
        "report.html", "result.json", "scores.csv", "sheets", "tensorboard", "timing.csv",
        "toy.safetensors",
    }  # fmt: skip
    assert trained.bundle == out / "toy.safetensors"
    result = json.loads((out / "result.json").read_text())
    assert result["scores"] == trained.scores
    assert (result["bundle"], result["step"], result["steps"]) == ("toy.safetensors", 2, 2)
    assert load_config(out / "config.yaml").training.seed == 3
    spec = open_bundle(trained.bundle).spec
    assert [band.name for band in spec.source] == ["nir"]
    assert [band.common_name for band in spec.target] == ["red", "green", "blue"]
    assert spec.gsd_m == pytest.approx((0.6 / 1.25, 0.6 * 1.25), rel=0.01)
    assert spec.metrics["l1"].better == "lower"
    assert spec.reproduce == "geotrans train toy.yaml training.steps=2 training.seed=3"
    assert str(tmp_path) not in spec.model_dump_json()


def test_the_same_call_goes_on_and_another_folder_starts_anew(config_file, tmp_path):
    out = tmp_path / "run"
    first = train(config_file, ["training.steps=2"], out=out, quiet=True)
    longer = train(config_file, ["training.steps=4"], out=out, quiet=True)
    assert (first.steps, longer.steps) == (2, 4)
    with pytest.raises(OutputError, match="holds a checkpoint; leave out --new to go on from it"):
        train(config_file, out=out, resume=False)
    with pytest.raises(ConfigError, match=r"training\.seed = 0, this run has 1"):
        train(config_file, ["training.seed=1"], out=out)
    assert load_config(out / "config.yaml").training.seed == 0


def test_a_map_is_learned_from_rasters_and_vectors(tmp_path, make_scene):
    data = toy_data(tmp_path, make_scene)
    left, top = 400_000.0, 3_800_000.0
    street = shapely.LineString([(left - 50, top - 15), (left + 5000, top - 15)])
    write_vectors(tmp_path / "streets.gpkg", [(street, {"kind": "road"})])
    style = {
        "name": "town",
        "background": "yard",
        "classes": [
            {"name": "yard", "color": [30, 160, 60]},
            {"name": "road", "color": [250, 250, 250]},
        ],
        "layers": [{"class": "road", "width_m": 8.0}],
    }
    (tmp_path / "town.yaml").write_text(yaml.safe_dump(style))
    drawn = {"vectors": "streets.gpkg", "style": str(tmp_path / "town.yaml")}
    config = toy_config(
        data=data | {"source": {"bands": ["red", "green", "blue"]}, "target": drawn},
        task__palette=True,
        task__iou_groups={"road": ["road"]},
        loss={"gan": 0, "l1": 0, "cross_entropy": 1, "jaccard": 0.5},
        training__select="road_iou:max",
        training__steps=2,
    )
    trained = train(config, out=tmp_path / "run", quiet=True)
    assert set(trained.scores) == {"accuracy", "within_16", "mean_iou", "road_iou"}
    bundle = open_bundle(trained.bundle)
    assert [c.name for c in bundle.spec.palette] == ["yard", "road"]
    assert bundle.spec.style["name"] == "town"
    with rasterio.open(tmp_path / "val" / "town_3.tif") as file:
        seen = file.read([1, 2, 3])
    window = Window(0, 0, 48, 48)
    classes = Translator(bundle, device="cpu", as_="classes")(seen, window=window, anchor=(0, 0))
    assert classes.shape == (1, 48, 48)
    assert set(np.unique(classes)) <= {0, 1}


def test_without_a_held_out_split_nothing_begins(config_file, tmp_path):
    with pytest.raises(SamplingError, match=r"needs the splits train and val; .* add val to data"):
        train(config_file, ["data.splits={train: train}"], out=tmp_path / "run")
    assert not (tmp_path / "run" / "checkpoint.pt").exists()


def test_a_folder_that_cannot_be_written_is_told_first(config_file, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write to"):
        train(config_file, out=tmp_path / "file" / "run")
    assert not (tmp_path / "cache").exists()


def test_overrides_go_with_a_file():
    with pytest.raises(ConfigError, match="overrides go with a file"):
        train(toy_config(), ["training.steps=2"])


def test_the_command_to_repeat_names_no_folder_of_this_machine():
    words = ["data.cache=/home/me/x", "training.steps=3", "augment.critic=[color, cutout]"]
    told = _command("toy.yaml", words)
    assert told == "geotrans train toy.yaml training.steps=3 'augment.critic=[color, cutout]'"
