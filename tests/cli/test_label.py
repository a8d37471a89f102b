import subprocess
import sys

import numpy as np
import pytest
import rasterio
from rasterio.enums import ColorInterp

from geotrans.cli.main import run
from geotrans.labelling.label import label
from tests.labelling.test_scene import RGBN, _photograph


@pytest.fixture
def photograph(make_scene):
    return make_scene(bands=RGBN, gsd_m=0.6, shape=(64, 80), data=_photograph((64, 80)))


def test_labels_lie_beside_the_photograph(photograph):
    command = [sys.executable, "-m", "geotrans", "label", str(photograph)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    out = photograph.with_name(f"{photograph.stem}_landcover.tif")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{out}\n", "")
    with rasterio.open(out) as labels, rasterio.open(photograph) as source:
        assert (labels.crs, labels.transform, labels.shape) == (
            source.crs, source.transform, source.shape,
        )  # fmt: skip
        assert labels.colorinterp == (ColorInterp.palette,)
    assert out.with_name(f"{out.name}.aux.xml").exists()


def test_bands_by_number_and_a_folder(photograph, make_scene, tmp_path, capsys):
    plain = make_scene(
        name="plain.tif", bands=4, gsd_m=0.6, shape=(64, 80), data=_photograph((64, 80))[::-1]
    )
    assert run(["label", str(plain)]) == 2
    assert "--bands" in capsys.readouterr().err
    (tmp_path / "out").mkdir()
    assert run(["label", str(plain), "--bands", "4,3,2,1", "-o", str(tmp_path / "out")]) == 0
    expected = label(photograph, tmp_path / "expected.tif")
    with rasterio.open(expected) as one, rasterio.open(tmp_path / "out/plain_landcover.tif") as two:
        np.testing.assert_array_equal(one.read(), two.read())


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["--recipe", "landuse"], 2, "no recipe 'landuse'"),
        (["--bands", "red=9,green=2,blue=3,nir=4"], 2, "asked for band 9"),
        (["--bbox", "0,0,1,1"], 2, "outside the scene"),
        (["--vectors", "none.gpkg"], 1, "none.gpkg"),
    ],
)
def test_what_cannot_be_meant(photograph, words, code, told, capsys):
    assert run(["label", str(photograph), *words]) == code
    captured = capsys.readouterr()
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1
    assert told in captured.err
    assert captured.out == ""
