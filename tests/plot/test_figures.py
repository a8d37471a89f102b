"""Figures: drawn on the axes that are given, where things lie, in one stretch."""

from __future__ import annotations

import builtins
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib import pyplot

import geotrans
from geotrans import plot
from geotrans.errors import ExtraError, SceneError, UsageError
from geotrans.scene import open_scene
from tests.helpers.bundles import identity_bundle

MakeScene = Callable[..., Path]


@pytest.fixture(autouse=True)
def _no_window() -> Iterator[None]:
    mpl.use("Agg")
    yield
    pyplot.close("all")


def _pixels(ax: Any) -> np.ndarray:
    return np.asarray(ax.images[0].get_array())


def test_a_scene_is_drawn_where_it_lies(make_scene: MakeScene) -> None:
    path = make_scene(shape=(48, 64), gsd_m=10.0, origin=(500_000, 4_000_000))
    ax = plot.scene(path, title="coded")
    assert ax.get_xlim() == (500_000, 500_640)
    assert ax.get_ylim() == (4_000_000 - 480, 4_000_000)
    assert ax.get_xlabel() == "easting, m"
    assert ax.get_title() == "coded"
    ax.figure.canvas.draw()
    drawn = [text.get_text() for text in ax.texts]
    assert drawn == ["100 m"], "a quarter of 640 m, rounded down"
    bar = ax.lines[-1].get_xdata()
    assert bar[1] - bar[0] == pytest.approx(100 / 640, rel=5e-3)


def test_a_legend_names_the_classes(make_scene: MakeScene) -> None:
    axes = plot.compare(make_scene(), make_scene())
    palette = geotrans.open_bundle("aerial2map").spec.palette
    assert palette
    assert plot.add_legend(palette, axes[0]) is axes[0]
    (legend,) = axes[0].figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [one.name for one in palette]
    colors = [patch.get_facecolor()[:3] for patch in legend.get_patches()]
    assert np.allclose(colors, np.array([one.color for one in palette]) / 255)


def test_degrees_and_rotation(make_scene: MakeScene) -> None:
    ax = plot.scene(make_scene(crs="EPSG:4326"))
    assert ax.get_ylabel() == "latitude, °"
    turned = open_scene(make_scene(rotation=20.0))
    ax = plot.scene(turned, scale_bar=False, graticule=False)
    corner = ax.images[0].get_transform().transform((0, 0))
    at = ax.transData.inverted().transform(corner)
    assert np.allclose(at, turned.geobox.affine @ (0, 0), rtol=1e-9)
    plain = plot.scene(make_scene(crs=None))
    assert plain.get_xlabel() == "px"
    assert list(plain.texts) == []


def test_what_is_compared_is_stretched_alike(make_scene: MakeScene) -> None:
    dark = np.full((3, 20, 20), 100, "uint16")
    dark[:, :10] = 50
    paths = [make_scene(shape=(20, 20), dtype="uint16", data=dark * k) for k in (1, 2)]
    axes = plot.compare(*paths, titles=["one", "two"])
    left, right = (_pixels(ax) for ax in axes)
    assert np.array_equal(left[0], right[0]) is False
    assert np.array_equal(left[0, 0], right[0, 0]) is False
    assert np.array_equal(left[-1], right[0]), "100 is as bright on either side"
    assert [ax.get_title() for ax in axes] == ["one", "two"]
    given = pyplot.subplots(1, 2)[1]
    assert list(plot.compare(*paths, ax=given)) == list(given)
    with pytest.raises(UsageError, match="2 scenes on 1 axes"):
        plot.compare(*paths, ax=[pyplot.subplots()[1]])


def test_a_difference_has_a_sign_and_a_size(make_scene: MakeScene) -> None:
    truth = np.full((3, 20, 20), 100, "uint8")
    product = truth.copy()
    product[0, :10] += 30
    one, other = (make_scene(shape=(20, 20), data=data) for data in (product, truth))
    ax = plot.difference(one, other, band="red")
    assert _pixels(ax)[0, 0] == 30
    assert "RMS 21.2" in ax.get_title()
    assert ax.images[0].get_clim() == (-30, 30)
    assert _pixels(plot.difference(one, other))[0, 0] == 10
    with pytest.raises(SceneError, match="bring them to one grid"):
        plot.difference(one, make_scene(shape=(20, 21)))
    with pytest.raises(SceneError, match="has no band 'nir'; it has red, green, blue"):
        plot.difference(one, other, band="nir")


def test_histograms_add_up(make_scene: MakeScene) -> None:
    given = pyplot.subplots()[1]
    ax = plot.histograms(make_scene(), make_scene(bands=1), ax=given, titles=["a", "b"], bins=16)
    assert ax is given
    assert len(ax.lines) == 4
    for line in ax.lines:
        assert np.sum(line.get_ydata()) == pytest.approx(1)
    assert [line.get_color() for line in ax.lines[:3]] == ["red", "green", "blue"]


def test_plans_over_their_scene(make_scene: MakeScene) -> None:
    scene = open_scene(make_scene(shape=(48, 64)))
    tiles = geotrans.plan_tiles(scene.shape, tile=16, halo=4, align=4)
    ax = plot.plan(tiles, scene)
    assert len(ax.patches) == len(tiles) + 1
    corners = ax.patches[0].get_xy()[0]
    assert np.allclose(corners, scene.geobox.affine @ (0, 0))
    alone = plot.plan(tiles)
    assert alone.get_xlabel() == "column, px"
    assert alone.yaxis_inverted()


def test_places_of_a_run(make_scene: MakeScene, tmp_path: Path) -> None:
    import geopandas as gpd
    import shapely

    scene = open_scene(make_scene())
    box = scene.geobox.extent.boundingbox
    outlines = gpd.GeoDataFrame(
        {"split": ["train", "train", "val"]},
        geometry=[
            shapely.box(box.left + i, box.bottom, box.left + i + 1, box.top) for i in range(3)
        ],
        crs=str(scene.geobox.crs),
    )
    outlines.to_crs(4326).to_file(tmp_path / "places.geojson")
    ax = plot.places(tmp_path)
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["train (2)", "val (1)"]
    assert ax.get_xlabel() == "longitude, °"
    over = plot.places(outlines, over=scene)
    assert over.get_xlabel() == "easting, m"
    with pytest.raises(SceneError, match="nothing is not there; give the folder of a run"):
        plot.places(tmp_path / "nothing")


def test_sheets(tmp_path: Path) -> None:
    ax = plot.sheet("cir2rgb")
    assert ax.get_title(loc="left").startswith("cir2rgb: ")
    with pytest.raises(UsageError, match="no sheet of samples beside it"):
        plot.sheet(identity_bundle(tmp_path / "same.safetensors"))


def test_without_matplotlib(make_scene: MakeScene, monkeypatch: pytest.MonkeyPatch) -> None:
    import_ = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return import_(name, *rest)

    for name in [name for name in sys.modules if name.startswith("matplotlib")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ExtraError, match=r'pip install "geotrans\[notebook\]"'):
        plot.scene(make_scene())
