"""A map of footprints, as inline SVG."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

from geotrans.html.chart import choose_ticks, draw_line, draw_text
from geotrans.html.page import Html

_WIDTH, _MAX_HEIGHT, _EDGE = 640, 420, 40
_COLORS = ("var(--accent)", "var(--second)", "var(--third)", "var(--faint)")
# Smallest extent of the map, degrees: a single place would fill it otherwise.
_MIN_SPAN = 1e-4

Ring = Sequence[tuple[float, float]]


def draw_footprints(groups: Mapping[str, Sequence[Ring]]) -> Html:
    """Draw a map of footprints by longitude and latitude, true to scale in its middle.

    Args:
        groups: Corners `(longitude, latitude)` of each outline, degrees, by name of the group.
            Small outlines appear as dots.
    """
    points = [point for rings in groups.values() for ring in rings for point in ring]
    if not points:
        return Html("")
    west, east = min(x for x, _ in points), max(x for x, _ in points)
    south, north = min(y for _, y in points), max(y for _, y in points)
    x_scale = math.cos(math.radians((south + north) / 2))
    # At least half as wide as high and half as high as wide.
    min_span = max((east - west) * x_scale, north - south, _MIN_SPAN) / 2
    west, east = _widen(west, east, min_span / x_scale)
    south, north = _widen(south, north, min_span)
    scale = min(
        (_WIDTH - 2 * _EDGE) / ((east - west) * x_scale),
        (_MAX_HEIGHT - 2 * _EDGE) / (north - south),
    )
    width, height = (east - west) * x_scale * scale + 2 * _EDGE, (north - south) * scale + 2 * _EDGE

    def col(x: float) -> float:
        return _EDGE + (x - west) * x_scale * scale

    def row(y: float) -> float:
        return height - _EDGE - (y - south) * scale

    left, right, top, bottom = _EDGE / 2, width - 8, 8.0, height - _EDGE / 2
    elements = [
        f'<rect x="{left:.0f}" y="{top:.0f}" width="{right - left:.0f}" '
        f'height="{bottom - top:.0f}" fill="var(--panel)" stroke="var(--line)"/>'
    ]
    for x in choose_ticks(west, east, n=2):
        elements.append(draw_line(col(x), top, col(x), bottom, 'stroke="var(--line)"'))
        elements.append(draw_text(col(x), height - 6, _format_degrees(x), "middle"))
    for y in choose_ticks(south, north, n=3):
        elements.append(draw_line(left, row(y), right, row(y), 'stroke="var(--line)"'))
        elements.append(draw_text(left + 3, row(y) - 3, _format_degrees(y), "start"))
    legend = []
    for color, (name, rings) in zip(_COLORS, groups.items(), strict=False):
        attributes = f'fill="{color}" fill-opacity=".35" stroke="{color}" stroke-linejoin="round"'
        for ring in rings:
            corners = " ".join(f"{col(x):.1f},{row(y):.1f}" for x, y in ring)
            elements.append(f'<polygon points="{corners}" stroke-width="3" {attributes}/>')
        key = f'<span class="key" style="background:{color}"></span>'
        legend.append(f"{key}{escape(name)} ({len(rings)})")
    return Html(
        f'<figure><svg viewBox="0 0 {width:.0f} {height:.0f}" style="max-width:{width:.0f}px" '
        f'role="img" aria-label="map of places">{"".join(elements)}</svg>'
        f"<figcaption>{' &nbsp; '.join(legend)}; degrees east and north</figcaption></figure>"
    )


def _widen(low: float, high: float, min_span: float) -> tuple[float, float]:
    padding = max(0.0, min_span - (high - low)) / 2
    return low - padding, high + padding


def _format_degrees(value: float) -> str:
    return f"{value:.4f}".rstrip("0").rstrip(".")
