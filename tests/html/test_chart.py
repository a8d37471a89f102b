"""Curves: what is drawn is what was measured."""

import re

import numpy as np
import pytest

from geotrans.html.chart import HEIGHT, N_DRAWN, WIDTH, choose_ticks, draw_curve


def _points(svg, shape):
    found = re.search(rf'<{shape} points="([^"]*)"', svg)[1]
    return np.array([[float(x) for x in pair.split(",")] for pair in found.split()])


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0, 4000, [0, 1000, 2000, 3000, 4000]), (0.013, 0.021, [0.014, 0.016, 0.018, 0.02]),
     (-1.2, 1, [-1, 0, 1])],
)  # fmt: skip
def test_ticks_are_round_and_within(low, high, expected):
    assert choose_ticks(low, high) == pytest.approx(expected)


def test_a_curve_rises_where_its_values_do():
    line = _points(draw_curve([0, 50, 100], [1.0, 3.0, 2.0], label="l"), "polyline")
    assert (np.diff(line[:, 0]) > 0).all()
    assert line[1, 1] < line[2, 1] < line[0, 1], "rows count down the page"
    assert ((line > 0) & (line < [WIDTH, HEIGHT])).all()


def test_what_is_no_number_is_left_out_and_what_is_constant_still_drawn():
    assert len(_points(draw_curve([1, 2, 3], [1.0, float("nan"), 1.0], label="l"), "polyline")) == 2
    assert "no value" in draw_curve([1], [float("inf")], label="l")


def test_a_long_curve_keeps_its_extremes():
    ys = np.sin(np.arange(5000.0))
    ys[1234] = 50
    svg = draw_curve(range(5000), ys, label="l")
    assert len(_points(svg, "polyline")) <= N_DRAWN
    band = _points(svg, "polygon")[:, 1]
    assert band.min() == pytest.approx(8.0), "the one high value reaches the top"


def test_a_mark_stands_where_it_is_said():
    dashed = re.search(r'x1="([\d.]+)"[^>]*x2="([\d.]+)"[^>]*dasharray', draw_curve(
        [0, 100], [0, 1], label="l", mark=50
    ))  # fmt: skip
    left, right = _points(draw_curve([0, 100], [0, 1], label="l"), "polyline")[:, 0]
    assert float(dashed[1]) == float(dashed[2]) == pytest.approx((left + right) / 2, abs=0.1)
    assert "dasharray" not in draw_curve([0, 100], [0, 1], label="l", mark=500)
