"""Uploads to a real S3 server of this machine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

from geotrans.cli.main import run
from geotrans.errors import OutputError, UsageError
from geotrans.product import upload as targets
from geotrans.product.upload import Target
from geotrans.translation.translate import translate
from tests.helpers.bundles import identity_bundle
from tests.helpers.store import Bucket

obstore = pytest.importorskip("obstore")


@pytest.fixture
def scene_folder(make_scene: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to be in, with a scene and a task that changes nothing."""
    make_scene(shape=(120, 130), name="scene.tif")
    identity_bundle(tmp_path / "same.safetensors")
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    return tmp_path


def _make(place: Path, **choices: Any) -> Any:
    return translate(
        place / "scene.tif", place / "same.safetensors", out="s3://shelf/new/town.tif", tile=48,
        **choices,
    )  # fmt: skip


def test_a_product_is_uploaded_and_nothing_left(scene_folder: Path, bucket: Bucket) -> None:
    product = _make(scene_folder)
    assert product.path == "s3://shelf/new/town.tif"
    assert bucket.keys() == ["new/town.tif"]
    assert not list(Path.cwd().iterdir())
    with (
        rasterio.MemoryFile(bucket.get("new/town.tif")) as memory,
        memory.open() as made,
        rasterio.open(scene_folder / "scene.tif") as scene,
    ):
        assert np.array_equal(made.read(), scene.read())
        assert "s3cr3t" not in json.dumps(made.tags())


def test_the_command_prints_urls(
    scene_folder: Path, bucket: Bucket, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["translate", scene_folder / "scene.tif", "-t", scene_folder / "same.safetensors"]
    assert run([*map(str, words), "-o", "s3://shelf/a b/ä.tif"]) == 0
    assert capsys.readouterr().out.split("\n")[:2] == [
        "s3://shelf/a b/ä.tif",
        "s3://shelf/a b/ä.png",
    ]
    assert len(bucket.keys()) == 2


def test_large_files_go_in_pieces(
    bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(targets, "_PIECE_BYTES", 5 * 2**20)
    content = np.random.default_rng(0).bytes(12_000_000)
    (tmp_path / "large.tif").write_bytes(content)
    Target("s3://shelf/large.tif").upload(tmp_path / "large.tif")
    assert bucket.get("large.tif") == content
    assert not bucket.unfinished()


class _Cut:
    """A file that cannot be read to its end."""

    def __init__(self, path: Path, error: type[BaseException]) -> None:
        self.path, self.error = path, error

    def stat(self) -> Any:
        return self.path.stat()

    def open(self, mode: str) -> Any:
        file, error = self.path.open("rb"), self.error

        class Reader:
            n = 0

            def __enter__(self) -> Any:
                return self

            def __exit__(self, *_: Any) -> None:
                file.close()

            def read(self, n_bytes: int) -> bytes:
                self.n += 1
                if self.n == 3:
                    raise error("the disk is gone")
                return file.read(n_bytes)

        return Reader()


def test_an_upload_that_fails_leaves_nothing(
    bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(targets, "_PIECE_BYTES", 5 * 2**20)
    (tmp_path / "large.tif").write_bytes(bytes(20_000_000))
    with pytest.raises(OutputError, match=r"s3://shelf/large.tif cannot be written: .*is gone"):
        Target("s3://shelf/large.tif").upload(_Cut(tmp_path / "large.tif", OSError))  # type: ignore[arg-type]
    assert not bucket.keys()
    assert not bucket.unfinished()


def test_a_failed_upload_keeps_the_tiles_and_the_same_command_goes_on(
    scene_folder: Path, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    send = Target.upload

    def failing(target: Target, file: Path) -> None:
        if target.key.endswith(".tif"):
            raise OutputError("the line was cut")
        send(target, file)

    monkeypatch.setattr(Target, "upload", failing)
    with pytest.raises(
        OutputError, match=r"line was cut; 9 of 9 tiles are kept in .*here/shelf_new"
    ):
        _make(scene_folder, preview=True)
    assert not bucket.keys(), "the preview was taken back"
    monkeypatch.setattr(Target, "upload", send)
    assert _make(scene_folder, preview=True).n_resumed == 9
    assert bucket.keys() == ["new/town.png", "new/town.tif"]
    assert not list(Path.cwd().iterdir())


def test_nothing_is_replaced_unless_asked(scene_folder: Path, bucket: Bucket) -> None:
    _make(scene_folder)
    before = bucket.get("new/town.tif")
    with pytest.raises(OutputError, match=r"s3://shelf/new/town.tif exists; replace it with"):
        _make(scene_folder)
    assert bucket.get("new/town.tif") == before
    _make(scene_folder, overwrite=True)


def test_a_store_that_is_not_there_is_told_before_any_work(
    scene_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "https://127.0.0.1:9")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "somebody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s3cr3t")
    monkeypatch.setattr("geotrans.scene.access.stores._PATIENT_RETRY", {"max_retries": 0})
    with pytest.raises(OutputError, match=r"s3://shelf/new/town.tif cannot be written") as caught:
        _make(scene_folder)
    assert "s3cr3t" not in str(caught.value)
    assert not list(Path.cwd().iterdir())


@pytest.mark.parametrize(
    ("out", "told"),
    [
        ("https://host/x.tif", "nothing can be uploaded to https://host/x.tif"),
        ("s3://me:pw@shelf/x.tif", "keys belong into the environment"),
        ("s3://shelf/x.tif?sig=1", "keys belong into the environment"),
        ("s3://shelf", "names no product"),
        ("s3://shelf/folder/", "names no product"),
        ("s3://shelf/x.png", "must end in .tif"),
    ],
)
def test_what_cannot_be_a_target(scene_folder: Path, out: str, told: str) -> None:
    with pytest.raises(UsageError, match=told) as caught:
        translate(scene_folder / "scene.tif", scene_folder / "same.safetensors", out=out)
    assert "pw" not in str(caught.value)
