import csv
import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest
import yaml
from safetensors.numpy import load_file

from geotrans.cli.main import run
from geotrans.tasks import read_spec
from tests.helpers.patches import BASE, toy_data


@pytest.fixture
def config(tmp_path, make_scene):
    path = tmp_path / "toy.yaml"
    path.write_text(yaml.safe_dump(BASE | {"data": toy_data(tmp_path, make_scene)}))
    return path


def _command(*words):
    return [sys.executable, "-m", "geotrans", "train", *map(str, words)]


def _train(*words):
    return subprocess.run(_command(*words), capture_output=True, text=True, check=False)


def _losses(folder):
    with (folder / "losses.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def _assert_same_weights(one, other):
    a, b = load_file(one), load_file(other)
    assert a.keys() == b.keys()
    assert all((a[key] == b[key]).all() for key in a)


def test_a_run_prints_scores_and_the_bundle(config, tmp_path, capsys):
    out = tmp_path / "runs" / "toy"
    assert run(["train", str(config), "training.steps=3", "-o", str(out)]) == 0
    told = capsys.readouterr()
    *scores, bundle = told.out.splitlines()
    assert bundle == str(out / "toy.safetensors")
    names = ["l1", "contrast", "psnr", "ssim", "sam", "chroma"]
    assert [line.split()[0] for line in scores] == names
    assert "\r" not in told.err
    assert "Traceback" not in told.err
    assert read_spec(bundle).name == "toy"
    assert [row["step"] for row in _losses(out)] == ["2", "3"]
    assert (out / "config.yaml").is_file()
    assert json.loads((out / "result.json").read_text())["steps"] == 3
    assert len(list((out / "sheets").glob("*.png"))) == 2


def test_json_for_programs(config, tmp_path, capsys):
    out = tmp_path / "run"
    assert run(["train", str(config), "training.steps=1", "-o", str(out), "--json", "-q"]) == 0
    captured = capsys.readouterr()
    told = json.loads(captured.out)
    assert told["bundle"] == str(out / "toy.safetensors")
    assert (told["step"], told["steps"]) == (1, 1)
    assert captured.err == ""


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (
            ["training.max_minute=3"],
            2,
            r"training.max_minute: unknown key; did you mean",
        ),
        (["training.steps"], 2, "has no '='"),
        (["loss={gan: 0, l1: 0}"], 2, "every loss has weight 0"),
        (["data.splits={train: train}"], 1, "needs the splits train and val"),
        (["training.select=road_iou:max"], 2, "this run has l1, contrast"),
        (["training.crop=64"], 1, "training.crop is 64 px, but patches are 48 x 48 px"),
        (["training.accelerator=mps"], 1, "training.accelerator 'mps'"),
    ],
)
def test_what_cannot_be_trained_ends_in_one_line(config, tmp_path, capsys, words, code, message):
    out = tmp_path / "run"
    assert run(["train", str(config), *words, "-o", str(out), "-q"]) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ")
    assert message in captured.err
    assert captured.err.count("\n") == 1
    assert not (out / "toy.safetensors").exists()


def test_a_new_run_leaves_an_old_one_alone(config, tmp_path, capsys):
    command = ["train", str(config), "training.steps=1", "-o", str(tmp_path / "run"), "-q"]
    assert run(command) == 0
    assert run([*command, "--new"]) == 1
    assert "holds a checkpoint, and a new run is asked for" in capsys.readouterr().err


_PAIRED: list[str] = []
_UNPAIRED = ["loss={}", "data.source.bands=[nir, red, green]", "training.pool=3"]


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "method",
    [
        _PAIRED,
        [*_UNPAIRED, "training.method=cyclegan"],
        [*_UNPAIRED, "training.method=cut", "contrast.patches=8"],
    ],
    ids=["pix2pix", "cyclegan", "cut"],
)
def test_killed_and_repeated_equals_unbroken(config, tmp_path, method):
    words = (config, "training.steps=60", "training.evaluate_every=5", *method)
    unbroken, killed = tmp_path / "unbroken", tmp_path / "killed"
    assert _train(*words, "-o", unbroken).returncode == 0
    process = subprocess.Popen(_command(*words, "-o", killed), stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not (killed / "checkpoint.pt").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.1)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not (killed / "toy.safetensors").exists()
    again = _train(*words, "-o", killed)
    assert again.returncode == 0, again.stderr
    _assert_same_weights(killed / "toy.safetensors", unbroken / "toy.safetensors")
    assert _losses(killed) == _losses(unbroken)
    assert not list(killed.glob(".*"))


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "method",
    [
        ["loss.feature=1"],
        [*_UNPAIRED, "training.method=cyclegan"],
        [*_UNPAIRED, "training.method=cut", "contrast.patches=8"],
    ],
    ids=["pix2pix", "cyclegan", "cut"],
)
def test_two_devices_train_one_network(config, tmp_path, method):
    out = tmp_path / "run"
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    words = ["training.devices=2", "training.steps=6", "augment.critic=[color]", *method]
    told = subprocess.run(
        _command(config, *words, "-o", out, "-v"),
        capture_output=True, text=True, check=False, env=environment,
    )  # fmt: skip
    assert told.returncode == 0, told.stderr
    assert told.stdout.splitlines()[-1] == str(out / "toy.safetensors")
    assert told.stdout.count("toy.safetensors") == 1
    assert [row["step"] for row in _losses(out)] == ["2", "4", "6"]
    assert len(re.findall(r"step 6:", told.stderr)) == 1
