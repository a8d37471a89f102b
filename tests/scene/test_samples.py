"""Samples: drawn once, in the task's style, from vectors as an OSM editor would draw them."""

import pickle
from pathlib import Path

import numpy as np
import pyogrio
import pytest
import rasterio

from benchmarks.samples.draw import PLACES, draw, draw_photograph
from geotrans.errors import SceneError
from geotrans.grid import Window, gsd_m
from geotrans.labelling.scene import LabelScene
from geotrans.maps.renderer import MapRenderer
from geotrans.maps.style import load_style, palette
from geotrans.scene import open_scene
from geotrans.scene.samples import list_samples, open_sample, sample_files


def test_the_town_is_a_scene_like_any_other() -> None:
    with open_scene("sample:town") as scene:
        assert scene.uri == "sample:town"
        assert scene.name == "town"
        assert scene.shape == (900, 1200)
        assert scene.geobox.crs is not None
        assert scene.geobox.crs.epsg == 32611
        assert gsd_m(scene.geobox) == pytest.approx(0.6)
        assert [band.name for band in scene.bands] == ["red", "green", "blue"]
        assert scene.tags["GEOTRANS_STYLE"] == "plain"
        assert scene.identity.kind == "sha256"
        patch = scene.read(Window.whole(scene.shape))
        assert patch.valid.all()
        copy = pickle.loads(pickle.dumps(scene))
        assert copy.uri == "sample:town"
        assert (copy.read(Window(5, 6, 7, 8)).data == patch.data[:, 6:14, 5:12]).all()


@pytest.mark.parametrize("name", PLACES)
def test_samples_show_what_the_style_knows(name: str) -> None:
    map_file, vectors = sample_files(name)
    with open_sample(name) as scene:
        renderer = MapRenderer(vectors, "plain", "EPSG:32611")
        classes = renderer.draw_classes(scene.geobox)
        image = scene.read(Window.whole(scene.shape)).data
        assert (image == renderer.read(scene.geobox)).all()
    shares = np.bincount(classes.ravel(), minlength=9) / classes.size
    names = [name for name, _ in palette(load_style("plain"))]
    found = {name for name, share in zip(names, shares, strict=True) if share > 0.01}
    assert found >= set(names) - ({"alley"} if name == "suburb" else set())
    assert shares.max() < 0.6
    assert map_file.stat().st_size < 500_000


@pytest.mark.parametrize("name", PLACES)
def test_a_fresh_drawing_equals_the_shipped_one(name: str, tmp_path: Path) -> None:
    drawn = draw(PLACES[name](), tmp_path)
    assert PLACES[name]().title == list_samples()[name]
    with rasterio.open(drawn[0]) as fresh, rasterio.open(sample_files(name)[0]) as shipped:
        assert (fresh.read() == shipped.read()).all()
        assert (fresh.transform, fresh.crs) == (shipped.transform, shipped.crs)
        assert fresh.tags()["GEOTRANS_PALETTE"] == shipped.tags()["GEOTRANS_PALETTE"]
    for layer in pyogrio.list_layers(drawn[1])[:, 0]:
        fresh, shipped = (pyogrio.raw.read(files[1], layer=layer) for files in
                          (drawn, sample_files(name)))  # fmt: skip
        assert list(fresh[2]) == list(shipped[2])
        for a, b in zip(fresh[3], shipped[3], strict=True):
            assert list(a) == list(b)


def test_the_photograph_lies_on_the_map_and_looks_like_one() -> None:
    with open_sample("town_photo") as photo, open_sample("town") as town:
        assert photo.geobox == town.geobox
        assert [band.name for band in photo.bands] == ["red", "green", "blue", "nir"]
        assert photo.name == "town_photo"
        patch = photo.read(Window.whole(photo.shape))
        covers = LabelScene(photo, "landcover")
        cover = covers.read(Window.whole(photo.shape)).data[0]
    assert patch.valid.all()
    assert patch.data.std(axis=(1, 2)).min() > 15
    shares = np.bincount(cover.ravel(), minlength=8) / cover.size
    found = {one.name for one, share in zip(covers.classes, shares, strict=False) if share > 0.005}
    assert {"tree", "grass", "bright roof", "red roof", "paved", "shadow"} <= found
    assert sample_files("town_photo")[0].stat().st_size < 1_000_000


def test_a_fresh_photograph_equals_the_shipped_one(tmp_path: Path) -> None:
    drawn = draw_photograph(PLACES["town"](), sample_files("town")[1], tmp_path)
    (shipped,) = sample_files("town_photo")
    assert drawn.name == shipped.name
    with rasterio.open(drawn) as fresh, rasterio.open(shipped) as kept:
        assert (fresh.read() == kept.read()).all()
        assert (fresh.transform, fresh.crs) == (kept.transform, kept.crs)
        assert fresh.descriptions == kept.descriptions


def test_every_sample_opens() -> None:
    for name in list_samples():
        assert all(path.is_file() for path in sample_files(name))
        with open_scene(f"sample:{name}") as scene:
            assert scene.uri == f"sample:{name}"


def test_an_unknown_sample_names_the_nearest() -> None:
    with pytest.raises(
        SceneError, match=r"no sample 'twon'; there are town, suburb.*mean 'town'\?"
    ):
        open_scene("sample:twon")
