from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import rasterio
import rasterio.shutil

from geotrans.errors import SceneError
from geotrans.grid import Window
from geotrans.scene import open_scene
from geotrans.scene.access import urls as remote
from geotrans.scene.access.urls import gdal_env, is_remote, strip_secrets
from tests.helpers.http_server import RangeServer, serve

MakeScene = Callable[..., Path]


@pytest.fixture
def noisy(make_scene: MakeScene, tmp_path: Path) -> Path:
    """A COG of 1536 x 1536 px that does not compress, 7 MB, in a folder of its own."""
    rng = np.random.default_rng(0)
    data = rng.integers(0, 256, (3, 1536, 1536)).astype("uint8")
    plain = make_scene(shape=(1536, 1536), data=data, block=256, compress="none")
    folder = tmp_path / "www"
    folder.mkdir()
    rasterio.shutil.copy(
        plain, folder / "scene.tif", driver="COG", blocksize=256, compress="deflate"
    )
    return folder / "scene.tif"


@pytest.fixture
def server(noisy: Path) -> Iterator[RangeServer]:
    with serve(noisy.parent) as running:
        yield running


def test_reading_a_window_fetches_that_window(server: RangeServer, noisy: Path) -> None:
    scene = open_scene(f"{server.url}/scene.tif")
    header = server.n_bytes
    assert header < 200_000
    window = Window(1024, 512, 256, 256)
    patch = scene.read(window)
    with rasterio.open(noisy) as truth:
        expected = truth.read()[:, *window.slices]
    assert np.array_equal(patch.data, expected)
    assert patch.valid.all()
    # One block of 256 x 256 x 3 incompressible bytes, and what lies between ranges.
    assert server.n_bytes - header < 1.3 * 256 * 256 * 3
    assert server.n_bytes < 0.05 * noisy.stat().st_size
    before = server.n_bytes
    scene.read(window)
    assert server.n_bytes == before


def test_no_folder_is_listed_and_nothing_beside_the_scene_fetched(server: RangeServer) -> None:
    open_scene(f"{server.url}/scene.tif").read(Window(0, 0, 10, 10))
    assert "/" not in server.paths
    # GDAL asks whether there is an attribute table; that is one answer without content.
    assert server.paths <= {"/scene.tif", "/scene.tif.vat.dbf"}
    assert len(server.requests) <= 5


def test_an_overview_is_read_from_the_files_overviews(server: RangeServer, noisy: Path) -> None:
    patch = open_scene(f"{server.url}/scene.tif").overview(256)
    assert patch.data.shape == (3, 256, 256)
    assert server.n_bytes < 0.1 * noisy.stat().st_size


def test_the_scene_is_named_by_its_url(server: RangeServer) -> None:
    scene = open_scene(f"{server.url}/scene.tif?token=secret")
    assert scene.name == "scene"
    assert scene.public_uri == f"{server.url}/scene.tif"
    assert scene.uri.endswith("secret")


def test_identity_is_the_etag(server: RangeServer) -> None:
    assert str(open_scene(f"{server.url}/scene.tif").identity) == "etag:v1"


def test_identity_without_etag_says_so(noisy: Path) -> None:
    with serve(noisy.parent, etag=None) as server:
        identity = open_scene(f"{server.url}/scene.tif").identity
    assert identity.kind == "uri"
    assert identity.value == f"{server.url}/scene.tif"


def test_a_hiccup_is_retried(server: RangeServer) -> None:
    scene = open_scene(f"{server.url}/scene.tif")
    server.failures = 1
    assert scene.read(Window(300, 900, 20, 20)).data.shape == (3, 20, 20)


