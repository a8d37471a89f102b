"""Google's words to a server that speaks them, as Amazon's do too, and Azure's to Azurite."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

from geotrans.archive import Status
from geotrans.archive.batch import batch as translate_all
from geotrans.errors import OutputError
from geotrans.product import upload as targets
from geotrans.product.upload import Target
from geotrans.scene.access.identity import SourceIdentity
from geotrans.scene.access.stores import identify_object, open_store
from geotrans.translation.translate import translate
from tests.helpers.bundles import identity_bundle
from tests.helpers.scenes import write_scene
from tests.helpers.store import Bucket, serve_azure, serve_store

pytest.importorskip("obstore")


@pytest.fixture(scope="module")
def google() -> Iterator[dict[str, str]]:
    """A server whose objects everybody may read, and who has a token may write."""
    with serve_store() as url:
        Bucket(url)
        yield {
            "CPL_GS_ENDPOINT": f"{url}/",
            "GS_NO_SIGN_REQUEST": "YES",
            "GOOGLE_BEARER_TOKEN": "s3cr3t",
        }


@pytest.fixture(scope="module")
def azure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Azurite; only who has the key of its account may read or write."""
    try:
        with serve_azure(tmp_path_factory.mktemp("azurite"), "shelf") as words:
            yield {"AZURE_STORAGE_CONNECTION_STRING": words}
    except FileNotFoundError:
        pytest.skip("Azurite is not installed: npm install -g azurite")


