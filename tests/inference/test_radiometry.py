from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from geotrans.inference.accelerator import (
    classify_on_device,
    denormalize_on_device,
    normalize_on_device,
)
from geotrans.inference.radiometry import (
    apply_palette,
    classify,
    denormalize,
    from_network,
    normalize,
    to_network,
)
from geotrans.tasks import BandSpec
from tests.inference.conftest import PALETTE

CPU = torch.device("cpu")
RANGES = {
    "uint8": (0, 255),
    "int8": (-128, 127),
    "uint16": (0, 65535),
    "int16": (-32768, 32767),
    "uint32": (0, 100_000),
    "int32": (-100_000, 100_000),
}


def band(dtype: str, value_range: tuple[float, float]) -> BandSpec:
    return BandSpec(name="band", dtype=dtype, value_range=value_range)


def every_value(dtype: str) -> np.ndarray[Any, Any]:
    low, high = RANGES[dtype]
    return np.linspace(low, high, 65536, dtype=np.int64).astype(dtype).reshape(1, 64, -1)


def normalized(data: np.ndarray[Any, Any], one: BandSpec) -> np.ndarray[Any, Any]:
    out = np.empty(data.shape, np.float32)
    normalize(data, [to_network(one)] * len(data), out)
    return out


@pytest.mark.parametrize("dtype", RANGES)
def test_there_and_back(dtype: str) -> None:
    one, data = band(dtype, RANGES[dtype]), every_value(dtype)
    seen = normalized(data, one)
    assert (seen.min(), seen.max()) == pytest.approx((-1, 1), abs=1e-6)
    back = denormalize(seen, [from_network(one)], np.dtype(dtype))
    assert back.dtype == dtype
    assert np.array_equal(back, data)


def test_the_range_of_the_network_is_passed_on_to_the_bit() -> None:
    data = np.random.default_rng(0).normal(size=(1, 40, 50)).astype(np.float32) * 1e6
    one = band("float32", (-1, 1))
    assert np.array_equal(normalized(data, one), data)
    assert np.array_equal(denormalize(data, [from_network(one)], np.dtype("float32")), data)


def test_physical_values() -> None:
    one = band("float32", (0, 0.5))
    linear = to_network(one, (1e-4, -0.1))  # as Sentinel-2 stores reflectance
    out = np.empty((1, 1, 3), np.float32)
    normalize(np.array([[[1000, 3500, 6000]]], np.uint16), [linear], out)
    assert out.ravel().tolist() == pytest.approx([-1, 0, 1], abs=1e-6)
    back = denormalize(out, [from_network(one, (1e-4, -0.1))], np.dtype("uint16"))
    assert back.ravel().tolist() == [1000, 3500, 6000]


def test_rounds_halves_to_even_and_clips() -> None:
    scores = np.array([[[0.5, 1.5, 2.5, -0.5, -3, 300, 254.6]]], np.float32)
    made = denormalize(scores, [(1.0, 0.0)], np.dtype("uint8"))
    assert made.ravel().tolist() == [0, 2, 2, 0, 0, 255, 255]


@given(
    st.sampled_from(["uint8", "int16", "uint16", "int32", "float32"]),
    st.integers(1, 3),
    st.integers(1, 40),
    st.integers(1, 50),
)
def test_order_in_memory_does_not_matter(dtype: str, n: int, height: int, width: int) -> None:
    rng = np.random.default_rng(height)
    last = rng.uniform(-1.2, 1.2, (height, width, n)).astype(np.float32)
    linear = [from_network(band("uint8", (0, 200 + i))) for i in range(n)]
    first = np.ascontiguousarray(last.transpose(2, 0, 1))
    one, other = (denormalize(a, linear, np.dtype(dtype)) for a in (last.transpose(2, 0, 1), first))
    assert np.array_equal(one, other)
    assert np.array_equal(classify(last.transpose(2, 0, 1)), first.argmax(axis=0))


def test_the_first_of_equal_classes_wins() -> None:
    scores = np.array([1, 3, 3, 2], np.float32)[:, None, None]
    assert classify(scores).tolist() == [[1]]


def test_paints_the_palette() -> None:
    classes = np.array([[0, 5], [2, 1]], np.uint8)
    colors = apply_palette(classes, PALETTE)
    assert colors.shape == (3, 2, 2)
    assert tuple(colors[:, 0, 1]) == PALETTE[5].color
    assert tuple(colors[:, 1, 0]) == PALETTE[2].color


@pytest.mark.parametrize("dtype", [*RANGES, "float32", "float64"])
def test_an_accelerator_does_the_same(dtype: str) -> None:
    rng = np.random.default_rng(1)
    scores = rng.uniform(-1.3, 1.3, (3, 33, 47)).astype(np.float32)
    linear = [from_network(band("uint8", (0, 255))), (12.3, 4.5), (1000.0, -3.0)]
    here = denormalize(scores, linear, np.dtype(dtype))
    there = denormalize_on_device(torch.from_numpy(scores.copy()), linear, np.dtype(dtype))
    assert there.dtype == here.dtype
    assert np.array_equal(there, here)
    assert np.array_equal(classify_on_device(torch.from_numpy(scores)), classify(scores))
    data = rng.integers(0, 100, (3, 33, 47)).astype(dtype)
    seen = np.empty(data.shape, np.float32)
    normalize(data, linear, seen)
    assert np.array_equal(normalize_on_device(data, linear, CPU).numpy(), seen)


def test_an_accelerator_takes_any_array() -> None:
    data = np.arange(24, dtype=">i2").reshape(2, 3, 4)[:, ::-1]
    data.flags.writeable = False
    seen = normalize_on_device(data, [(1.0, 0.0)] * 2, CPU)
    assert np.array_equal(seen.numpy(), data)
