from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geotrans.errors import UsageError
from geotrans.metrics.mapping import (
    class_counts,
    class_iou,
    confusion,
    nearest_class,
    one_color,
    palette_accuracy,
    palette_counts,
    road_counts,
    road_iou,
)

COLORS = [(240, 240, 235), (255, 255, 255), (250, 200, 90), (170, 210, 160), (0, 0, 0)]


def drawn(classes: np.ndarray) -> np.ndarray:
    return np.moveaxis(np.array(COLORS, np.uint8)[classes], -1, -3)


@given(st.integers(0, 2**32 - 1))
def test_classes_survive_being_drawn(seed: int) -> None:
    classes = np.random.default_rng(seed).integers(0, 5, (2, 7, 9), dtype=np.uint8)
    assert np.array_equal(nearest_class(drawn(classes), COLORS), classes)


def test_nearest_class_is_the_brute_force_one(rng: np.random.Generator) -> None:
    images = rng.integers(0, 256, (2, 3, 20, 30), dtype=np.uint8)
    difference = images[:, None].astype(int) - np.array(COLORS)[None, :, :, None, None]
    assert np.array_equal(nearest_class(images, COLORS), (difference**2).sum(2).argmin(1))


def test_within_16_levels_in_all_channels() -> None:
    target = np.full((3, 2, 2), 100, np.uint8)
    images = target.copy()
    images[0, 0, 0] = 116  # still near
    images[1, 0, 1] = 117  # one channel too far
    images[2, 1, 0] = 83
    assert palette_accuracy(images, target) == 0.5
    assert palette_accuracy(images, target, levels=17) == 1


def test_bytes_do_not_wrap() -> None:
    black, white = np.zeros((3, 2, 2), np.uint8), np.full((3, 2, 2), 255, np.uint8)
    assert palette_accuracy(black, white) == palette_accuracy(white, black) == 0


def test_invalid_pixels_do_not_count() -> None:
    target = np.zeros((1, 3, 2, 2), np.uint8)
    images = target.copy()
    images[..., 0, 0] = 255
    valid = np.ones((1, 2, 2), bool)
    valid[0, 0, 0] = False
    assert palette_accuracy(images, target, valid=valid) == 1
    assert [c.tolist() for c in palette_counts(images, target, valid=valid)] == [[3], [3]]


def test_one_color_is_the_commonest() -> None:
    classes = np.array([[[3, 3, 3], [0, 1, 2]]], np.uint8)
    assert one_color(drawn(classes), COLORS) == 3


def test_road_iou_takes_the_classes_as_one() -> None:
    target = np.array([[1, 1, 2, 0]], np.uint8)
    found = np.array([[2, 1, 0, 2]], np.uint8)  # confusing road with road is no error here
    assert road_iou(found, target, {1, 2}) == pytest.approx(2 / 4)
    assert road_iou(target, target, {1, 2}) == 1
    assert np.isnan(road_iou(target, target, {4}))


def test_road_counts_are_per_image() -> None:
    target = np.array([[[1, 1]], [[0, 0]]], np.uint8)
    found = np.array([[[1, 0]], [[1, 0]]], np.uint8)
    both, either = road_counts(found, target, [1])
    assert both.tolist() == [1, 0]
    assert either.tolist() == [2, 1]


def test_class_iou_agrees_with_torchmetrics(rng: np.random.Generator) -> None:
    import torch
    from torchmetrics.functional.classification import multiclass_jaccard_index

    found, target = (rng.integers(0, 4, (2, 16, 16), dtype=np.uint8) for _ in range(2))
    expected = multiclass_jaccard_index(
        torch.from_numpy(found).long(), torch.from_numpy(target).long(), 5, average="none"
    )
    mine = class_iou(found, target, n_classes=5)
    np.testing.assert_allclose(mine[:4], expected[:4].numpy(), rtol=1e-6)
    assert np.isnan(mine[4])


def test_confusion_rows_are_the_truth() -> None:
    table = confusion(np.array([[1, 1]], np.uint8), np.array([[0, 1]], np.uint8), n_classes=2)
    assert table.tolist() == [[0, 1], [0, 1]]


def test_shapes_must_agree() -> None:
    with pytest.raises(UsageError, match="one shape"):
        road_iou(np.zeros((2, 4, 4), np.uint8), np.zeros((1, 4, 4), np.uint8), [1])


def test_class_counts_sum_to_class_iou() -> None:
    rng = np.random.default_rng(0)
    found, true = rng.integers(0, 4, (2, 5, 20, 20)).astype(np.uint8)
    valid = rng.random((5, 20, 20)) > 0.2
    both, either = class_counts(found, true, n_classes=5, valid=valid)
    assert both.shape == either.shape == (5, 5)
    with np.errstate(invalid="ignore"):
        iou = both.sum(0) / either.sum(0)
    np.testing.assert_allclose(iou, class_iou(found, true, n_classes=5, valid=valid))
