"""Published weights from file to product: what the original network makes of the whole scene."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch

from geotrans.tasks.published import import_weights
from geotrans.translation.translate import translate
from tests.helpers.reference import reference_net, save_reference
from tests.helpers.scenes import write_scene

RGB = ("red", "green", "blue")
SHAPE = (288, 320)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its first pixel lies on the lattice of every network's stride, as a photograph's would."""
    blocks = np.random.default_rng(1).integers(0, 255, (3, 36, 40)).astype("uint8")
    data = np.kron(blocks, np.ones((1, 8, 8), "uint8"))
    transform = rasterio.Affine(1, 0, 512 * 700, 0, -1, 512 * 7000)
    path = tmp_path_factory.mktemp("published") / "scene.tif"
    return write_scene(path, shape=SHAPE, data=data, transform=transform)


def _both(scene: Path, folder: Path, norm: str, **choices: str) -> tuple[np.ndarray, np.ndarray]:
    """Stored values of the original on the whole scene, and of the product in tiles."""
    original = reference_net("resnet_6blocks", norm=norm, width=8)
    weights = save_reference(folder / "net.pth", original)
    bundle = import_weights(weights, arch="resnet_6blocks", source=RGB, target=RGB, overwrite=True)
    product = translate(
        scene, task=bundle, out=folder / "out.tif", tile=96, precision="float32", overwrite=True,
        **choices,
    )  # fmt: skip
    with rasterio.open(scene) as source, rasterio.open(product.path) as made:
        x = torch.from_numpy(source.read().astype(np.float32) / 127.5 - 1)[None]
        expected = (original(x)[0].numpy() + 1) * 127.5
        return expected, made.read().astype(np.float32)


def test_all_but_the_edges_of_the_scene_are_the_original(scene: Path, tmp_path: Path) -> None:
    """Where the scene ends, the original mirrors features, and the product the scene."""
    expected, made = _both(scene, tmp_path, "batch")
    inner = np.s_[:, 60:-60, 60:-60]
    # Rounded to whole numbers, and the sums of both to float32.
    assert np.abs(made - expected)[inner].max() < 0.5 + 2e-3
    assert np.abs(made - expected).max() > 1
    assert expected[inner].std() > 5


def test_with_instance_norm_the_statistics_are_nearly_those_of_the_image(
    scene: Path, tmp_path: Path
) -> None:
    """They differ by what the original mirrors where the scene ends, and the product does not."""
    inner = np.s_[:, 60:-60, 60:-60]
    differences = {}
    for mode in ("exact", "scene", "tile"):
        expected, made = _both(scene, tmp_path, "instance", norm_stats=mode)
        differences[mode] = float(np.abs(made - expected)[inner].mean())
    assert differences["exact"] < 2
    assert differences["exact"] < differences["tile"]
    assert differences["scene"] < differences["tile"]
