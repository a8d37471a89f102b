"""Networks as STAC items."""

from __future__ import annotations

from pathlib import Path

import pystac

from geotrans.product.stac.model import write_models
from geotrans.tasks import open_bundle, shipped_bundles
from tests.helpers.bundles import random_bundle
from tests.helpers.stac import read_valid
from tests.product.stac.test_item import CLASSES


def test_the_shipped_networks_as_items(tmp_path: Path) -> None:
    bundles = [open_bundle(path) for path in shipped_bundles().values()]
    paths = write_models(bundles, tmp_path / "models")
    head = read_valid(paths[0])
    assert isinstance(head, pystac.Collection)
    assert {item.id for item in head.get_items()} == set(shipped_bundles())
    for bundle, path in zip(bundles, paths[1:], strict=True):
        item = read_valid(path)
        assert isinstance(item, pystac.Item)
        asset = item.assets["weights"]
        assert (path.parent / asset.href).resolve() == bundle.path.resolve()
        assert asset.extra_fields["file:checksum"] == f"1220{bundle.sha256}"
        assert item.properties["mlm:total_parameters"] == bundle.n_parameters()


def test_networks_of_every_kind_as_items(tmp_path: Path) -> None:
    one = random_bundle(tmp_path / "1.safetensors", palette=CLASSES, noise=(1, 8))
    paths = write_models([open_bundle(one)], tmp_path / "models")
    read_valid(paths[1])
