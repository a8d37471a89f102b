"""`geotrans import-weights`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from geotrans.cli.main import run
from tests.helpers.reference import reference_net, save_reference

BANDS = ["--source-bands", "red,green,blue", "--target-bands", "red, green, blue"]


def test_a_bundle_is_made_and_said_what_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = save_reference(tmp_path / "latest_net_G_A.pth", reference_net("resnet_6blocks"))
    words = ["import-weights", str(weights), "--arch", "resnet_6blocks", *BANDS]
    assert run([*words, "--gsd", "0.5,1"]) == 0
    bundle = tmp_path / "latest_net_G_A.safetensors"
    assert capsys.readouterr().out == f"{bundle}\n"
    assert run(["inspect", str(bundle)]) == 0
    assert "0.5 to 1 m" in capsys.readouterr().out
    out = tmp_path / "other.safetensors"
    assert run([*words, "-o", str(out), "--name", "sat2map", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["bundle"] == str(out)
    assert (told["name"], told["norm"], told["halo"]) == ("sat2map", "instance", 60)


def test_bad_input_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    weights = save_reference(tmp_path / "net.pth", reference_net("resnet_6blocks"))
    torch.save(reference_net("resnet_6blocks"), tmp_path / "code.pth")
    (tmp_path / "damaged.pth").write_bytes(weights.read_bytes()[:-99])
    six = ["--arch", "resnet_6blocks"]
    cases = [
        ([str(tmp_path / "none.pth"), *six, *BANDS], 1, "there is no such file"),
        ([str(tmp_path / "code.pth"), *six, *BANDS], 1, "pickled code"),
        ([str(tmp_path / "damaged.pth"), *six, *BANDS], 1, "damaged"),
        ([str(weights), "--arch", "unet_256", *BANDS], 1, "they fit --arch resnet_6blocks"),
        ([str(weights), "--arch", "resnet", *BANDS], 2, "architecture 'resnet' is not known"),
        ([str(weights), *six, *BANDS[:2]], 2, "--target-bands"),
        ([str(weights), *six, *BANDS[:2], "--target-bands", "red"], 2, "writes 3 bands"),
        ([str(weights), *six, *BANDS, "--gsd", "1"], 2, "--gsd 1 is not two numbers"),
        ([str(weights), *six, *BANDS, "--norm", "layer"], 2, "--norm"),
    ]
    for words, code, told in cases:
        assert run(["import-weights", *words]) == code, words
        err = capsys.readouterr().err
        assert told in err, words
        assert len(err.splitlines()) == 1, err
    assert not list(tmp_path.glob("*.safetensors"))
