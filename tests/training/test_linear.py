import logging

import numpy as np
import pytest

from geotrans.errors import ConfigError, SamplingError
from geotrans.training.linear import fit_known, fit_linear

WEIGHT = np.array([[0.5, -0.25, 1.0], [0.125, 0.75, 0.0]])
BIAS = np.array([3.0, -7.0])


def patches(n=4, *, bands=3, dtype=np.uint8):
    rng = np.random.default_rng(1)
    return rng.integers(0, 256, (n, bands, 12, 10)).astype(dtype)


def mapped(source):
    return np.einsum("kc,nchw->nkhw", WEIGHT, source) + BIAS[:, None, None]


def everywhere(source):
    return np.ones((len(source), *source.shape[2:]), bool)


def test_a_linear_relation_is_found():
    source = patches()
    fit = fit_linear(source, mapped(source), everywhere(source))
    np.testing.assert_allclose(fit.weight, WEIGHT, atol=1e-12)
    np.testing.assert_allclose(fit.bias, BIAS, atol=1e-9)


def test_it_is_what_lstsq_says_of_noisy_pixels_and_invalid_ones_do_not_count():
    source = patches()
    target = mapped(source) + np.random.default_rng(2).normal(0, 20, (4, 2, 12, 10))
    valid = np.random.default_rng(3).random((4, 12, 10)) < 0.5
    spoilt = np.where(valid[:, None], target, 1e6)
    fit = fit_linear(source, spoilt, valid)
    x = np.moveaxis(source, 1, -1)[valid].astype(float)
    x = np.column_stack([x, np.ones(len(x))])
    wanted = np.linalg.lstsq(x, np.moveaxis(target, 1, -1)[valid])[0].T
    np.testing.assert_allclose(np.column_stack([fit.weight, fit.bias]), wanted, rtol=1e-8)


def test_the_order_of_byte_patches_changes_nothing():
    source, target = patches(), patches(bands=5)[:, 3:]
    one = fit_linear(source, target, everywhere(source))
    other = fit_linear(source[::-1], target[::-1], everywhere(source))
    assert np.array_equal(one.weight, other.weight)
    assert np.array_equal(one.bias, other.bias)


def test_normalized_it_leads_from_range_to_range():
    source = patches()
    fit = fit_linear(source, mapped(source), everywhere(source))
    low, high = -50.0, 400.0
    there = fit.normalize((0, 255), (low, high))
    x = source / 127.5 - 1
    y = np.einsum("kc,nchw->nkhw", there.weight, x) + there.bias[:, None, None]
    np.testing.assert_allclose((y + 1) / 2 * (high - low) + low, mapped(source), atol=1e-9)


def test_bands_that_depend_on_each_other_get_a_ridge_and_a_word(caplog):
    source = patches()
    source[:, 2] = source[:, 1]
    target = mapped(source)
    with caplog.at_level(logging.WARNING, logger="geotrans"):
        fit = fit_linear(source, target, everywhere(source))
    assert "depend on each other" in caplog.text
    y = np.einsum("kc,nchw->nkhw", fit.weight, source) + fit.bias[:, None, None]
    np.testing.assert_allclose(y, target, atol=1e-2)
    np.testing.assert_allclose(fit.weight[:, 1], fit.weight[:, 2], atol=1e-6)


def test_a_flat_band_weighs_nothing_and_needs_no_ridge(caplog):
    source = patches()
    source[:, 0] = 9
    with caplog.at_level(logging.WARNING, logger="geotrans"):
        fit = fit_linear(source, mapped(source), everywhere(source))
    assert not caplog.text
    assert np.array_equal(fit.weight[:, 0], [0, 0])
    np.testing.assert_allclose(fit.bias, BIAS + 9 * WEIGHT[:, 0], atol=1e-9)


def test_without_pairs_known_bands_stay_and_the_others_follow_them():
    images = patches(bands=2).astype(np.float64)
    blue = 0.25 * images[:, 0] + 0.5 * images[:, 1] + 4
    images = np.concatenate([images, blue[:, None]], axis=1)
    fit = fit_known(
        images,
        everywhere(images),
        source=("nir", "green", "red"),
        target=("red", "green", "blue"),
    )
    assert np.array_equal(fit.weight[:2], [[0, 0, 1], [0, 1, 0]])
    assert np.array_equal(fit.bias[:2], [0, 0])
    np.testing.assert_allclose(fit.weight[2], [0, 0.5, 0.25], atol=1e-12)
    assert fit.bias[2] == pytest.approx(4)


def test_nothing_to_fit_is_told():
    source = patches()
    with pytest.raises(SamplingError, match="no pixel of the training patches is valid"):
        fit_linear(source, source, np.zeros((4, 12, 10), bool))
    with pytest.raises(ConfigError, match=r"source \(vv\) and target \(a, b, c\) share no band"):
        fit_known(source, everywhere(source), source=("vv",), target=("a", "b", "c"))
