"""`geotrans export`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from geotrans.cli.main import run
from geotrans.translation.translate import translate
from tests.helpers.bundles import instance_bundle, random_bundle
from tests.helpers.scenes import write_scene

pytest.importorskip("onnxruntime")


@pytest.mark.slow
def test_the_parity_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = random_bundle(tmp_path / "random.safetensors")
    monkeypatch.chdir(tmp_path)
    assert run(["export", str(bundle)]) == 0
    parity, path = capsys.readouterr().out.splitlines()
    assert parity.startswith("onnxruntime and torch on 64 x 64, ")
    assert path == "random.onnx"
    assert (tmp_path / path).stat().st_size > 1000
    assert run(["export", str(bundle), "--to", "onnx", "-o", "other.onnx", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["path"] == "other.onnx"
    assert told["parity"]["largest"] < 1e-4
    assert run(["export", str(bundle)]) == 1
    assert "random.onnx exists" in capsys.readouterr().err


@pytest.mark.slow
def test_statistics_of_a_product_are_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import onnxruntime

    bundle = instance_bundle(tmp_path / "instance.safetensors")
    data = np.random.default_rng(0).integers(0, 255, (3, 96, 96)).astype("uint8")
    scene = write_scene(tmp_path / "scene.tif", shape=(96, 96), data=data, gsd_m=0.6)
    product = translate(scene, task=bundle, precision="float32").path
    out = tmp_path / "x.onnx"
    words = ["export", str(bundle), "-o", str(out)]
    assert run([*words, "--norm-stats", str(product)]) == 0
    usage = onnxruntime.InferenceSession(out).get_modelmeta().custom_metadata_map["geotrans.usage"]
    assert json.loads(usage)["norm_stats"] == "scene"
    capsys.readouterr()
    assert run([*words, "--overwrite", "--norm-stats", str(scene)]) == 2
    assert "holds no statistics of norms" in capsys.readouterr().err


def test_bad_input_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words, code, told in (
        (["nothing"], 2, "no task 'nothing'"),
        ([str(tmp_path / "none.safetensors")], 1, "does not exist"),
        (["map2aerial", "--to", "tflite"], 2, "--to"),
    ):
        assert run(["export", *words]) == code
        err = capsys.readouterr().err
        assert told in err
        assert len(err.splitlines()) == 1
