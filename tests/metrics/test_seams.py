from __future__ import annotations

import numpy as np
import pytest

from geotrans.grid import plan_tiles
from geotrans.metrics.seams import seam_ratio
from tests.metrics.conftest import one_over_f


@pytest.fixture
def image(rng: np.random.Generator) -> np.ndarray:
    return one_over_f(rng, 1)[0].astype(float)


EDGES = (0, 64, 128, 192, 256)


def test_no_seam_is_about_1(image: np.ndarray) -> None:
    assert seam_ratio(image, row_edges=EDGES, col_edges=EDGES) == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("axis", ["row", "col"])
def test_shifted_tiles_are_seen(image: np.ndarray, axis: str) -> None:
    steps = np.array([0, 40, -10, 60])[np.arange(256) // 64]
    seen = image + (steps[:, None] if axis == "row" else steps)
    one_way = {f"{axis}_edges": EDGES}
    assert seam_ratio(seen, **one_way) > 2.5
    both_ways = seam_ratio(seen, row_edges=EDGES, col_edges=EDGES)
    assert 1.5 < both_ways < seam_ratio(seen, **one_way)


def test_ratio_by_its_definition() -> None:
    image = np.array([[[0, 1, 2, 7, 8, 9]]])
    assert seam_ratio(image, col_edges=[3]) == 5
    assert seam_ratio(image, col_edges=[0, 3, 6, 40]) == 5
    assert np.isnan(seam_ratio(image, col_edges=[0, 6]))
    assert np.isinf(seam_ratio(np.array([[[1, 1, 4, 4]]]), col_edges=[2]))


def test_each_direction_is_compared_with_itself(rng: np.random.Generator) -> None:
    rows = np.cumsum(rng.choice([-50, 50], 64))[:, None] + np.zeros((1, 64))
    seam = rows + 5 * (np.arange(64) // 32)
    assert seam_ratio(rows[None], row_edges=[32]) == pytest.approx(1)
    assert np.isinf(seam_ratio(seam[None], col_edges=[32]))  # nothing else changes that way


def test_invalid_pixels_do_not_count(image: np.ndarray) -> None:
    expected = seam_ratio(image, col_edges=EDGES)
    holed, valid = image.copy(), np.ones((256, 256), bool)
    holed[:, :, 60:70] = 255
    valid[:, 60:70] = False
    assert seam_ratio(holed, col_edges=EDGES, valid=valid) == pytest.approx(expected, abs=0.1)
    assert seam_ratio(holed, col_edges=(60, 70)) > 2


def test_takes_the_edges_of_a_plan(image: np.ndarray) -> None:
    plan = plan_tiles((256, 256), tile=64, halo=8)
    found = seam_ratio(image, row_edges=plan.row_edges, col_edges=plan.col_edges)
    assert found == pytest.approx(1, abs=0.1)
