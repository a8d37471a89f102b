from html.parser import HTMLParser

import pytest

from geotrans.errors import OutputError
from geotrans.html import page as html

VOID = {"meta", "img"}


class _Balanced(HTMLParser):
    """Fails where an element is closed that is not open."""

    def __init__(self):
        super().__init__()
        self.open = []

    def handle_starttag(self, tag, attrs):
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        pass

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def check(content):
    """Assert that a page is well formed and asks for nothing outside itself."""
    parser = _Balanced()
    parser.feed(content)
    assert parser.open == []
    for word in ("<script", "<link", "<iframe", "http:", "https:", "url(", "@import"):
        assert word not in content, word


def test_a_page_of_everything_is_well_formed_and_self_contained():
    hostile = '<script>alert("&")</script>'
    content = html.render_page(
        hostile,
        html.section(
            hostile,
            html.text(hostile),
            html.text(hostile, "h3"),
            html.details(hostile, hostile),
            html.table(["score", hostile], [["a", f"1\n[{hostile}]"]]),
            html.facts([("name", hostile), ("nothing", None)]),
            html.side_by_side(html.figure(html.text("x"), hostile)),
        ),
        subtitle=hostile,
    )
    check(content)
    assert content.count("&lt;script&gt;alert(&quot;&amp;&quot;)&lt;/script&gt;") == 12
    assert "nothing" not in content
    assert "default-src 'none'" in content


def test_a_page_appears_whole_or_not_at_all(tmp_path):
    with pytest.raises(OutputError, match="cannot be written"):
        html.write_page(tmp_path / "missing" / "page.html", "x")
    html.write_page(tmp_path / "page.html", "ü")
    assert (tmp_path / "page.html").read_text(encoding="utf-8") == "ü"
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]
