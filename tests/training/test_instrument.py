import logging

import numpy as np
import pytest
import torch

from geotrans.errors import ConfigError
from geotrans.training.instrument import BandCollection, context_features, fit_context

TRUE = np.array([-0.3, 0.2, 0.7])  # blue of nir, red, green


def _images(seed, n, *, depends=1.0):
    """Meadows and roofs that differ in texture and, beyond red and green, in infrared."""
    rng = np.random.default_rng(seed)
    images = []
    for _ in range(n):
        meadow = np.kron(rng.random((4, 4)) < 0.5, np.ones((16, 16))).astype(bool)
        base = rng.normal(110, 8, (2, 64, 64)) + rng.normal(0, 1, (2, 64, 64)) * 20 * meadow
        nir = 0.4 * base[0] + 60 + depends * 50 * meadow + rng.normal(0, 15, (64, 64))
        blue = TRUE @ np.stack([nir, *base]).reshape(3, -1)
        blue = blue.reshape(64, 64) + 60 + rng.normal(0, 4, (64, 64))
        images.append(np.stack([nir, *base, blue]))
    return images


def _sides(**options):
    one, other = _images(0, 6, **options), _images(1, 6, **options)
    valid = [np.ones((64, 64), bool)] * 6
    source = BandCollection([i[:3] for i in one], valid, ("nir", "red", "green"), (0.0, 255.0))
    target = BandCollection(
        [i[[1, 2, 3]] for i in other], valid, ("red", "green", "blue"), (0.0, 255.0)
    )
    return source, target


def test_how_two_bands_go_together_is_told_by_context_without_a_pair():
    fit = fit_context(*_sides())
    np.testing.assert_array_equal(fit.weight[:2], [[0, 1, 0], [0, 0, 1]])
    np.testing.assert_allclose(fit.weight[2], TRUE, atol=0.06)
    assert fit.bias[2] == pytest.approx(60, abs=8)


def test_where_context_tells_nothing_the_band_has_no_part(caplog):
    with caplog.at_level(logging.WARNING, logger="geotrans"):
        fit = fit_context(*_sides(depends=0.0))
    assert fit.weight[2, 0] == 0
    assert "nir has no part in the linear fit: context does not tell it" in caplog.text


def test_invalid_pixels_are_not_looked_at():
    source, target = _sides()
    invalid = np.ones((64, 64), bool)
    invalid[:32] = False
    broken = [np.where(invalid, image, 255) for image in target.images]
    half = BandCollection(broken, [invalid] * 6, target.names, target.value_range)
    fit = fit_context(source, half)
    np.testing.assert_allclose(fit.weight[2], TRUE, atol=0.1)


def test_sides_without_a_band_of_their_own_need_no_context():
    source, target = _sides()
    known = BandCollection(
        [i[1:] for i in source.images], source.valid, ("red", "green"), (0.0, 255.0)
    )
    assert fit_context(known, target).weight.shape == (3, 2)
    with pytest.raises(ConfigError, match="share no band"):
        fit_context(BandCollection(source.images, source.valid, ("a", "b", "c"), (0, 255)), target)


def test_context_is_what_surrounds_a_pixel_and_stays_inside():
    bands = torch.rand(2, 40, 40, generator=torch.Generator().manual_seed(0))
    found = context_features(bands, np.ones((40, 40), bool))
    planes = torch.stack([*bands, (bands[0] - bands[1]) / (bands[0] + bands[1] + 0.05)])
    assert torch.equal(found[:3], planes)
    mean, spread = found[9:12], found[12:15]
    torch.testing.assert_close(mean[:, 20, 20], planes[:, 19:22, 19:22].mean(dim=(1, 2)))
    expected = planes[:, 19:22, 19:22].std(dim=(1, 2), correction=0)
    torch.testing.assert_close(spread[:, 20, 20], expected, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(mean[:, 0, 0], planes[:, :2, :2].mean(dim=(1, 2)))
