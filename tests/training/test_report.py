import json
import re

import pytest
import yaml

from geotrans.errors import TrainingError
from geotrans.training import train
from geotrans.training.report import N_SHEETS, record_places, write_report
from tests.helpers.patches import BASE, toy_cache, toy_config, toy_data, toy_domains
from tests.helpers.runs import TrainingRun
from tests.html.test_page import check


@pytest.fixture
def config_file(tmp_path, make_scene):
    path = tmp_path / "toy.yaml"
    path.write_text(yaml.safe_dump(BASE | {"data": toy_data(tmp_path, make_scene)}))
    return path


def _captions(content):
    return re.findall(r"<figcaption>(.*?)</figcaption>", content)


def test_a_run_leaves_a_page_of_itself(config_file, tmp_path):
    out = tmp_path / "run"
    train(config_file, ["training.steps=6"], out=out, quiet=True)
    content = (out / "report.html").read_text()
    check(content)
    assert "<td>finished</td>" in content
    assert "6 of at most 6" in content
    told = " ".join(_captions(content))
    for name in ("gan", "critic", "l1", "contrast", "psnr", "ssim", "chroma", "patches per second"):
        assert re.search(rf"\b{name}, [\d.e-]+ at the end", told), name
    best = json.loads((out / "result.json").read_text())["step"]
    assert f"step {best}, exported" in told
    assert content.count("data:image/jpeg") == 3, "a sheet an evaluation"
    assert "train (3)" in told
    assert "val (2)" in told
    assert "data:\n  root:" in content, "the configuration, to the last key"


def test_a_run_that_was_interrupted_has_its_page_too(config_file, tmp_path, monkeypatch):
    from geotrans.training.pix2pix import Pix2Pix

    out, step = tmp_path / "run", Pix2Pix.step

    def tired(self, number, share):
        if number == 4:
            raise KeyboardInterrupt
        return step(self, number, share)

    monkeypatch.setattr(Pix2Pix, "step", tired)
    with pytest.raises(KeyboardInterrupt, match="goes on from step 4"):
        train(config_file, ["training.steps=6"], out=out, quiet=True)
    content = (out / "report.html").read_text()
    assert "not finished" in content
    assert "4 of at most 6" in content
    assert "exported" not in content
    monkeypatch.setattr(Pix2Pix, "step", step)
    train(config_file, ["training.steps=6"], out=out, quiet=True)
    content = (out / "report.html").read_text()
    assert "<td>finished</td>" in content
    assert "6 of at most 6" in content
    assert len((out / "timing.csv").read_text().splitlines()) == 4, "of both halves, once each"


def test_places_lie_where_they_are(tmp_path):
    cache = toy_cache(tmp_path / "cache", groups=("2018", "2020"))
    record_places(tmp_path, cache.manifest)
    found = json.loads((tmp_path / "places.geojson").read_text())["features"]
    # All of the toy's patches lie on one grid, so that one a split is left.
    assert [f["properties"]["split"] for f in found] == ["train", "val"]
    (lon, lat), *_ = found[0]["geometry"]["coordinates"][0]
    assert (lon, lat) == pytest.approx((-121.4887, 0.0), abs=1e-3)


def test_domains_have_places_of_their_own(tmp_path):
    record_places(tmp_path, toy_domains(tmp_path / "cache").manifest)
    found = json.loads((tmp_path / "places.geojson").read_text())["features"]
    assert [f["properties"]["split"] for f in found] == ["val", "train source", "train target"]


def test_a_run_of_long_ago_or_one_that_just_began_has_a_page(tmp_path):
    cache = toy_cache(tmp_path / "cache")
    TrainingRun(toy_config(training__steps=16), cache, tmp_path, quiet=True).run()
    (tmp_path / "timing.csv").unlink()
    content = write_report(tmp_path).read_text()
    check(content)
    assert f"{N_SHEETS} of 8" in content
    assert "holds no places.geojson" in content
    for name in ("losses.csv", "scores.csv"):
        (tmp_path / name).write_text("step,l1\n")
    check(write_report(tmp_path).read_text())


def test_a_folder_without_a_run_is_told(tmp_path):
    with pytest.raises(TrainingError, match="holds no training run"):
        write_report(tmp_path)
