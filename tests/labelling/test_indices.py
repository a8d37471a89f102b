import numpy as np
import pytest

from geotrans.labelling.indices import (
    INDICES,
    box_sum,
    compute_indices,
    local_deviation,
    local_majority,
)


def _bands(shape=(30, 34), seed=0):
    rng = np.random.default_rng(seed)
    values = rng.integers(0, 256, (4, *shape)).astype(np.float32)
    return dict(zip(("red", "green", "blue", "nir"), values, strict=True))


def _squares(plane, size):
    """The square around each pixel that has one, `(H, W, size, size)`."""
    return np.lib.stride_tricks.sliding_window_view(plane, (size, size))


@pytest.mark.parametrize("size", [1, 3, 9])
def test_box_sum_and_deviation_are_those_of_numpy(size):
    plane = _bands()["nir"]
    squares = _squares(plane, size).astype(np.float64)
    np.testing.assert_allclose(box_sum(plane, size), squares.sum((2, 3)), rtol=1e-6)
    np.testing.assert_allclose(local_deviation(plane, size), squares.std((2, 3)), atol=2e-2)


@pytest.mark.parametrize("size", [1, 5])
def test_majority_is_the_most_frequent_and_of_equals_the_first(size):
    classes = np.random.default_rng(1).integers(0, 4, (20, 24)).astype(np.uint8)
    squares = _squares(classes, size).reshape(20 - size + 1, 24 - size + 1, -1)
    expected = np.apply_along_axis(lambda s: np.bincount(s, minlength=4).argmax(), 2, squares)
    np.testing.assert_array_equal(local_majority(classes, 4, size), expected)


def test_indices_by_hand():
    bands = {"red": 40.0, "green": 80.0, "blue": 60.0, "nir": 120.0}
    planes = {name: np.full((1, 1), value, np.float32) for name, value in bands.items()}
    found = compute_indices(
        planes, ("brightness", "nir", "ndvi", "ndwi", "warmth", "redness"), size=1
    )
    assert {name: float(plane[0, 0]) for name, plane in found.items()} == {
        "brightness": 60.0,
        "nir": 120.0,
        "ndvi": 0.5,
        "ndwi": pytest.approx(-0.2),
        "warmth": pytest.approx(-0.2),
        "redness": pytest.approx(-1 / 3),
    }


def test_next_to_nothing_has_no_colour():
    planes = {name: np.full((1, 1), 1, np.float32) for name in ("red", "green", "blue")}
    planes["nir"] = np.full((1, 1), 5, np.float32)
    assert compute_indices(planes, ("ndvi",), size=1)["ndvi"][0, 0] == 0


def test_a_window_has_the_bits_of_the_whole():
    bands = _bands((60, 70))
    whole = compute_indices(bands, INDICES, size=9)
    part = {name: plane[11:52, 7:66] for name, plane in bands.items()}
    for name, plane in compute_indices(part, INDICES, size=9).items():
        np.testing.assert_array_equal(plane, whole[name][11:44, 7:58])
