import json
import subprocess
import sys

import numpy as np
import pytest
import yaml

from geotrans.cli.main import run
from geotrans.sampling.cache import PatchCache
from tests.helpers.scenes import coded

ORIGIN = (400_000.0, 3_800_000.0)


@pytest.fixture
def config(tmp_path, make_scene):
    """Pairs of near infrared and colour from one file, in two places."""
    for split, east in (("train", 0), ("val", 5000)):
        (tmp_path / split).mkdir()
        make_scene(
            name=f"{split}/{split}_1.tif",
            bands=("red", "green", "blue", "nir"),
            shape=(20, 24),
            origin=(ORIGIN[0] + east, ORIGIN[1]),
        )
    path = tmp_path / "pairs.yaml"
    data = {
        "root": str(tmp_path),
        "splits": {"train": "train", "val": "val"},
        "source": {"bands": ["nir"]},
        "target": {"bands": ["red", "green", "blue"]},
    }
    path.write_text(yaml.safe_dump({"data": data, "training": {"steps": 1}}))
    return path


def test_a_cache_is_cut(config, tmp_path, capsys):
    out = tmp_path / "cache"
    assert run(["tile", str(config), "-o", str(out)]) == 0
    captured = capsys.readouterr()
    assert captured.out == f"train: 1 patches of 1 places\nval: 1 patches of 1 places\n{out}\n"
    assert captured.err == ""
    patches = PatchCache.open(out).load("val")
    np.testing.assert_array_equal(patches.source[0], coded((20, 24), bands=4)[[3]])
    np.testing.assert_array_equal(patches.target[0], coded((20, 24), bands=4)[:3])


def test_overrides_and_json(config, tmp_path, capsys):
    out = tmp_path / "cache"
    command = ["tile", str(config), "data.patch=8", "data.stride=4", "-o", str(out), "--json"]
    assert run(command) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["path"] == str(out)
    assert len(told["splits"]["train"]) == 4 * 5
    assert told["config"]["patch"] == 8


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["data.pach=8"], 2, "data.pach: unknown key; did you mean 'patch'?"),
        (["data.patch=0"], 2, "data.patch: Input should be greater than or equal to 1"),
        (["data.source.bands=[swir]"], 2, "data.source.bands asks for swir; train_1 has"),
        (["data.splits.val=train"], 1, "place 'train_1' lies in the splits 'train' and 'val'"),
        (["data.splits.val=none"], 1, "none holds not a file"),
        (["data.root=/nowhere"], 1, "data root /nowhere (data.root) is no folder"),
    ],
)
def test_what_cannot_be_cut_ends_in_one_line(config, tmp_path, capsys, words, code, message):
    out = tmp_path / "cache"
    assert run(["tile", str(config), *words, "-o", str(out)]) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ")
    assert message in captured.err
    assert captured.err.count("\n") == 1
    assert not out.exists()


def test_a_scene_and_a_configuration_take_other_words(make_scene, tmp_path, capsys):
    out = ["-o", str(tmp_path / "out")]
    assert run(["tile", str(make_scene()), *out, "data.patch=3"]) == 2
    assert "only a configuration takes KEY=VALUE" in capsys.readouterr().err
    assert run(["tile", "a.yaml", *out, "--tile", "8", "--pad"]) == 2
    assert "is a configuration, which says all that is to know; leave" in capsys.readouterr().err


def test_a_cache_is_replaced_only_when_asked(config, tmp_path, capsys):
    out = tmp_path / "cache"
    command = ["tile", str(config), "-o", str(out)]
    assert run(command) == 0
    assert run(command) == 1
    assert "already holds a patch cache; add --overwrite" in capsys.readouterr().err
    assert run([*command, "--overwrite", "data.patch=4"]) == 0
    assert len(PatchCache.open(out).load("train")) == 5 * 6
    assert run(["tile", str(config), "-o", str(tmp_path / "no" / "cache")]) == 1
    assert "does not exist; make it first" in capsys.readouterr().err
    assert run(["tile", str(config), "-o", str(tmp_path / "train"), "--overwrite"]) == 1
    assert "exists and is no patch cache" in capsys.readouterr().err
    assert (tmp_path / "train" / "train_1.tif").exists()


def test_a_cache_is_read_without_gdal_and_torchgeo(config, tmp_path):
    out = tmp_path / "cache"
    assert run(["tile", str(config), "-o", str(out)]) == 0
    script = (
        "import sys\n"
        "from geotrans.sampling.cache import PatchCache\n"
        f"print(PatchCache.open({str(out)!r}).load('train').source.shape)\n"
        "print(sorted({'torchgeo', 'rasterio', 'torch', 'geopandas'} & set(sys.modules)))\n"
    )
    command = [sys.executable, "-c", script]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert told == "(1, 1, 20, 24)\n[]\n"
