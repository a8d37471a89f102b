"""What has changed since it was translated, wherever it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

import geotrans
from tests.helpers.http_server import serve
from tests.helpers.scenes import write_scene
from tests.helpers.store import Bucket


def _scene(folder: Path, value: int) -> bytes:
    data = np.full((3, 24, 32), value, np.uint8)
    return write_scene(folder / "local.tif", data=data, shape=(24, 32)).read_bytes()


def _value(out: Path) -> int:
    with rasterio.open(out / "scene_same.tif") as product:
        return int(product.read(1)[0, 0])


def test_an_object_that_changed_is_done_anew(
    bucket: Bucket, same_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"

    def again() -> Any:
        return geotrans.batch("s3://shelf/scene.tif", task=same_bundle, out=out)

    bucket.put("scene.tif", _scene(tmp_path, 3))
    assert (again().n_new, again().n_new, _value(out)) == (1, 0, 3)
    bucket.put("scene.tif", _scene(tmp_path, 3))
    assert again().n_new == 0, "the same once more is no change"
    bucket.put("scene.tif", _scene(tmp_path, 4))
    assert (again().n_new, again().n_new, _value(out)) == (1, 0, 4)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setattr("geotrans.scene.access.stores._BRIEF_RETRY", {"max_retries": 0})
    assert again().n_new == 0, "a store that does not answer is no sign of a change"
    assert again().counts["done"] == 1


def test_a_file_behind_a_server_that_changed_is_done_anew(
    same_bundle: Path, tmp_path: Path
) -> None:
    out, www = tmp_path / "out", tmp_path / "www"
    www.mkdir()
    with serve(www) as server:
        url = f"{server.url}/scene.tif"
        for value in (3, 4):
            (www / "scene.tif").write_bytes(_scene(tmp_path, value))
            server.etag = f'"{value}"'
            assert geotrans.batch(url, task=same_bundle, out=out).n_new == 1
            assert geotrans.batch(url, task=same_bundle, out=out).n_new == 0
            assert _value(out) == value
    assert geotrans.batch(url, task=same_bundle, out=out).counts["done"] == 1, "it is down now"
