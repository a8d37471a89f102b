"""A product opens elsewhere with the values, grid, mask, names and colours it was written with."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import rasterio
from affine import Affine

from geotrans.cli.main import run
from geotrans.tasks import PaletteClass
from tests.helpers.bundles import identity_bundle, random_bundle
from tests.helpers.scenes import coded, write_scene

SHAPE = (70, 90)
BANDS = ("red", "green", "blue", "nir")
NAMES = ("water", "meadow", "street")
COLORS = ((20, 40, 200), (90, 210, 60), (68, 48, 65))

# What QGIS says of a raster, in the Python it brings along.
_QGIS = """
import json, sys
from qgis.core import QgsApplication, QgsRasterLayer

app = QgsApplication([], False)
app.initQgis()
layer = QgsRasterLayer(sys.argv[1], "product")
assert layer.isValid()
provider, extent = layer.dataProvider(), layer.extent()
width, height = layer.width(), layer.height()

def values(band):
    block = provider.block(band, extent, width, height)
    return [[block.value(row, col) for col in range(width)] for row in range(height)]

classes = getattr(layer.renderer(), "classes", list)()
print(json.dumps({
    "crs": layer.crs().authid(),
    "extent": [extent.xMinimum(), extent.yMaximum(), extent.xMaximum(), extent.yMinimum()],
    "bands": [layer.bandName(n + 1) for n in range(layer.bandCount())],
    "values": [values(n + 1) for n in range(layer.bandCount())],
    "classes": [[c.value, c.label, c.color.getRgb()[:3]] for c in classes],
}))
"""


@dataclass(frozen=True)
class Written:
    """A product, and what it must hold: values `(C, H, W)` and valid pixels `(H, W)`."""

    path: Path
    values: npt.NDArray[Any]
    valid: npt.NDArray[np.bool_]
    transform: Affine


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("readers")


@pytest.fixture(scope="module")
def picture(folder: Path) -> Written:
    """Four bands with a hole that a mask tells, through a task that changes nothing."""
    invalid = np.zeros(SHAPE, bool)
    invalid[20:40, 30:70] = True
    scene = write_scene(
        folder / "scene.tif", shape=SHAPE, gsd_m=0.6, bands=BANDS, mask=True, invalid=invalid
    )
    task = identity_bundle(folder / "same.safetensors", bands=BANDS)
    path = folder / "picture.tif"
    assert run(["translate", str(scene), "-t", str(task), "-o", str(path), "--no-preview"]) == 0
    with rasterio.open(scene) as file:
        return Written(path, coded(SHAPE, bands=4), ~invalid, file.transform)


@pytest.fixture(scope="module")
def classes(folder: Path) -> Written:
    """One band of classes, with names and colours."""
    palette = [PaletteClass(name=n, color=c) for n, c in zip(NAMES, COLORS, strict=True)]
    scene = write_scene(folder / "photograph.tif", shape=SHAPE, gsd_m=0.6)
    task = random_bundle(folder / "map.safetensors", palette=palette)
    path = folder / "classes.tif"
    words = ["-t", str(task), "--as", "classes", "-o", str(path), "--no-preview"]
    assert run(["translate", str(scene), *words]) == 0
    with rasterio.open(path) as file:
        values = file.read()
        assert set(np.unique(values)) <= {0, 1, 2}
        assert len(np.unique(values)) > 1, "something to tell apart"
    with rasterio.open(scene) as file:
        return Written(path, values, np.ones(SHAPE, bool), file.transform)


def _program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"no {name} here")
    return found


# rioxarray multiplies transforms by `*`, which affine 3 is about to deprecate.
@pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning")
def test_rioxarray_and_odc_geo(picture: Written, classes: Written) -> None:
    import odc.geo.xr  # noqa: F401  registers `.odc`
    import rioxarray
    from odc.geo.geobox import GeoBox

    grid = GeoBox(SHAPE, picture.transform, "EPSG:32611")
    for product, names in ((picture, BANDS), (classes, ("class",))):
        with rioxarray.open_rasterio(product.path) as array:
            assert np.array_equal(array.values[:, product.valid], product.values[:, product.valid])
            assert array.rio.crs == "EPSG:32611"
            assert array.rio.transform() == product.transform
            assert array.odc.geobox == grid
            assert np.atleast_1d(array.attrs["long_name"]).tolist() == list(names)
            assert array.attrs["GEOTRANS_SYNTHETIC"] == "YES"
    with rioxarray.open_rasterio(picture.path, masked=True) as array:
        assert np.array_equal(np.isfinite(array.values).all(axis=0), picture.valid)


@pytest.mark.slow
def test_gdalinfo(picture: Written, classes: Written) -> None:
    def told(path: Path) -> dict[str, Any]:
        words = [_program("gdalinfo"), "-json", str(path)]
        done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=60)
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    info = told(picture.path)
    assert info["size"] == [SHAPE[1], SHAPE[0]]
    assert info["geoTransform"] == pytest.approx(picture.transform.to_gdal(), abs=1e-9)
    assert [band["description"] for band in info["bands"]] == list(BANDS)
    assert all(band["mask"]["flags"] == ["PER_DATASET"] for band in info["bands"])
    assert info["metadata"][""]["GEOTRANS_SYNTHETIC"] == "YES"
    assert info["metadata"]["IMAGE_STRUCTURE"]["LAYOUT"] == "COG"
    (band,) = told(classes.path)["bands"]
    assert band["colorInterpretation"] == "Palette"
    assert [tuple(c[:3]) for c in band["colorTable"]["entries"][:3]] == list(COLORS)


@pytest.mark.slow
def test_gdalwarp(picture: Written, folder: Path) -> None:
    """Onto a grid cut by whole pixels: the same values, and the hole as opacity."""
    left, _, _, top = rasterio.transform.array_bounds(*SHAPE, picture.transform)
    x, y = left + 6, top - 6  # ten pixels in
    extent = [str(v) for v in (x, y - 24, x + 36, y)]
    out = folder / "warped.tif"
    subprocess.run(
        [
            _program("gdalwarp"), "-q", "-dstalpha", "-te", *extent, "-tr", "0.6", "0.6",
            picture.path, out,
        ],
        check=True, timeout=60,
    )  # fmt: skip
    with rasterio.open(out) as file:
        rows, cols = slice(10, 50), slice(10, 70)
        valid = picture.valid[rows, cols]
        assert file.crs == "EPSG:32611"
        *bands, opacity = file.read()
        assert np.array_equal(opacity > 0, valid)
        assert np.array_equal(np.array(bands)[:, valid], picture.values[:, rows, cols][:, valid])


@pytest.mark.slow
def test_qgis(picture: Written, classes: Written) -> None:
    python = next(
        (
            program
            for name in ("python3", "/usr/bin/python3")
            if (program := shutil.which(name))
            and subprocess.run(
                [program, "-c", "import qgis.core"], capture_output=True, check=False, timeout=60
            ).returncode
            == 0
        ),
        None,
    )
    if python is None:
        pytest.skip("no QGIS here")

    def told(path: Path) -> dict[str, Any]:
        done = subprocess.run(
            [python, "-c", _QGIS, str(path)], env={"QT_QPA_PLATFORM": "offscreen"},
            capture_output=True, text=True, check=True, timeout=120,
        )  # fmt: skip
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return found

    left, bottom, right, top = rasterio.transform.array_bounds(*SHAPE, picture.transform)
    for product in (picture, classes):
        seen = told(product.path)
        assert seen["crs"] == "EPSG:32611"
        assert seen["extent"] == pytest.approx([left, top, right, bottom], abs=1e-6)
        values = np.array(seen["values"])[: len(product.values)]
        assert np.array_equal(values[:, product.valid], product.values[:, product.valid])
        if product is picture:
            assert seen["bands"][:4] == [f"Band {n}: {b}" for n, b in enumerate(BANDS, start=1)]
            assert np.array_equal(np.array(seen["values"][4]) > 0, product.valid), "as opacity"
        else:
            assert seen["classes"][:3] == [
                [n, name, list(color)]
                for n, (name, color) in enumerate(zip(NAMES, COLORS, strict=True))
            ]
