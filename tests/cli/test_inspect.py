import json

import pytest

from geotrans.cli.main import run
from tests.helpers.bundles import identity_bundle


@pytest.fixture
def same_bundle(tmp_path):
    return identity_bundle(tmp_path / "same.safetensors", title="Nothing changes", limits="Many.")


def test_a_bundle_shows_its_card(same_bundle, capsys):
    assert run(["inspect", str(same_bundle)]) == 0
    told = capsys.readouterr().out
    assert told.startswith("# same\n")
    assert "Nothing changes" in told
    assert "Many." in told


def test_a_shipped_task_is_found_by_name(capsys):
    assert run(["inspect", "map2aerial", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["name"] == "map2aerial"
    assert facts["n_parameters"] > 100_000
    assert len(facts["sha256"]) == 64


def test_a_product_tells_how_it_was_made(same_bundle, make_scene, tmp_path, capsys):
    scene = make_scene(name="scene.tif", bands=("red", "green", "blue"), shape=(20, 30))
    out = tmp_path / "product.tif"
    words = ["translate", str(scene), "--task", str(same_bundle), "-o", str(out), "--seed", "3"]
    assert run(words) == 0
    capsys.readouterr()
    assert run(["inspect", str(out), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["synthetic"] == "YES"
    assert facts["task"] == "same"
    assert facts["params"]["seed"] == 3
    assert (facts["width"], facts["height"]) == (30, 20)
    assert run(["inspect", str(out)]) == 0
    assert "weights_sha256" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("make", "code", "message"),
    [
        (lambda p: None, 1, "there is no such file"),
        (lambda p: p.mkdir(), 1, "it is a folder"),
        (lambda p: p.write_bytes(b""), 1, "neither a bundle"),
        (lambda p: p.write_bytes(b"nonsense" * 99), 1, "neither a bundle"),
    ],
)
def test_anything_else_is_refused_in_one_line(make, code, message, tmp_path, capsys):
    path = tmp_path / "thing"
    make(path)
    assert run(["inspect", str(path)]) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert message in captured.err


def test_a_raster_that_is_no_product_is_refused(make_scene, capsys):
    scene = make_scene(name="scene.tif", shape=(20, 30))
    assert run(["inspect", str(scene)]) == 1
    assert "nor a product" in capsys.readouterr().err


def test_a_damaged_bundle_says_what_is_wrong_with_it(same_bundle, capsys):
    same_bundle.write_bytes(same_bundle.read_bytes()[:-1])
    assert run(["inspect", str(same_bundle)]) == 1
    assert "bytes" in capsys.readouterr().err
