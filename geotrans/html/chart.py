"""Curves as inline SVG, drawn in the colours of the page."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from geotrans.html.page import Html

WIDTH, HEIGHT = 320, 170
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 16, 8, 22
# More points than this are drawn as means of equal runs, with the range of each behind.
N_DRAWN = 150


def draw_curve(
    xs: Sequence[float], ys: Sequence[float], *, label: str, mark: float | None = None
) -> Html:
    """Draw one curve with its axes.

    Args:
        xs: Positions, increasing.
        ys: Values; those that are not finite are left out.
        label: Alternative text.
        mark: Position of a vertical line.
    """
    points = [(x, y) for x, y in zip(xs, ys, strict=True) if math.isfinite(x) and math.isfinite(y)]
    if not points:
        return _wrap_svg(label, draw_text(WIDTH / 2, HEIGHT / 2, "no value", "middle"))
    runs = _summarize_runs(points)
    x_low, x_high = _widen(points[0][0], points[-1][0])
    y_low, y_high = _widen(min(low for _, _, low, _ in runs), max(run[3] for run in runs))

    def col(x: float) -> float:
        return _LEFT + (x - x_low) / (x_high - x_low) * (WIDTH - _LEFT - _RIGHT)

    def row(y: float) -> float:
        return HEIGHT - _BOTTOM - (y - y_low) / (y_high - y_low) * (HEIGHT - _TOP - _BOTTOM)

    elements = []
    for y in choose_ticks(y_low, y_high):
        elements.append(draw_line(_LEFT, row(y), WIDTH - _RIGHT, row(y), 'stroke="var(--line)"'))
        elements.append(draw_text(_LEFT - 6, row(y) + 3.5, _format_tick(y), "end"))
    elements += [
        draw_text(col(x), HEIGHT - 6, _format_tick(x), "middle")
        for x in choose_ticks(x_low, x_high, n=3)
    ]
    if mark is not None and x_low <= mark <= x_high:
        dashed = 'stroke="var(--second)" stroke-dasharray="3 3"'
        elements.append(draw_line(col(mark), row(y_low), col(mark), row(y_high), dashed))
    corners = [(x, high) for x, _, _, high in runs] + [(x, low) for x, _, low, _ in runs[::-1]]
    outline, means = (
        " ".join(f"{col(x):.1f},{row(y):.1f}" for x, y in line)
        for line in (corners, [(x, y) for x, y, _, _ in runs])
    )
    elements.append(f'<polygon points="{outline}" fill="var(--accent)" opacity=".18"/>')
    elements.append(
        f'<polyline points="{means}" fill="none" stroke="var(--accent)" stroke-width="1.5"/>'
    )
    x, y = points[-1][0], runs[-1][1]
    elements.append(f'<circle cx="{col(x):.1f}" cy="{row(y):.1f}" r="2.2" fill="var(--accent)"/>')
    return _wrap_svg(label, *elements)


def choose_ticks(low: float, high: float, *, n: int = 4) -> list[float]:
    """Round numbers in a range, about `n` of them."""
    rough = (high - low) / n
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= rough * (1 - 1e-9))
    first = math.ceil(low / step - 1e-9)
    return [i * step for i in range(first, math.floor(high / step + 1e-9) + 1)]


def _summarize_runs(points: list[tuple[float, float]]) -> list[tuple[float, float, float, float]]:
    """Position, mean, minimum and maximum of at most `N_DRAWN` equal runs of points."""
    size = -(-len(points) // N_DRAWN)
    runs = (points[i : i + size] for i in range(0, len(points), size))
    return [
        (s[-1][0], sum(y for _, y in s) / len(s), min(y for _, y in s), max(y for _, y in s))
        for s in runs
    ]


def _widen(low: float, high: float) -> tuple[float, float]:
    """Widen a range whose ends are equal."""
    if high > low:
        return low, high
    padding = abs(low) * 0.1 or 1.0
    return low - padding, high + padding


def _wrap_svg(label: str, *parts: str) -> Html:
    return Html(
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(label)}">'
        f"{''.join(parts)}</svg>"
    )


def draw_line(x0: float, y0: float, x1: float, y1: float, attributes: str) -> str:
    """A straight line in a drawing, px; `attributes` are further ones of its element."""
    return f'<line x1="{x0:.1f}" y1="{y0:.1f}" x2="{x1:.1f}" y2="{y1:.1f}" {attributes}/>'


def draw_text(x: float, y: float, text: str, anchor: str) -> str:
    """Text in a drawing, whose `anchor` (start, middle, end) is at `x`, px."""
    attributes = f'text-anchor="{anchor}" fill="var(--faint)"'
    return f'<text x="{x:.1f}" y="{y:.1f}" {attributes}>{escape(text)}</text>'


def _format_tick(value: float) -> str:
    return f"{value / 1000:g}k" if abs(value) >= 10_000 else f"{value:.4g}"
