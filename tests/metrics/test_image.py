from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from geotrans.errors import UsageError
from geotrans.metrics.checks import compute_luma
from geotrans.metrics.image import chroma_error, pooled_psnr, psnr, rgb_to_lab, ssim
from geotrans.metrics.spectral import ergas, sam
from tests.metrics.conftest import one_over_f, read_chips


def pair(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    target = one_over_f(rng, 3, size=64)
    noise = rng.integers(-20, 21, target.shape)
    return np.clip(target + noise, 0, 255).astype(np.uint8), target


ALL = [psnr, ssim, chroma_error, sam, ergas]


def test_psnr_by_its_formula(rng: np.random.Generator) -> None:
    images, target = pair(rng)
    mse = ((images.astype(float) - target) ** 2).mean((1, 2, 3))
    found = psnr(images, target)
    np.testing.assert_allclose(found, 10 * np.log10(255**2 / mse))
    assert pooled_psnr(found) == pytest.approx(10 * np.log10(255**2 / mse.mean()))
    assert np.isposinf(psnr(target, target)).all()


def test_equal_images_are_perfect(rng: np.random.Generator) -> None:
    _, target = pair(rng)
    np.testing.assert_allclose(ssim(target, target), 1)
    for metric in (chroma_error, sam, ergas):
        np.testing.assert_allclose(metric(target, target), 0, atol=1e-5)


@pytest.mark.parametrize("metric", ALL)
def test_what_lies_in_invalid_pixels_does_not_count(metric, rng: np.random.Generator) -> None:
    images, target = pair(rng)
    valid = np.ones((3, 64, 64), bool)
    valid[:, 20:30, 40:] = False
    expected = metric(images, target, valid=valid)
    other = images.copy()
    other[:, :, 20:30, 40:] = 255 - other[:, :, 20:30, 40:]
    np.testing.assert_array_equal(metric(other, target, valid=valid), expected)
    assert not np.allclose(metric(other, target), metric(images, target))


@pytest.mark.parametrize("metric", [psnr, ssim, sam, ergas])
def test_nan_in_invalid_pixels_is_harmless(metric, rng: np.random.Generator) -> None:
    images, target = (side.astype(np.float32) for side in pair(rng))
    images[:, :, :5, :5] = target[:, :, :5, :5] = np.nan
    valid = np.isfinite(images[:, 0])
    assert np.isfinite(metric(images, target, valid=valid)).all()


@pytest.mark.parametrize("metric", ALL)
def test_no_valid_pixel_no_score(metric, rng: np.random.Generator) -> None:
    images, target = pair(rng)
    valid = np.ones((3, 64, 64), bool)
    valid[1] = False
    assert np.isnan(metric(images, target, valid=valid)).tolist() == [False, True, False]


@pytest.mark.parametrize("metric", ALL)
def test_shapes_must_agree(metric, rng: np.random.Generator) -> None:
    images, target = pair(rng)
    with pytest.raises(UsageError, match="one shape"):
        metric(images, target[:1])
    with pytest.raises(UsageError, match=r"\(N, .*, H, W\)"):
        metric(images[0], target[0])


def test_ssim_asks_for_a_window() -> None:
    tiny = np.zeros((1, 3, 5, 9), np.uint8)
    with pytest.raises(UsageError, match="more than 5 px"):
        ssim(tiny, tiny)


def test_lab_of_known_colours() -> None:
    # Bruce Lindbloom's calculator, sRGB, D65.
    known = {
        (255, 255, 255): (100, 0, 0),
        (0, 0, 0): (0, 0, 0),
        (255, 0, 0): (53.24, 80.09, 67.20),
        (0, 255, 0): (87.73, -86.18, 83.18),
        (0, 0, 255): (32.30, 79.19, -107.86),
        (10, 20, 30): (6.04, -0.85, -8.08),
    }
    pixels = np.array(list(known), np.uint8).T[:, None]
    found = rgb_to_lab(pixels)[:, 0].T
    np.testing.assert_allclose(found[:5], list(known.values())[:5], atol=0.03)
    assert found[5, 0] == pytest.approx(6, abs=0.5)  # dark: the straight part of the curve


def test_chroma_error_ignores_lightness() -> None:
    dark, light = (np.full((1, 3, 4, 4), level, np.uint8) for level in (60, 200))
    np.testing.assert_allclose(chroma_error(dark, light), 0, atol=1e-9)


@pytest.mark.realdata
@pytest.mark.slow
def test_baselines_of_cir_to_rgb(data_dir: Path) -> None:
    chips, _ = read_chips(data_dir / "naip" / "val", "*.tif")
    rgb, cir = chips[:, :3], chips[:, [3, 0, 1]]
    grey = np.repeat(compute_luma(rgb).round().astype(np.uint8)[:, None], 3, axis=1)
    # The data's README and METHODS section 7.
    assert pooled_psnr(psnr(cir, rgb)) == pytest.approx(15.4, abs=0.1)
    assert sam(cir, rgb).mean() == pytest.approx(19.0, abs=0.05)
    assert chroma_error(cir, rgb).mean() == pytest.approx(29.5, abs=0.05)
    assert chroma_error(grey, rgb).mean() == pytest.approx(10.2, abs=0.05)
