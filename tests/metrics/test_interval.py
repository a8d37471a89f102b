from __future__ import annotations

import numpy as np
import pytest

from geotrans.errors import UsageError
from geotrans.metrics.interval import Interval, group_by_place, mean, mean_ratio, ratio


def test_by_place_sums_images_of_one_place() -> None:
    names, sums = group_by_place([1, 2, 4], ["b", "a", "b"])
    assert names == ("a", "b")
    assert sums.tolist() == [2, 5]


def test_by_place_refuses_images_without_a_place() -> None:
    with pytest.raises(UsageError, match="3 images, but 2 places"):
        group_by_place([1, 2, 3], ["a", "b"])


def test_ratio_pools_counts_over_images(rng: np.random.Generator) -> None:
    above, below = rng.integers(0, 50, 30), rng.integers(50, 90, 30)
    found = ratio(above, below, [str(i % 10) for i in range(30)])
    assert found.value == pytest.approx(above.sum() / below.sum())
    assert found.low < found.value < found.high
    assert found.n == 10


def test_interval_of_a_mean_has_the_textbook_width(rng: np.random.Generator) -> None:
    values = rng.standard_normal(400)
    found = mean(values, [str(i) for i in range(400)])
    assert found.high - found.low == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.06)


def test_interval_covers_the_truth_as_often_as_it_says(rng: np.random.Generator) -> None:
    places = [str(i // 4) for i in range(160)]  # images of a place share most of what they are
    hits = 0
    for _ in range(200):
        values = np.repeat(rng.standard_normal(40), 4) + 0.1 * rng.standard_normal(160)
        found = mean(values, places, n_draws=300)
        hits += found.low < 0 < found.high
    assert 0.88 < hits / 200 < 0.99


def test_images_without_a_value_are_left_out() -> None:
    assert mean([1.0, np.nan, 3.0], ["a", "b", "c"]).value == 2


def test_ratio_of_nothing_is_nan() -> None:
    found = ratio([0, 0], [0, 0], ["a", "b"])
    assert np.isnan([found.value, found.low, found.high]).all()


def test_same_seed_same_resamples(rng: np.random.Generator) -> None:
    values, places = rng.random(12), [str(i) for i in range(12)]
    first, second = mean(values, places), mean(values * 2, places)
    np.testing.assert_allclose(first.draws * 2, second.draws)
    assert not np.allclose(mean(values, places, seed=1).draws, first.draws)


def test_scaled_and_printed() -> None:
    found = Interval.from_draws(0.5, np.linspace(0, 1, 101), n=13).scaled(100)
    assert str(found) == "50 [2.5, 97.5] over 13 places"


def test_mean_ratio_is_the_mean_of_the_ratios_of_sums() -> None:
    above = np.array([[1, 0, 0], [3, 2, 0], [0, 1, 0]])
    below = np.array([[4, 0, 0], [4, 4, 0], [2, 4, 0]])
    found = mean_ratio(above, below, ["a", "b", "b"])
    assert found.value == pytest.approx((4 / 10 + 3 / 8) / 2)  # the third has nothing below it
    assert found.n == 2
    one = ratio(above[:, 0], below[:, 0], ["a", "b", "b"])
    two = ratio(above[:, 1], below[:, 1], ["a", "b", "b"])
    both = np.isfinite(one.draws) & np.isfinite(two.draws)
    np.testing.assert_allclose(found.draws[both], ((one.draws + two.draws) / 2)[both])
