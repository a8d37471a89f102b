"""Where places lie, as inline SVG."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

from geotrans.html.chart import choose_ticks, draw_line, draw_text
from geotrans.html.page import Html

_WIDTH, _MAX_HEIGHT, _EDGE = 640, 420, 40
_COLORS = ("var(--accent)", "var(--second)", "var(--third)", "var(--faint)")
# What places lie on at least, degrees: a single one would fill the map.
_MIN_SPAN = 1e-4

Ring = Sequence[tuple[float, float]]


def draw_footprints(groups: Mapping[str, Sequence[Ring]]) -> Html:
    """A map of places by longitude and latitude, true to scale in its middle.

    Args:
        groups: Corners `(longitude, latitude)` of each outline, degrees, by name of the group.
            Small outlines are seen as dots.
    """
    points = [point for rings in groups.values() for ring in rings for point in ring]
    if not points:
        return Html("")
    west, east = min(x for x, _ in points), max(x for x, _ in points)
    south, north = min(y for _, y in points), max(y for _, y in points)
    squeeze = math.cos(math.radians((south + north) / 2))
    # Neither a sliver nor a point: at least half as wide as high, and as high as wide.
    least = max((east - west) * squeeze, north - south, _MIN_SPAN) / 2
    west, east = _widen(west, east, least / squeeze)
    south, north = _widen(south, north, least)
    scale = min(
        (_WIDTH - 2 * _EDGE) / ((east - west) * squeeze),
        (_MAX_HEIGHT - 2 * _EDGE) / (north - south),
    )
    width, height = (east - west) * squeeze * scale + 2 * _EDGE, (north - south) * scale + 2 * _EDGE

    def col(x: float) -> float:
        return _EDGE + (x - west) * squeeze * scale

    def row(y: float) -> float:
        return height - _EDGE - (y - south) * scale

    left, right, top, bottom = _EDGE / 2, width - 8, 8.0, height - _EDGE / 2
    drawn = [
        f'<rect x="{left:.0f}" y="{top:.0f}" width="{right - left:.0f}" '
        f'height="{bottom - top:.0f}" fill="var(--panel)" stroke="var(--line)"/>'
    ]
    for x in choose_ticks(west, east, n=2):
        drawn.append(draw_line(col(x), top, col(x), bottom, 'stroke="var(--line)"'))
        drawn.append(draw_text(col(x), height - 6, _format_degrees(x), "middle"))
    for y in choose_ticks(south, north, n=3):
        drawn.append(draw_line(left, row(y), right, row(y), 'stroke="var(--line)"'))
        drawn.append(draw_text(left + 3, row(y) - 3, _format_degrees(y), "start"))
    legend = []
    for color, (name, rings) in zip(_COLORS, groups.items(), strict=False):
        kind = f'fill="{color}" fill-opacity=".35" stroke="{color}" stroke-linejoin="round"'
        for ring in rings:
            corners = " ".join(f"{col(x):.1f},{row(y):.1f}" for x, y in ring)
            drawn.append(f'<polygon points="{corners}" stroke-width="3" {kind}/>')
        key = f'<span class="key" style="background:{color}"></span>'
        legend.append(f"{key}{escape(name)} ({len(rings)})")
    return Html(
        f'<figure><svg viewBox="0 0 {width:.0f} {height:.0f}" style="max-width:{width:.0f}px" '
        f'role="img" aria-label="map of places">{"".join(drawn)}</svg>'
        f"<figcaption>{' &nbsp; '.join(legend)}; degrees east and north</figcaption></figure>"
    )


def _widen(low: float, high: float, least: float) -> tuple[float, float]:
    lacking = max(0.0, least - (high - low)) / 2
    return low - lacking, high + lacking


def _format_degrees(value: float) -> str:
    return f"{value:.4f}".rstrip("0").rstrip(".")
