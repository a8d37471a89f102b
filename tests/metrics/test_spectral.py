"""Scores of spectra by their formulas; what they share with others is in `test_image.py`."""

from __future__ import annotations

import numpy as np

from geotrans.metrics.spectral import ergas, sam
from tests.metrics.test_image import pair


def test_sam_is_the_angle_and_ignores_brightness_and_black() -> None:
    target = np.zeros((1, 2, 1, 3))
    target[0, :, 0, :2] = [[1, 2], [0, 2]]  # two spectra, then black
    images = np.zeros((1, 2, 1, 3))
    images[0, :, 0, :2] = [[0, 5], [3, 5]]
    np.testing.assert_allclose(sam(images, target), 45)


def test_ergas_by_its_formula(rng: np.random.Generator) -> None:
    images, target = pair(rng)
    rmse = np.sqrt(((images.astype(float) - target) ** 2).mean((2, 3)))
    expected = 100 * np.sqrt(((rmse / target.mean((2, 3))) ** 2).mean(1))
    np.testing.assert_allclose(ergas(images, target), expected)
    np.testing.assert_allclose(ergas(images, target, ratio=2), expected / 2)
