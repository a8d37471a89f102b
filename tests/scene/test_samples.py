"""Sample scenes: drawn once, in the task's style, from vectors as an OSM editor would draw them."""

import pickle
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from geotrans.errors import SceneError
from geotrans.grid import Window, gsd_m
from geotrans.scene import open_scene
from geotrans.scene.raster_map import MapRenderer
from geotrans.scene.samples import list_samples, open_sample, sample_files
from geotrans.scene.style import load_style, palette


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder))
        yield folder


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


@pytest.mark.parametrize("name", list_samples())
def test_samples_show_what_the_style_knows(name: str) -> None:
    map_file, vectors = sample_files(name)
    with open_sample(name) as scene:
        renderer = MapRenderer(vectors, "plain", "EPSG:32611")
        classes = renderer.classes(scene.geobox)
        image = scene.read(Window.whole(scene.shape)).data
        assert (image == renderer.read(scene.geobox)).all()
    shares = np.bincount(classes.ravel(), minlength=9) / classes.size
    names = [name for name, _ in palette(load_style("plain"))]
    found = {name for name, share in zip(names, shares, strict=True) if share > 0.01}
    assert found >= set(names) - ({"alley"} if name == "suburb" else set())
    assert shares.max() < 0.6
    assert map_file.stat().st_size < 500_000


def test_a_sample_is_drawn_once(cache: Path) -> None:
    first, _ = sample_files("town")
    written = first.stat().st_mtime_ns
    assert sample_files("town")[0] == first
    assert first.stat().st_mtime_ns == written
    assert cache in first.parents
    assert not [p for p in first.parent.parent.iterdir() if p.name.startswith(".")]


def test_a_read_only_cache_is_no_obstacle(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("no folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(blocked))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert tmp_path in sample_files("suburb")[0].parents


def test_an_unknown_sample_names_the_nearest() -> None:
    with pytest.raises(
        SceneError, match=r"no sample 'twon'; there are town, suburb.*mean 'town'\?"
    ):
        open_scene("sample:twon")
