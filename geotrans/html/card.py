"""Small cards that represent values in a notebook, dark or light."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from pathlib import Path

from geotrans.html.page import Html
from geotrans.html.picture import embed_picture, read_picture

_FRAME = (
    "border:1px solid #8886;border-radius:6px;padding:.6em 1em;max-width:46em;"
    "font:13px/1.45 system-ui,sans-serif"
)
_NAME = "padding:.1em 1.2em .1em 0;opacity:.65;text-align:left;vertical-align:top"
_VALUE = "padding:.1em 0;text-align:left;overflow-wrap:anywhere"
_PICTURE_PX = 640


def render_card(
    title: str, subtitle: str, facts: Iterable[tuple[str, object]], *, figure: Html | None = None
) -> str:
    """A card.

    Args:
        title: What it is about.
        subtitle: One line on it.
        facts: Names and values; None and empty values are left out.
        figure: A picture or a drawing below.
    """
    rows = "".join(
        f'<tr style="background:none"><td style="{_NAME}">{escape(name)}</td>'
        f'<td style="{_VALUE}">{escape(str(value))}</td></tr>'
        for name, value in facts
        if value not in (None, "")
    )
    below = f'<div style="margin-top:.5em">{figure}</div>' if figure else ""
    return (
        f'<div style="{_FRAME}"><div><b>{escape(title)}</b> {escape(subtitle)}</div>'
        f'<table style="border:0;margin:.3em 0 0">{rows}</table>{below}</div>'
    )


def embed_thumbnail(path: Path, alt: str) -> Html | None:
    """A thumbnail of a picture file; None if there is no such file."""
    if not path.is_file():
        return None
    return embed_picture(read_picture(path, max_px=_PICTURE_PX), alt)


def draw_grid(
    area: tuple[int, int, int, int],
    *,
    rows: tuple[int, ...],
    cols: tuple[int, ...],
    window: tuple[int, int, int, int],
    footprint: tuple[int, int, int, int],
) -> Html:
    """Draw tiles over a footprint, and the window that one of them reads, as inline SVG.

    Rectangles are `(left, top, width, height)`, px of the scene.

    Args:
        area: What the tiles cover.
        rows: First row of each row of tiles, and the end of the last.
        cols: First column of each column of tiles, and the end of the last.
        window: What one tile reads, in the middle of them.
        footprint: The scene.
    """
    left, top = (min(rect[i] for rect in (area, window, footprint)) for i in (0, 1))
    right = max(rect[0] + rect[2] for rect in (area, window, footprint))
    bottom = max(rect[1] + rect[3] for rect in (area, window, footprint))
    scale = 300 / max(right - left, bottom - top)

    def to_svg(x: float, y: float) -> tuple[float, float]:
        return (x - left) * scale + 1, (y - top) * scale + 1

    def draw_rectangle(rect: tuple[int, int, int, int], attributes: str) -> str:
        x, y = to_svg(rect[0], rect[1])
        size = f'width="{rect[2] * scale:.1f}" height="{rect[3] * scale:.1f}"'
        return f'<rect x="{x:.1f}" y="{y:.1f}" {size} {attributes}/>'

    x0, y0 = to_svg(area[0], area[1])
    x1, y1 = to_svg(area[0] + area[2], area[1] + area[3])
    lines = [f"M{to_svg(col, 0)[0]:.1f} {y0:.1f}V{y1:.1f}" for col in cols]
    lines += [f"M{x0:.1f} {to_svg(0, row)[1]:.1f}H{x1:.1f}" for row in rows]
    width, height = ((n * scale) + 2 for n in (right - left, bottom - top))
    return Html(
        f'<svg width="{width:.0f}" height="{height:.0f}" role="img" aria-label="tile plan">'
        + draw_rectangle(footprint, 'fill="#8883" stroke="#8888"')
        + f'<path d="{"".join(lines)}" fill="none" stroke="#1f6f8b"/>'
        + draw_rectangle(window, 'fill="#b3541e33" stroke="#b3541e" stroke-dasharray="4 3"')
        + "</svg>"
    )
