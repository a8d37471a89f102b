"""A self-contained page: frame, sections, tables. It loads nothing from elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from typing import NewType

from geotrans.runtime.files import write_whole

# Text that is markup; all other text is escaped.
Html = NewType("Html", str)

# No scripts, fonts or pictures from elsewhere, enforced by the browser.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"

_STYLE = """
:root { color-scheme: light dark; --ink: #1c2126; --faint: #66707a; --line: #d5dadf;
  --paper: #fff; --panel: #f5f7f8; --accent: #1f6f8b; --second: #b3541e; --third: #5a7d2a; }
@media (prefers-color-scheme: dark) { :root { --ink: #e3e7ea; --faint: #98a2ab; --line: #39424a;
  --paper: #14181b; --panel: #1d2327; --accent: #6cb8d4; --second: #e09a63; --third: #a3c46c; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 76rem; padding: 1rem; background: var(--paper);
  color: var(--ink); font: 1rem/1.5 system-ui, sans-serif; }
h1 { font-size: 1.5rem; line-height: 1.25; margin: .5rem 0; }
h2 { font-size: 1.15rem; margin: 2.2rem 0 .6rem; border-bottom: 1px solid var(--line); }
h3 { font-size: 1rem; margin: 1.2rem 0 .3rem; }
p { margin: .4rem 0; max-width: 60rem; overflow-wrap: anywhere; }
.faint, figcaption { color: var(--faint); font-size: .85rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .92rem; }
th, td { text-align: right; padding: .3rem 0 .3rem 1.2rem; border-bottom: 1px solid var(--line);
  vertical-align: top; }
th:first-child, td:first-child, .facts td { text-align: left; padding-left: 0; }
.facts td { padding-right: 1.2rem; overflow-wrap: anywhere; }
.facts td:first-child { white-space: nowrap; color: var(--faint); }
td .faint { display: block; white-space: nowrap; }
.grid { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fill, minmax(17rem, 1fr)); }
.row { display: grid; gap: .5rem; grid-template-columns: repeat(auto-fit, minmax(9rem, 1fr)); }
figure { margin: 0; min-width: 0; }
img { display: block; max-width: 100%; height: auto; background: var(--panel); }
.row img { width: 100%; }
svg { display: block; width: 100%; max-width: 40rem; height: auto;
  font: 11px system-ui, sans-serif; }
pre { background: var(--panel); padding: .7rem; overflow-x: auto; font-size: .85rem; }
summary { cursor: pointer; }
.key { display: inline-block; width: .7em; height: .7em; margin-right: .35em; }
"""


def render_page(title: str, *blocks: Html, subtitle: str = "") -> str:
    """A whole document.

    Args:
        title: Heading, and title of the window.
        blocks: Results of `section` and the like.
        subtitle: One line below the heading.
    """
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        f"<h1>{escape(title)}</h1>\n{text(subtitle)}\n" + "\n".join(blocks) + "\n</body>\n</html>\n"
    )


def section(heading: str, *blocks: Html) -> Html:
    """A heading and the blocks below it."""
    return Html(f"<section>\n<h2>{escape(heading)}</h2>\n" + "\n".join(blocks) + "\n</section>")


def text(content: str, tag: str = "p") -> Html:
    """Text in an element: `p` for a remark, `h3` for a heading within a section."""
    kind = ' class="faint"' if tag == "p" else ""
    return Html(f"<{tag}{kind}>{escape(content)}</{tag}>" if content else "")


def details(summary: str, lines: str) -> Html:
    """Preformatted lines, collapsed under a summary."""
    inner = f"<summary>{escape(summary)}</summary><pre>{escape(lines)}</pre>"
    return Html(f"<details>{inner}</details>")


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> Html:
    """A table that scrolls within itself where a screen is too narrow.

    Args:
        header: Name of each column.
        rows: Cells; a newline in one sets what follows it small below.
    """
    lines = [_row("th", header), *(_row("td", row) for row in rows)]
    return Html(f'<div class="wide"><table>\n{"\n".join(lines)}\n</table></div>')


def facts(items: Iterable[tuple[str, object]]) -> Html:
    """A table of names and values; None and empty values are left out."""
    rows = [_row("td", (name, str(value))) for name, value in items if value not in (None, "")]
    return Html(f'<table class="facts">\n{"\n".join(rows)}\n</table>')


def _row(tag: str, cells: Sequence[str]) -> str:
    def cell(content: str) -> str:
        above, _, below = content.partition("\n")
        small = f'<span class="faint">{escape(below)}</span>' if below else ""
        return f"<{tag}>{escape(above)}{small}</{tag}>"

    return f"<tr>{''.join(map(cell, cells))}</tr>"


def figure(picture: Html, caption: str = "") -> Html:
    """A picture or a chart, and its caption."""
    below = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
    return Html(f"<figure>{picture}{below}</figure>")


def side_by_side(*figures: Html, kind: str = "row") -> Html:
    """Figures beside each other as far as there is room: narrow in a `row`, wide in a `grid`."""
    return Html(f'<div class="{kind}">{"".join(figures)}</div>')


def write_page(path: Path, content: str) -> None:
    """Write a page, which appears whole or not at all.

    Raises:
        OutputError: If it cannot be written.
    """
    write_whole(path, content.encode())