@pytest.mark.parametrize("fault", ["500", "drop", "truncate", "stall"])
def test_what_goes_wrong_now_and_then_costs_another_attempt(
    server: RangeServer, noisy: Path, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GDAL_HTTP_LOW_SPEED_TIME", "1")
    monkeypatch.setattr(remote, "_PAUSES_S", (0.0, 0.0, 0.0))
    scene = open_scene(f"{server.url}/scene.tif")
    with rasterio.open(noisy) as truth:
        expected = truth.read()
    # Windows that no request before has touched.
    for row in (300, 900):
        window = Window(300, row, 200, 100)
        server.faults[:] = [fault]
        assert np.array_equal(scene.read(window).data, expected[:, *window.slices])
        assert not server.faults
    server.faults[:] = [fault]
    # Another name, of which GDAL has kept nothing.
    (noisy.parent / "again.tif").symlink_to(noisy)
    again = open_scene(f"{server.url}/again.tif")
    assert np.array_equal(again.read(window).data, expected[:, *window.slices])
    assert not server.faults


def test_what_always_goes_wrong_is_told(
    server: RangeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "_PAUSES_S", (0.0, 0.0))
    scene = open_scene(f"{server.url}/scene.tif?key=secret")
    server.faults[:] = ["drop"] * 100
    with pytest.raises(SceneError, match=r"scene\.tif cannot be read at columns 300") as caught:
        scene.read(Window(300, 900, 20, 20))
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("query", "until"),
    [
        ("X-Amz-Date=20260102T030405Z&X-Amz-Expires=60&X-Amz-Signature=s", "2026-01-02 03:05:05"),
        ("X-Goog-Date=20260102T030405Z&X-Goog-Expires=1&X-Goog-Signature=s", "2026-01-02 03:04:06"),
        ("AWSAccessKeyId=k&Expires=1767323045&Signature=s", "2026-01-02 03:04:05"),
        ("sv=2024-11-04&se=2026-01-02T03%3A04%3A05Z&sig=s", "2026-01-02 03:04:05"),
    ],
)
def test_an_expired_signature_is_said(server: RangeServer, query: str, until: str) -> None:
    server.denied = True
    with pytest.raises(SceneError, match=f"403.*expired at {until} UTC, so sign") as caught:
        open_scene(f"{server.url}/signed.tif?{query}")
    assert "=s" not in str(caught.value)


@pytest.mark.parametrize("query", ["", "se=soon&sig=s", "Expires=1e99", f"Expires={2**40}", "v=1"])
def test_a_url_whose_signature_did_not_expire(server: RangeServer, query: str) -> None:
    server.denied = True
    with pytest.raises(SceneError, match="403") as caught:
        open_scene(f"{server.url}/denied.tif?{query}")
    assert "expired" not in str(caught.value)


def test_a_missing_remote_file_is_said(server: RangeServer) -> None:
    with pytest.raises(SceneError, match=r"nowhere\.tif cannot be opened.*404") as caught:
        open_scene(f"{server.url}/nowhere.tif?key=secret")
    assert "secret" not in str(caught.value)


def test_a_server_that_is_not_there_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GDAL_HTTP_MAX_RETRY", "0")
    with pytest.raises(SceneError, match="cannot be opened as a raster"):
        open_scene("http://127.0.0.1:9/scene.tif")


def test_a_setting_of_the_user_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GDAL_DISABLE_READDIR_ON_OPEN", "FALSE")
    with gdal_env("https://example.org/a.tif"):
        options = rasterio.env.getenv()
    assert "GDAL_DISABLE_READDIR_ON_OPEN" not in options
    assert options["GDAL_HTTP_MAX_RETRY"] == "4"


@pytest.mark.parametrize(
    ("uri", "remote", "shown"),
    [
        ("https://me:pw@host.org/a.tif?sig=1#x", True, "https://host.org/a.tif"),
        ("s3://bucket/a.tif", True, "s3://bucket/a.tif"),
        ("/vsicurl/https://host.org/a.tif?sig=1", True, "/vsicurl/https://host.org/a.tif"),
        ("/vsizip/a.zip/b.tif", False, "/vsizip/a.zip/b.tif"),
        ("data/what?.tif", False, "data/what?.tif"),
    ],
)
def test_what_is_remote_and_what_may_be_shown(uri: str, remote: bool, shown: str) -> None:
    assert is_remote(uri) == remote
    assert strip_secrets(uri) == shown
