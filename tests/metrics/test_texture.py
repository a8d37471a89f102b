from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from geotrans.errors import UsageError
from geotrans.metrics.texture import autocorrelation, contrast, repetition
from tests.metrics.conftest import one_over_f, read_chips


def tiled(rng: np.random.Generator, period: int, *, size: int = 256) -> np.ndarray:
    motif = one_over_f(rng, 2, size=64)[:, :, :period, :period]
    copies = -(-size // period)
    return np.tile(motif, (1, 1, copies, copies))[:, :, :size, :size]


def test_contrast_is_the_spread_of_the_luma() -> None:
    images = np.zeros((2, 3, 8, 8), np.uint8)
    images[0, :, :, ::2] = 100
    assert contrast(images) == pytest.approx([50, 0])
    valid = np.zeros((2, 8, 8), bool)
    valid[0, :, ::2] = True
    assert contrast(images, valid=valid) == pytest.approx([0, np.nan], nan_ok=True)


@pytest.mark.parametrize("period", [8, 16, 32, 50, 64])
def test_wallpaper_is_caught(period: int, rng: np.random.Generator) -> None:
    assert (repetition(tiled(rng, period)) > 0.95).all()


@pytest.mark.parametrize("slope", [0, 0.5, 1, 1.5])
def test_natural_texture_is_not(slope: float, rng: np.random.Generator) -> None:
    assert (repetition(one_over_f(rng, 4, slope=slope)) < 0.3).all()


def test_a_pattern_under_other_texture_is_caught(rng: np.random.Generator) -> None:
    texture, pattern = one_over_f(rng, 2, slope=1), tiled(rng, 32)
    mixed = (texture / 2 + pattern / 2).astype(np.uint8)
    assert (repetition(mixed) > 2 * repetition(texture)).all()
    assert (repetition(mixed) > 0.4).all()


def test_checkerboard_of_a_network_is_caught(rng: np.random.Generator) -> None:
    board = np.indices((256, 256)).sum(0) % 2 * 20
    assert (repetition((one_over_f(rng, 2, slope=2) // 4 + board).astype(np.uint8)) > 0.3).all()


def test_a_line_is_not_a_pattern(rng: np.random.Generator) -> None:
    street = one_over_f(rng, 2, slope=1)
    street[:, :, :, 120:140] = 230
    assert (repetition(street) < 0.3).all()


def test_one_grey_repeats_nothing() -> None:
    assert repetition(np.full((1, 3, 64, 64), 77, np.uint8)).tolist() == [0]


def test_autocorrelation_is_symmetric_and_1_at_0(rng: np.random.Generator) -> None:
    plane = autocorrelation(
        one_over_f(rng, 1, size=65)[0, 0].astype(float), np.ones((65, 65), bool)
    )
    assert plane.shape == (65, 65)
    assert plane[32, 32] == pytest.approx(1)
    np.testing.assert_allclose(plane, plane[::-1, ::-1], atol=1e-12)


def test_autocorrelation_by_its_definition(rng: np.random.Generator) -> None:
    from geotrans.metrics.texture import _blur

    grey, valid = rng.random((70, 64)) * 100, np.ones((70, 64), bool)
    rest = grey - _blur(grey)
    rest -= rest.mean()
    expected = (rest[5:, 3:] * rest[:-5, :-3]).mean() / rest.var()
    assert autocorrelation(grey, valid)[35 + 5, 32 + 3] == pytest.approx(expected)


def test_edges_of_valid_pixels_are_no_pattern(rng: np.random.Generator) -> None:
    images = one_over_f(rng, 2)
    valid = np.ones((2, 256, 256), bool)
    valid[:, 100:140, 50:200] = False
    garbled = images.copy()
    garbled[:, :, ~valid[0]] = 255
    found = repetition(garbled, valid=valid)
    np.testing.assert_allclose(found, repetition(images, valid=valid))
    assert (found < 0.3).all()


def test_no_valid_pixel_no_score() -> None:
    images = np.zeros((1, 3, 64, 64), np.uint8)
    assert np.isnan(repetition(images, valid=np.zeros((1, 64, 64), bool))).all()


def test_too_small_to_tell() -> None:
    with pytest.raises(UsageError, match="at least 64 px"):
        repetition(np.zeros((1, 3, 63, 200), np.uint8))


@pytest.mark.slow
@pytest.mark.realdata
def test_real_chips(data_dir: Path, rng: np.random.Generator) -> None:
    chips, _ = read_chips(data_dir / "santa_monica" / "aerial" / "val", "*_2020_*.tif")
    real = repetition(chips[:, :3])
    assert real.max() < 0.3
    assert contrast(chips[:, :3]).mean() == pytest.approx(36.2, abs=0.1)  # METHODS section 7
    wallpaper = np.tile(chips[:, :3, 96:128, 96:128], (1, 1, 8, 8))
    assert (repetition(wallpaper) > 3 * real.mean()).all()
