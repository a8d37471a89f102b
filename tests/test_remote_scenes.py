"""Scenes behind a server: what is fetched of them, and what a bad line costs."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from rasterio.warp import transform_bounds

from geotrans.scene.access import urls as remote
from geotrans.translation.translate import translate
from tests.helpers.bundles import identity_bundle
from tests.helpers.http_server import RangeServer, serve
from tests.helpers.scenes import write_scene

EDGE, BLOCK = 4096, 256


@pytest.fixture(scope="module")
def www(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a COG that does not compress, 22 MB with its overviews."""
    folder = tmp_path_factory.mktemp("www")
    data = np.random.default_rng(0).integers(0, 256, (1, EDGE, EDGE)).astype("uint8")
    plain = write_scene(
        folder / "plain.tif", bands=["red"], shape=(EDGE, EDGE), data=data, block=BLOCK,
        compress="none",
    )  # fmt: skip
    options = {"driver": "COG", "blocksize": BLOCK, "compress": "none"}
    rasterio.shutil.copy(plain, folder / "scene.tif", **options)
    plain.unlink()
    identity_bundle(folder / "same.safetensors", bands=["red"], halo=8, align=2)
    return folder


@pytest.fixture
def server(www: Path) -> Iterator[RangeServer]:
    with serve(www) as running:
        yield running


def _bbox(www: Path) -> tuple[float, float, float, float]:
    """Two hundredths of the scene, inside three blocks by two, halo included."""
    with rasterio.open(www / "scene.tif") as scene:
        left, top = scene.transform @ (2 * BLOCK + 30, 4 * BLOCK + 30)
        right, bottom = scene.transform @ (5 * BLOCK - 30, 6 * BLOCK - 30)
        return transform_bounds(scene.crs, "EPSG:4326", left, bottom, right, top)


def _product(www: Path, server: RangeServer, out: Path, **choices: Any) -> Any:
    url = f"{server.url}/scene.tif?token=s3cr3t"
    translate(url, www / "same.safetensors", out=out, bbox=_bbox(www), any_gsd=True, **choices)
    with rasterio.open(out) as made, rasterio.open(www / "scene.tif") as scene:
        window = rasterio.windows.from_bounds(*made.bounds, scene.transform).round()
        assert np.array_equal(made.read(), scene.read(window=window))
        return made.shape, made.tags()


def test_a_small_part_costs_a_small_part(www: Path, server: RangeServer, tmp_path: Path) -> None:
    shape, tags = _product(www, server, tmp_path / "out.tif")
    share = shape[0] * shape[1] / EDGE**2
    assert 0.018 < share < 0.025
    assert server.n_bytes < 0.05 * (www / "scene.tif").stat().st_size
    assert tags["GEOTRANS_SOURCE"] == f"{server.url}/scene.tif"
    assert "s3cr3t" not in str(tags)


def test_a_bad_line_costs_attempts_and_not_the_run(
    www: Path, server: RangeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GDAL_HTTP_LOW_SPEED_TIME", "1")
    monkeypatch.setenv("GDAL_HTTP_RETRY_DELAY", "0.01")
    monkeypatch.setattr(remote, "_PAUSES_S", (0.0,) * 4)
    faults = itertools.cycle(["", "", "", "drop", "", "", "", "500", "", "", "", "truncate"])
    server.faults = [next(faults) for _ in range(600)]
    _product(www, server, tmp_path / "out.tif", tile=128)
    assert len(server.faults) < 588, "every fault was met"
    assert [p.name for p in tmp_path.iterdir()] == ["out.tif"]
