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
from geotrans.training.run import _format_command
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
    with pytest.raises(OutputError, match="holds a checkpoint, and a new run is asked for; go on"):
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
    told = _format_command("toy.yaml", words)
    assert told == "geotrans train toy.yaml training.steps=3 'augment.critic=[color, cutout]'"


MEMBERS = [{}, {"training": {"seed": 1, "steps": 3}, "loss": {"l1": 20}}]


@pytest.fixture
def of_two(config_file):
    content = yaml.safe_load(config_file.read_text())
    config_file.write_text(yaml.safe_dump(content | {"members": MEMBERS}))
    return config_file


def _translated(bundle):
    data = np.random.default_rng(3).integers(0, 256, (1, 48, 48), np.uint8)
    return Translator(bundle, device="cpu")(data, window=Window(0, 0, 48, 48), anchor=(0, 0))


def test_members_are_trained_apart_and_averaged(of_two, tmp_path):
    out = tmp_path / "run"
    trained = train(of_two, ["training.steps=2"], out=out, quiet=True)
    assert {p.name for p in out.iterdir()} == {
        "config.yaml", "machine.json", "member_1", "member_2", "places.geojson", "report.html",
        "result.json", "sheets", "toy.safetensors",
    }  # fmt: skip
    configs = [load_config(out / f"member_{i}" / "config.yaml") for i in (1, 2)]
    assert [(c.training.seed, c.training.steps, c.loss.l1) for c in configs] == [
        (0, 2, 10.0),
        (1, 3, 20.0),
    ]
    assert (trained.step, trained.steps) == (5, 5)
    assert (out / "sheets" / "step_0000005.png").is_file()
    result = json.loads((out / "result.json").read_text())
    assert result["scores"] == trained.scores
    bundle = open_bundle(trained.bundle)
    assert bundle.spec.metrics["l1"].value == pytest.approx(trained.scores["l1"], abs=1e-4)
    assert bundle.spec.reproduce == "geotrans train toy.yaml training.steps=2"
    assert len(bundle.spec.training["members"]) == 2
    made, *apart = (
        _translated(open_bundle(path)).astype(float)
        for path in (trained.bundle, *(out / f"member_{i}" / "toy.safetensors" for i in (1, 2)))
    )
    assert np.abs(apart[0] - apart[1]).max() > 1
    assert np.abs(made - (apart[0] + apart[1]) / 2).max() <= 1
    page = (out / "report.html").read_text()
    assert "2 trainings, one after the other" in page
    assert all(f"<td>{row}</td>" in page for row in ("member_1", "member_2", "mean"))


def test_the_mean_scores_what_its_pictures_do(of_two, tmp_path):
    trained = train(of_two, ["training.steps=2"], out=tmp_path / "run", quiet=True)
    other = train(trained.folder / "config.yaml", out=tmp_path / "again", quiet=True)
    assert other.scores == trained.scores
    members = [
        json.loads((trained.folder / f"member_{i}" / "result.json").read_text())["scores"]
        for i in (1, 2)
    ]
    # Of a mean, the mean absolute difference is at most the mean of the members'.
    assert trained.scores["l1"] <= np.mean([m["l1"] for m in members]) + 1e-3
    assert trained.scores["l1"] not in [m["l1"] for m in members]


@pytest.mark.slow
def test_members_go_on_where_they_were_stopped(of_two, tmp_path, monkeypatch):
    from geotrans.training.pix2pix import Pix2Pix

    whole = train(of_two, out=tmp_path / "whole", quiet=True)
    out, step, taken = tmp_path / "run", Pix2Pix.step, []

    def tired(self, number, share):
        taken.append((self.settings.seed, number))
        if taken[-1] == (1, 2):
            raise KeyboardInterrupt
        return step(self, number, share)

    monkeypatch.setattr(Pix2Pix, "step", tired)
    with pytest.raises(KeyboardInterrupt, match="goes on from step 2"):
        train(of_two, out=out, quiet=True)
    page = (out / "report.html").read_text()
    assert "not finished" in page
    assert not (out / "toy.safetensors").exists()
    taken.clear()
    monkeypatch.setattr(Pix2Pix, "step", lambda *args: (taken.append(args[1]), step(*args))[1])
    resumed = train(of_two, out=out, quiet=True)
    assert taken == [2], "the first member and the first two steps of the second are there"
    assert resumed.scores == whole.scores
    with pytest.raises(OutputError, match="member_1 holds a checkpoint, and a new run"):
        train(of_two, out=out, resume=False, quiet=True)