@pytest.fixture(params=["gs", "az"])
def shelf(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """URL of an empty bucket, to which the environment has the keys."""
    found = request.getfixturevalue({"gs": "google", "az": "azure"}[request.param])
    for name, value in found.items():
        monkeypatch.setenv(name, value)
    url = f"{request.param}://shelf"
    for key in _keys(url):
        open_store(url).delete(key)
    return url


def _keys(url: str) -> list[str]:
    return sorted(found["path"] for found in open_store(url).list().collect())


def _put(url: str, key: str, value: int, folder: Path) -> np.ndarray[Any, Any]:
    """A scene in a bucket whose pixels all have one value."""
    data = np.full((3, 70, 80), value, np.uint8)
    data[:, :, :40] += 1
    file = write_scene(folder / "local.tif", data=data, shape=(70, 80))
    open_store(url).put(key, file.read_bytes())
    return data


@pytest.fixture
def task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A task that changes nothing; and a folder to be in."""
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    return identity_bundle(tmp_path / "same.safetensors")


def test_from_a_store_to_the_same_store(shelf: str, task: Path, tmp_path: Path) -> None:
    data = _put(shelf, "a b/sc\u00e4ne.tif", 5, tmp_path)
    product = translate(f"{shelf}/a b/sc\u00e4ne.tif", task, out=f"{shelf}/new/town.tif", tile=48)
    assert product.path == f"{shelf}/new/town.tif"
    assert _keys(shelf) == ["a b/sc\u00e4ne.tif", "new/town.tif"]
    assert not list(Path.cwd().iterdir())
    content = bytes(open_store(shelf).get("new/town.tif").bytes())
    with rasterio.MemoryFile(content) as memory, memory.open() as made:
        assert np.array_equal(made.read(), data)
        tags = json.dumps(made.tags())
    assert identify_object(f"{shelf}/a b/sc\u00e4ne.tif").value in tags
    assert not any(secret in tags for secret in ("s3cr3t", "Eby8vdM02", "AccountKey"))
    with pytest.raises(OutputError, match=rf"{shelf}/new/town.tif exists; replace it with"):
        translate(f"{shelf}/a b/sc\u00e4ne.tif", task, out=f"{shelf}/new/town.tif")


class _Cut:
    """A file that is read to its second piece, and no farther."""

    def __init__(self, path: Path) -> None:
        self.path, self.n = path, 0

    def stat(self) -> Any:
        return self.path.stat()

    def open(self, mode: str) -> Any:
        return self

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_: Any) -> None:
        pass

    def read(self, n_bytes: int) -> bytes:
        self.n += 1
        if self.n == 3:
            raise OSError("the disk is gone")
        return bytes(n_bytes)


def test_uploaded_in_pieces_whole_or_not_at_all(
    shelf: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(targets, "_PIECE_BYTES", 5 * 2**20)
    content = np.random.default_rng(0).bytes(12_000_000)
    (tmp_path / "large.tif").write_bytes(content)
    target = Target(f"{shelf}/large.tif")
    with pytest.raises(OutputError, match=rf"{shelf}/large.tif cannot be written: .*is gone"):
        target.upload(_Cut(tmp_path / "large.tif"))  # type: ignore[arg-type]
    assert not _keys(shelf)
    target.upload(tmp_path / "large.tif")
    assert bytes(open_store(shelf).get("large.tif").bytes()) == content


def test_a_failed_upload_keeps_the_tiles(
    shelf: str, task: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _put(shelf, "scene.tif", 5, tmp_path)
    send = Target.upload

    def failing(target: Target, file: Path) -> None:
        raise OutputError("the line was cut")

    monkeypatch.setattr(Target, "upload", failing)
    with pytest.raises(OutputError, match=r"line was cut; 4 of 4 tiles are kept"):
        translate(f"{shelf}/scene.tif", task, out=f"{shelf}/town.tif", tile=48)
    assert _keys(shelf) == ["scene.tif"]
    monkeypatch.setattr(Target, "upload", send)
    product = translate(f"{shelf}/scene.tif", task, out=f"{shelf}/town.tif", tile=48)
    assert product.n_resumed == 4
    assert _keys(shelf) == ["scene.tif", "town.tif"]


def test_a_bucket_that_is_not_there_is_told_before_any_work(
    shelf: str, task: Path, tmp_path: Path
) -> None:
    scene, scheme = write_scene(tmp_path / "scene.tif"), shelf.partition(":")[0]
    with pytest.raises(OutputError, match="there is no bucket 'nowhere'; make it first"):
        translate(scene, task, out=f"{scheme}://nowhere/town.tif")
    assert not list(Path.cwd().iterdir())


def test_an_archive_sees_what_changed(shelf: str, task: Path, tmp_path: Path) -> None:
    urls = [f"{shelf}/in/{name}.tif" for name in "abc"]
    for value, name in enumerate("ab"):
        _put(shelf, f"in/{name}.tif", value, tmp_path)

    def run() -> Status:
        return translate_all(urls, task, out=tmp_path / "out")

    state = run()
    assert (state.n_new, [failure.name for failure in state.failures]) == (2, ["c"])
    assert run().n_new == 0
    changed = _put(shelf, "in/b.tif", 7, tmp_path)
    assert run().n_new == 1
    with rasterio.open(tmp_path / "out" / "b_same.tif") as made:
        assert np.array_equal(made.read(), changed)


def test_an_archive_goes_to_a_store(shelf: str, task: Path, tmp_path: Path) -> None:
    sources = [write_scene(tmp_path / f"{name}.tif", shape=(24, 32)) for name in "ab"]

    def run() -> Status:
        return translate_all(sources, task, out=f"{shelf}/deep/maps")

    made = {f"deep/maps/{name}_same.{end}" for name in "ab" for end in ("json", "png", "tif")}
    made |= {f"deep/maps/{name}" for name in ("collection.json", "models/collection.json")}
    made.add("deep/maps/models/same.json")
    assert (run().n_new, run().n_new, set(_keys(shelf))) == (2, 0, made)
    assert _names_here() == ["shelf_deep_maps", "shelf_deep_maps/journal.sqlite"]
    open_store(shelf).delete("deep/maps/a_same.tif")
    _put(shelf, "deep/maps/c_same.tif", 5, tmp_path)
    sources.append(write_scene(tmp_path / "c.tif"))
    state = run()
    assert (state.n_new, [failure.name for failure in state.failures]) == (1, ["c"])
    assert f"{shelf}/deep/maps/c_same.tif exists and is not of this job" in str(state)
    with pytest.raises(OutputError, match="there is no bucket 'nowhere'; make it first"):
        translate_all(sources, task, out=f"{shelf.partition(':')[0]}://nowhere/maps")
    assert _names_here() == ["shelf_deep_maps", "shelf_deep_maps/journal.sqlite"]


def _names_here() -> list[str]:
    here = Path.cwd()
    return sorted(path.relative_to(here).as_posix() for path in here.rglob("*"))


_STRING = "AccountName=us;AccountKey=a2V5;EndpointSuffix=core.chinacloudapi.cn"
_SIGNED = "BlobEndpoint=https://us.blob.core.windows.net/;SharedAccessSignature=sv=1&sig=2"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (
            {"AZURE_STORAGE_ACCOUNT": "us", "AZURE_STORAGE_ACCESS_KEY": "a2V5"},
            {"account_name": "us"},  # The key it finds itself.
        ),
        (
            {"AZURE_STORAGE_CONNECTION_STRING": _STRING, "AZURE_STORAGE_ACCOUNT": "them"},
            {"account_name": "us", "endpoint": "https://us.blob.core.chinacloudapi.cn"},
        ),
        (
            {"AZURE_STORAGE_CONNECTION_STRING": _SIGNED},
            {"account_name": "us", "sas_key": "sv=1&sig=2"},
        ),
        (
            {"AZURE_STORAGE_ACCOUNT": "us", "AZURE_NO_SIGN_REQUEST": "YES"},
            {"account_name": "us", "skip_signature": "true"},
        ),
    ],
)
def test_what_gdal_knows_of_azure(
    given: dict[str, str], expected: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    assert expected.items() <= open_store("az://shelf/x").config.items()


@pytest.mark.parametrize(
    ("scheme", "given", "told"),
    [
        ("az", {}, "the environment names no account; set AZURE_STORAGE_CONNECTION_STRING"),
        (
            "gs",
            {"GS_ACCESS_KEY_ID": "us", "GS_SECRET_ACCESS_KEY": "s3cr3t"},
            "can only be read; name a file of credentials in GOOGLE_APPLICATION_CREDENTIALS",
        ),
    ],
)
def test_what_cannot_write_is_told_at_once(
    scheme: str,
    given: dict[str, str],
    told: str,
    task: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    out = f"{scheme}://shelf/town.tif"
    with pytest.raises(OutputError, match=rf"{out} cannot be written: .*{told}") as caught:
        translate(write_scene(tmp_path / "scene.tif"), task, out=out)
    assert "s3cr3t" not in str(caught.value)
    assert identify_object(out) == SourceIdentity("uri", out)
