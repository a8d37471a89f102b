"""Maps of where places lie."""

import re

import numpy as np
import pytest

from geotrans.html.footprints import draw_footprints


def _square(x, y, size=0.1):
    return [(x, y), (x + size, y), (x + size, y + size), (x, y + size)]


def test_a_map_is_true_to_scale_and_north_is_up():
    svg = draw_footprints({"train": [_square(10, 60)], "val": [_square(10.5, 60.3)]})
    south, north = (
        np.array([[float(v) for v in pair.split(",")] for pair in points.split()])
        for points in re.findall(r'<polygon points="([^"]*)"', svg)
    )
    assert north[:, 1].max() < south[:, 1].min()
    assert north[:, 0].min() > south[:, 0].max()
    width, height = np.ptp(south, axis=0)
    assert width / height == pytest.approx(np.cos(np.radians(60.2)), rel=0.02)
    assert "train (1)" in svg
    assert "val (1)" in svg


def test_a_map_of_one_point_or_nothing():
    assert "<polygon" in draw_footprints({"val": [_square(10, 60, size=0)]})
    assert draw_footprints({}) == ""
