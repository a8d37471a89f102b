"""Objects in a store: read where the environment says it is, and known by their etags."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from geotrans.grid import Window
from geotrans.scene import open_scene
from geotrans.scene.access.identity import SourceIdentity
from geotrans.scene.access.stores import identify_object, is_object
from tests.helpers.scenes import write_scene
from tests.helpers.store import Bucket

URL = "s3://shelf/a b/scene.tif"
KEY = "a%20b/scene.tif"


def _put(bucket: Bucket, folder: Path, value: int) -> None:
    data = np.full((3, 32, 32), value, np.uint8)
    bucket.put(KEY, write_scene(folder / "local.tif", data=data, shape=(32, 32)).read_bytes())


def _read() -> tuple[SourceIdentity, int]:
    with open_scene(URL) as scene:
        return scene.identity, int(scene.read(Window(0, 0, 2, 2)).data[0, 0, 0])


def test_another_object_of_that_name_is_seen(bucket: Bucket, tmp_path: Path) -> None:
    found = []
    for value in (3, 4, 3):
        _put(bucket, tmp_path, value)
        found.append(_read())
    assert [value for _, value in found] == [3, 4, 3], "and not what was fetched before"
    assert {identity.kind for identity, _ in found} == {"etag"}
    assert found[0] == found[2] != found[1]
    assert identify_object("/vsis3/shelf/a b/scene.tif") == found[0][0]


@pytest.mark.parametrize("unset", ["AWS_ENDPOINT_URL", None])
def test_as_gdal_names_the_store_and_without_keys(
    bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unset: str | None
) -> None:
    _put(bucket, tmp_path, 5)
    known = _read()
    if unset:
        monkeypatch.delenv(unset)
        monkeypatch.setenv("AWS_S3_ENDPOINT", bucket.server.removeprefix("http://"))
        monkeypatch.setenv("AWS_HTTPS", "NO")
        monkeypatch.setenv("AWS_VIRTUAL_HOSTING", "FALSE")
        assert _read() == known
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_NO_SIGN_REQUEST", "YES")
    assert _read() == known


def test_a_store_that_does_not_tell(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    assert identify_object(URL) == SourceIdentity("uri", URL), "there is no such object"
    monkeypatch.setitem(__import__("sys").modules, "obstore.store", None)
    assert identify_object(URL) == SourceIdentity("uri", URL)


def test_what_is_in_a_store() -> None:
    assert all(map(is_object, ("s3://b/k", "gs://b/k", "az://b/k", "/vsigs/b/k")))
    assert not any(map(is_object, ("https://h/k", "/data/s3/k", "sample:suburb", "/vsizip/a.zip")))
