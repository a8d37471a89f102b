from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geotrans.grid import Window, ground_noise

SCALES = (1, 8, 32)

offsets = st.integers(-2_000_000, 2_000_000)


@given(offsets, offsets, st.integers(0, 40), st.integers(0, 40), st.integers(0, 2**40))
def test_a_tile_sees_what_the_whole_sees(
    row: int, col: int, down: int, right: int, seed: int
) -> None:
    anchor = (row, col)
    whole = ground_noise(Window(-5, -7, 70, 80), anchor=anchor, scales=SCALES, seed=seed)
    tile = Window(right, down, 23, 17)
    part = ground_noise(tile, anchor=anchor, scales=SCALES, seed=seed)
    assert np.array_equal(part, whole[:, *tile.relative_to(Window(-5, -7, 0, 0)).slices])


@given(offsets, offsets, st.integers(-50, 50), st.integers(-50, 50))
def test_neighbouring_scenes_see_the_same_ground(row: int, col: int, rows: int, cols: int) -> None:
    one = ground_noise(Window(cols, rows, 20, 20), anchor=(row, col), scales=SCALES, seed=3)
    other = ground_noise(
        Window(0, 0, 20, 20), anchor=(row + rows, col + cols), scales=SCALES, seed=3
    )
    assert np.array_equal(one, other)


def test_white_noise_is_uniform_and_uncorrelated() -> None:
    (field,) = ground_noise(Window(0, 0, 512, 512), anchor=(9, 4), scales=[1], seed=0)
    assert field.dtype == np.float32
    assert field.min() >= -1
    assert field.max() < 1
    counts, _ = np.histogram(field, bins=16, range=(-1, 1))
    # 16384 in each bin; four standard deviations of a binomial count.
    assert np.abs(counts - 16384).max() < 4 * 124
    spectrum = np.abs(np.fft.rfft2(field)) ** 2
    correlation = np.fft.irfft2(spectrum, s=field.shape)
    correlation /= correlation[0, 0]
    correlation[0, 0] = 0
    assert np.abs(correlation).max() < 0.012  # five to six standard deviations of 1 / 512


def test_coarse_noise_changes_at_its_scale_and_not_within() -> None:
    (field,) = ground_noise(Window(0, 0, 256, 256), anchor=(0, 0), scales=[32], seed=1)
    steps = np.abs(np.diff(field, axis=1))
    assert steps.max() <= 2 / 32 + 1e-6
    nodes = field[::32, ::32]
    assert nodes.std() > 0.4


def test_seeds_and_scales_give_fields_of_their_own() -> None:
    window = Window(0, 0, 64, 64)
    one, two = (ground_noise(window, anchor=(0, 0), scales=[1, 2], seed=s) for s in (0, 1))
    assert abs(np.corrcoef(one[0].ravel(), two[0].ravel())[0, 1]) < 0.06
    assert abs(np.corrcoef(one[0].ravel(), one[1].ravel())[0, 1]) < 0.2


def test_no_scales_give_no_channels() -> None:
    assert ground_noise(Window(0, 0, 4, 3), anchor=(0, 0), scales=[], seed=0).shape == (0, 3, 4)


def test_the_field_is_the_same_everywhere_and_always() -> None:
    # [round(float(v), 6) for v in ground_noise(
    #     Window(0, 0, 4, 1), anchor=(12, 34), scales=[1, 8], seed=5).ravel()]
    golden = [-0.9366, 0.537592, -0.257185, 0.743825, -0.486397, -0.364951, -0.243505, -0.122059]
    field = ground_noise(Window(0, 0, 4, 1), anchor=(12, 34), scales=[1, 8], seed=5)
    assert field.ravel().tolist() == pytest.approx(golden, abs=1e-6)
