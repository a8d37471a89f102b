"""Gains and offsets that make tiles agree."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
from hypothesis import given
from hypothesis import strategies as st

import geotrans
from geotrans.errors import UsageError
from geotrans.mosaicking.balance import Overlaps, _solve_least_squares, solve_balance
from tests.helpers.scenes import write_scene
from tests.helpers.thorough import examples

ORIGIN = (360_000.0, 3_770_000.0)
GSD = 10.0


def read(path: Path) -> np.ndarray:
    with rasterio.open(path) as file:
        data: np.ndarray = file.read()
        return data


@examples(40)
@given(n=st.integers(1, 12), n_pairs=st.integers(0, 30), seed=st.integers(0, 99))
def test_the_solution_is_that_of_dense_algebra(n, n_pairs, seed):
    rng = np.random.default_rng(seed)
    pairs = rng.integers(0, n, (n_pairs, 2))
    pairs = pairs[pairs[:, 0] != pairs[:, 1]]
    weights, differences = rng.uniform(1, 1000, len(pairs)), rng.normal(size=len(pairs))
    rows = np.zeros((len(pairs), n))
    np.add.at(rows, (np.arange(len(pairs)), pairs[:, 0]), 1)
    np.add.at(rows, (np.arange(len(pairs)), pairs[:, 1]), -1)
    root = np.sqrt(weights)
    expected = np.linalg.lstsq(rows * root[:, None], -differences * root, rcond=None)[0]
    found = _solve_least_squares(pairs, weights, differences, n)
    np.testing.assert_allclose(found, expected, atol=1e-8)


def test_a_group_is_as_bright_as_it_was_and_others_stay():
    tiles = np.array([[0, 1], [1, 2]])
    means = np.array([[[10.0], [20.0]], [[22.0], [40.0]]])
    spreads = np.array([[[1.0], [2.0]], [[2.0], [4.0]]])
    made = solve_balance(Overlaps(tiles, np.array([5.0, 5.0]), means, spreads), 4)
    assert np.log(made.gains[:3]).sum() == pytest.approx(0)
    np.testing.assert_allclose(made.gains[:3, 0], [2, 1, 0.5])
    seen = made.gains[tiles] * means + made.offsets[tiles]
    np.testing.assert_allclose(seen[:, 0], seen[:, 1])
    own = np.array([10, 21, 40])
    assert (made.gains[:3, 0] * own + made.offsets[:3, 0]).mean() == pytest.approx(own.mean())
    assert (made.gains[3, 0], made.offsets[3, 0]) == (1, 0)


def test_flat_overlaps_say_nothing_of_gains():
    means, spreads = np.array([[[10.0], [20.0]]]), np.zeros((1, 2, 1))
    made = solve_balance(Overlaps(np.array([[0, 1]]), np.ones(1), means, spreads), 2)
    np.testing.assert_array_equal(made.gains, 1)
    np.testing.assert_allclose(made.offsets[:, 0], [5, -5])


@pytest.fixture
def uneven(tmp_path: Path) -> tuple[list[Path], np.ndarray]:
    """Tiles of one scene, each exposed otherwise, and the scene."""
    rng = np.random.default_rng(2)
    scene = rng.normal(100, 20, (2, 90, 90)).astype(np.float32)
    paths = []
    for number, (row, col) in enumerate([(0, 0), (0, 40), (40, 0), (40, 40)]):
        gain, offset = rng.uniform(0.7, 1.4, (2, 1, 1)), rng.uniform(-30, 30, (2, 1, 1))
        data = (scene[:, row : row + 50, col : col + 50] * gain + offset).astype(np.float32)
        paths.append(
            write_scene(
                tmp_path / f"{number}.tif", shape=(50, 50), bands=2, dtype="float32", data=data,
                origin=(ORIGIN[0] + col * GSD, ORIGIN[1] - row * GSD),
            )
        )  # fmt: skip
    return paths, scene


def test_tiles_agree_afterwards(uneven, tmp_path):
    paths, scene = uneven
    made = {}
    for blend in ("min", "max"):
        out = tmp_path / f"{blend}.tif"
        made[blend] = read(geotrans.mosaic(paths, out=out, blend=blend, balance=True).path)
    np.testing.assert_allclose(made["min"], made["max"], rtol=1e-4)
    for band, original in zip(made["min"], scene, strict=True):
        assert np.corrcoef(band.ravel(), original.ravel())[0, 1] > 1 - 1e-6


def test_tiles_that_agree_stay_as_they_are(tmp_path):
    scene = np.random.default_rng(3).integers(1, 255, (3, 60, 60)).astype(np.uint8)
    paths = [
        write_scene(
            tmp_path / f"{col}.tif", shape=(60, 40), data=scene[:, :, col : col + 40], nodata=0,
            origin=(ORIGIN[0] + col * GSD, ORIGIN[1]),
        )
        for col in (0, 20)
    ]  # fmt: skip
    made = geotrans.mosaic(paths, out=tmp_path / "out.tif", balance=True, seamline=True)
    np.testing.assert_array_equal(read(made.path), scene)


def test_classes_have_no_brightness(tmp_path):
    path = write_scene(tmp_path / "a.tif", bands=1, colormap={0: (1, 2, 3, 255)})
    with pytest.raises(UsageError, match="classes, which have no brightness; leave out balance"):
        geotrans.mosaic(path, out=tmp_path / "out.tif", balance=True)


@pytest.mark.slow
@pytest.mark.realdata
def test_two_landsat_scenes_of_which_one_is_hazy(data_dir, tmp_path):
    clear, other = sorted(data_dir.glob("multispectral/train/landsat8_itaipu_*.tif"))
    hazy = tmp_path / "hazy.tif"
    with rasterio.open(other) as file:
        data = file.read()
        veiled = np.where(data > 0, data * 0.7 + 60, 0).astype(data.dtype)
        with rasterio.open(hazy, "w", **file.profile) as out:
            out.write(veiled)

    def mismatch(*, balance: bool) -> float:
        made = [
            read(
                geotrans.mosaic(
                    [clear, hazy], out=tmp_path / "out.tif", blend=b, balance=balance,
                    overwrite=True,
                ).path
            ).astype(int)
            for b in ("min", "max")
        ]  # fmt: skip
        return float((made[1] - made[0]).sum())

    assert mismatch(balance=True) < 0.1 * mismatch(balance=False)
