"""Cards of tasks, bundles, plans and runs: whole, small, and safe whatever a text holds."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

import geotrans
from geotrans.html.card import embed_thumbnail, render_card
from geotrans.training.run import TrainedTask
from tests.helpers.bundles import identity_bundle


class _Reader(HTMLParser):
    """Tags, text and what surrounds it; fails where tags do not nest."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag != "img":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: Any) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def _read(text: str) -> _Reader:
    reader = _Reader()
    reader.feed(text)
    assert reader.open == []
    return reader


def test_text_is_no_markup() -> None:
    bad = '<script>alert("x")</script>'
    read = _read(render_card(bad, bad, [(bad, bad), ("none", None)]))
    assert "script" not in {tag for tag, _ in read.tags}
    assert read.words == [bad, f" {bad}", bad, bad]


@pytest.mark.parametrize("of_bundle", [False, True])
def test_a_task_shows_its_bands_scores_and_samples(of_bundle: bool) -> None:
    bundle = geotrans.open_bundle("cir2rgb")
    text = (bundle if of_bundle else bundle.spec)._repr_html_()
    read = _read(text)
    assert {"nir, red, green", "red, green, blue", "cir2rgb"} <= set(read.words)
    assert set(bundle.spec.metrics) <= set(read.words)
    # A spec knows no file, and so no picture beside it.
    pictures = [attrs for tag, attrs in read.tags if tag == "img"]
    assert len(pictures) == of_bundle
    assert all(str(p["src"]).startswith("data:image/jpeg;base64,") for p in pictures)
    assert len(text) < 300_000
    assert (bundle.sha256[:16] in read.words) == of_bundle


def test_a_bundle_without_samples_shows_the_rest(tmp_path: Path) -> None:
    path = identity_bundle(tmp_path / "same.safetensors", title="<b>as it is</b>")
    read = _read(geotrans.open_bundle(path)._repr_html_())
    assert " <b>as it is</b>" in read.words
    assert "img" not in {tag for tag, _ in read.tags}


def test_a_plan_is_drawn_over_its_scene() -> None:
    area = geotrans.Window(200, 100, 800, 600)
    plan = geotrans.plan_tiles((900, 1200), tile=300, halo=45, align=16, area=area)
    read = _read(plan._repr_html_())
    scene, window = (attrs for tag, attrs in read.tags if tag == "rect")
    scale = float(scene["width"] or 0) / 1200
    assert float(scene["height"] or 0) == pytest.approx(900 * scale, abs=0.1)
    read_px = plan.tile(0, 0).read.width
    assert float(window["width"] or 0) == pytest.approx(read_px * scale, abs=0.1)
    (path,) = [attrs["d"] for tag, attrs in read.tags if tag == "path"]
    assert str(path).count("M") == plan.n_rows + plan.n_cols + 2
    assert f"{len(plan)} tiles" in read.words


def test_a_run_shows_its_scores_and_last_sheet(tmp_path: Path) -> None:
    (tmp_path / "sheets").mkdir()
    profile = {"driver": "PNG", "height": 8, "width": 9, "count": 3, "dtype": "uint8"}
    with (
        pytest.warns(rasterio.errors.NotGeoreferencedWarning),
        rasterio.open(tmp_path / "sheets" / "step_00000100.png", "w", **profile) as sheet,
    ):
        sheet.write(np.zeros((3, 8, 9), "uint8"))
    run = TrainedTask(tmp_path, tmp_path / "mine.safetensors", {"psnr": 30.126}, 100, 200, 90.0)
    read = _read(run._repr_html_())
    assert {"mine", "psnr", "30.13", "step 100 of 200", " trained in 1.5 min"} <= set(read.words)
    assert "img" in {tag for tag, _ in read.tags}
    assert embed_thumbnail(tmp_path / "none.png", "none") is None
