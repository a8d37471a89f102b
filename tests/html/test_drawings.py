import base64
import re

import numpy as np
import pytest
from rasterio.io import MemoryFile

from geotrans.html.chart import HEIGHT, N_DRAWN, WIDTH, curve, ticks
from geotrans.html.footprints import footprints
from geotrans.html.picture import picture, read_picture
from geotrans.training.monitor import save_sheet


def _points(svg, shape):
    found = re.search(rf'<{shape} points="([^"]*)"', svg)[1]
    return np.array([[float(x) for x in pair.split(",")] for pair in found.split()])


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0, 4000, [0, 1000, 2000, 3000, 4000]), (0.013, 0.021, [0.014, 0.016, 0.018, 0.02]),
     (-1.2, 1, [-1, 0, 1])],
)  # fmt: skip
def test_ticks_are_round_and_within(low, high, expected):
    assert ticks(low, high) == pytest.approx(expected)


def test_a_curve_rises_where_its_values_do():
    line = _points(curve([0, 50, 100], [1.0, 3.0, 2.0], label="l"), "polyline")
    assert (np.diff(line[:, 0]) > 0).all()
    assert line[1, 1] < line[2, 1] < line[0, 1], "rows count down the page"
    assert ((line > 0) & (line < [WIDTH, HEIGHT])).all()


def test_what_is_no_number_is_left_out_and_what_is_constant_still_drawn():
    assert len(_points(curve([1, 2, 3], [1.0, float("nan"), 1.0], label="l"), "polyline")) == 2
    assert "no value" in curve([1], [float("inf")], label="l")


def test_a_long_curve_keeps_its_extremes():
    ys = np.sin(np.arange(5000.0))
    ys[1234] = 50
    svg = curve(range(5000), ys, label="l")
    assert len(_points(svg, "polyline")) <= N_DRAWN
    band = _points(svg, "polygon")[:, 1]
    assert band.min() == pytest.approx(8.0), "the one high value reaches the top"


def test_a_mark_stands_where_it_is_said():
    dashed = re.search(r'x1="([\d.]+)"[^>]*x2="([\d.]+)"[^>]*dasharray', curve(
        [0, 100], [0, 1], label="l", mark=50
    ))  # fmt: skip
    left, right = _points(curve([0, 100], [0, 1], label="l"), "polyline")[:, 0]
    assert float(dashed[1]) == float(dashed[2]) == pytest.approx((left + right) / 2, abs=0.1)
    assert "dasharray" not in curve([0, 100], [0, 1], label="l", mark=500)


def _square(x, y, size=0.1):
    return [(x, y), (x + size, y), (x + size, y + size), (x, y + size)]


def test_a_map_is_true_to_scale_and_north_is_up():
    svg = footprints({"train": [_square(10, 60)], "val": [_square(10.5, 60.3)]})
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
    assert "<polygon" in footprints({"val": [_square(10, 60, size=0)]})
    assert footprints({}) == ""


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize(("lossless", "close"), [(True, 0), (False, 12)])
def test_a_picture_carries_its_pixels(lossless, close):
    ramp = np.linspace(0, 255, 32 * 32).reshape(1, 32, 32).repeat(3, 0).astype(np.uint8)
    found = picture(ramp, 'a "ramp"', lossless=lossless)
    kind, data = re.match(
        r'<img src="data:image/(\w+);base64,([^"]*)" alt="a &quot;', found
    ).groups()
    assert kind == ("png" if lossless else "jpeg")
    with MemoryFile(base64.b64decode(data)) as memory, memory.open() as file:
        assert np.abs(file.read().astype(int) - ramp).max() <= close


def test_a_sheet_is_shrunk_to_fit(tmp_path):
    dark, light = (np.full((3, 40, 40), v, np.uint8) for v in (10, 200))
    save_sheet(tmp_path / "sheet.png", [[dark, light]] * 3)
    assert read_picture(tmp_path / "sheet.png", max_px=1000).shape == (3, 120, 80)
    small = read_picture(tmp_path / "sheet.png", max_px=30)
    assert small.shape == (3, 30, 20)
    assert (small[:, :, :10] == 10).all()
    assert (small[:, :, 10:] == 200).all()
