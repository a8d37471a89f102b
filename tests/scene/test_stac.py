"""A STAC Item as a scene: which assets, on which grid, and what a mask leaves out."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from geotrans.errors import BandError, UsageError
from geotrans.grid import Window
from geotrans.scene import open_scene, warp_to_grid
from geotrans.scene.stac import Mask, open_item, parse_mask
from geotrans.tasks import BandSpec

MakeScene = Callable[..., Path]
RED, NIR = BandSpec(name="red"), BandSpec(name="nir")


def _item(**assets: dict[str, Any]) -> dict[str, Any]:
    assets = {key: {"type": "image/tiff", **asset} for key, asset in assets.items()}
    return {"type": "Feature", "id": "it", "properties": {}, "assets": assets, "links": []}


def _whole(scene: Any) -> Any:
    return scene.read(Window.whole(scene.shape))


@pytest.mark.parametrize(
    "described",
    [
        {"bands": [{"name": "B8"}, {"name": "B4", "eo:common_name": "red", "raster:scale": 2}]},
        {
            "eo:bands": [{"name": "B8"}, {"name": "B4", "common_name": "red"}],
            "raster:bands": [{}, {"scale": 2}],
        },
    ],
    ids=["STAC 1.1", "STAC 1.0"],
)
def test_bands_and_their_scale_as_each_version_says_it(
    make_scene: MakeScene, described: dict[str, Any]
) -> None:
    path = make_scene(bands=2)
    scene = open_item(_item(data={"href": str(path), **described}), [RED])
    assert (scene.bands[0].name, scene.bands[0].scale) == ("red", 2.0)
    assert np.array_equal(_whole(scene).data[0], _whole(open_scene(path)).data[1])


def test_assets_of_several_resolutions_on_the_finest_grid(make_scene: MakeScene) -> None:
    fine = make_scene(bands=1, shape=(48, 64), gsd_m=10)
    coarse = make_scene(bands=1, shape=(24, 32), gsd_m=20, dtype="uint16")
    item = _item(nir={"href": str(coarse)}, red={"href": str(fine)})
    scene = open_item(item, [NIR, RED])
    assert scene.geobox == open_scene(fine).geobox
    expected = warp_to_grid(open_scene(coarse), scene.geobox).read(Window.whole(scene.shape), [1])
    assert np.array_equal(_whole(scene).data[0], expected.data[0])
    assert np.array_equal(_whole(scene).data[1], _whole(open_scene(fine)).data[0])
    window = Window(13, 7, 20, 30)
    part = scene.read(window)
    assert np.array_equal(part.data, _whole(scene).data[:, 7:37, 13:33]), "windows agree"
    coarser = open_item(item, [NIR, RED], gsd_range=(18, 22))
    assert coarser.shape == (24, 32), "a grid the task has seen"


def test_a_mask_leaves_pixels_out(make_scene: MakeScene) -> None:
    path = make_scene(bands=1, shape=(40, 40), gsd_m=10)
    classes = np.full((1, 20, 20), 4, np.uint8)
    classes[0, :5] = 9
    classes[0, 5:8] = 3
    scl = make_scene(bands=1, shape=(20, 20), gsd_m=20, data=classes)
    item = _item(red={"href": str(path)}, scl={"href": str(scl)})
    scene = open_item(item, [RED], mask=Mask("scl", (9,)))
    valid = _whole(scene).valid
    assert not valid[:10].any()
    assert valid[10:].all()
    assert scene.identity != open_item(item, [RED], mask=Mask("scl", (3, 9))).identity
    assert scene.files == (str(path), str(scl))
    with pytest.raises(BandError, match="for mask asset qa; it has assets red, scl"):
        open_item(item, [RED], mask=Mask("qa", (1,)))


def test_measurements_are_preferred_to_pictures_and_mappings_to_both(make_scene: MakeScene) -> None:
    one, two = make_scene(bands=1), make_scene(bands=1, dtype="uint16")
    visual = make_scene(bands=3)
    rgb = [{"name": name} for name in ("red", "green", "blue")]
    item = _item(
        thumbnail={"href": str(one), "roles": ["thumbnail"]},
        visual={"href": str(visual), "bands": rgb, "roles": ["visual"]},
        red_jp2={"href": str(one), "type": "image/jp2", "bands": [{"name": "red"}]},
        B04={"href": str(two), "bands": [{"name": "red"}], "roles": ["data"]},
    )
    assert open_item(item, [RED]).dtype == np.uint16
    assert open_item(item, [RED], {"red": "red_jp2"}).files == (str(one),)
    with pytest.raises(BandError, match=r"for band nir; it has assets .*pass bands=.*nir.*ASSET"):
        open_item(item, [NIR])


def test_nodata_that_only_the_item_knows(make_scene: MakeScene) -> None:
    data = np.ones((1, 8, 8), np.uint8)
    data[0, 0] = 7
    path = make_scene(bands=1, shape=(8, 8), data=data)
    item = _item(red={"href": str(path), "bands": [{"name": "red", "nodata": 7}]})
    assert _whole(open_item(item, [RED])).valid.sum() == 56


def test_a_scene_of_an_item_can_be_sent(make_scene: MakeScene) -> None:
    scene = open_item(_item(red={"href": str(make_scene(bands=1))}), [RED])
    sent = pickle.loads(pickle.dumps(scene))
    assert np.array_equal(_whole(sent).data, _whole(scene).data)
    assert sent.identity == scene.identity


def test_masks_as_they_are_asked_for() -> None:
    assert parse_mask(None, None) is None
    assert parse_mask("scl", "3, 8") == parse_mask("scl", [3, 8]) == Mask("scl", (3, 8))
    for words in (("scl", None), (None, "3"), ("scl", "cloud")):
        with pytest.raises(UsageError, match="mask"):
            parse_mask(*words)
