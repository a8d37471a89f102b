import numpy as np
import pytest

from geotrans.errors import UsageError
from geotrans.metrics.shift import edge_shift
from tests.metrics.conftest import one_over_f


@pytest.fixture
def scene(rng):
    return one_over_f(rng, 2, size=192)


@pytest.mark.parametrize(("down", "right"), [(0, 0), (3, -5), (-12, 7)])
def test_a_shift_by_whole_pixels_is_found(scene, down, right):
    moved = np.roll(scene, (down, right), (2, 3))[:, :, 20:148, 20:148]
    found = edge_shift(moved, scene[:, :, 20:148, 20:148])
    np.testing.assert_allclose(found, np.tile([down, right], (2, 1)), atol=0.05)


def test_half_a_pixel_is_found(rng):
    fine = one_over_f(rng, 1, size=512).astype(float)

    def seen(down, right):
        part = fine[:, :, 40 + down : 40 + down + 256, 40 + right : 40 + right + 256]
        return part.reshape(1, 3, 128, 2, 128, 2).mean((3, 5))

    # Content that comes from one fine pixel further up lies half a coarse one further down.
    np.testing.assert_allclose(edge_shift(seen(-1, 1), seen(0, 0)), [[0.5, -0.5]], atol=0.15)


def test_colours_do_not_count(scene):
    cut, moved = scene[:, :, :128, :128], scene[:, :, 2:130, :128]
    np.testing.assert_allclose(edge_shift(255 - moved, cut)[:, 0], -2, atol=0.05)
    assert edge_shift(moved[:, :1], cut).shape == (2, 2)


def test_where_no_edges_agree_there_is_no_shift(scene, rng):
    other = one_over_f(rng, 2, size=192)
    assert np.isnan(edge_shift(other, scene)).all()
    assert np.isnan(edge_shift(np.full_like(scene, 7), scene)).all()


def test_what_is_not_valid_is_not_looked_at(scene):
    cut, moved = scene[:, :, :128, :128].copy(), scene[:, :, 4:132, :128].copy()
    moved[:, :, :40, :40] = np.arange(40) % 2 * 255
    valid = np.ones((2, 128, 128), bool)
    valid[:, :40, :40] = False
    np.testing.assert_allclose(edge_shift(moved, cut, valid=valid)[:, 0], -4, atol=0.05)


def test_small_images_are_refused(scene):
    with pytest.raises(UsageError, match="at least 64 px a side"):
        edge_shift(scene[:, :, :40], scene[:, :, :40])
