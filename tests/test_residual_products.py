"""Files in, products out, of tasks that carry bands or lock a luminance."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import torch

from geotrans.models import build, receptive_halo
from geotrans.tasks import BandSpec, GeneratorSpec, TaskSpec, save_bundle
from geotrans.translation.translate import translate

RGB = ("red", "green", "blue")
BODY = {
    "arch": "unet",
    "args": {"depth": 2, "width": 8, "max_width": 16, "head_width": 4, "out_activation": "none"},
}


def write_bundle(path: Path, source: tuple[str, ...], band: dict[str, Any], **args: Any) -> Path:
    """A residual whose body says something everywhere."""
    args = {"body": BODY, "n_bands": len(source), **args}
    with torch.random.fork_rng():
        torch.manual_seed(2)
        net = build("residual", len(source), 3, **args)
        for name, weight in net.body.named_parameters():
            if name.startswith("head"):
                torch.nn.init.normal_(weight, 0, 0.2)
    net.set_linear(np.full((3, len(source)), 1 / len(source)), np.array([0.1, 0.0, -0.1]))
    spec = TaskSpec(
        name="toy",
        source=[BandSpec(name=name, **band) for name in source],
        target=[BandSpec(name=name, **band) for name in RGB],
        generator=GeneratorSpec(arch="residual", args=args),
        halo=receptive_halo(net, len(source)),
        align=4,
    )
    return save_bundle(path, spec, net.state_dict())


def read(path: Path) -> np.ndarray[Any, Any]:
    with rasterio.open(path) as file:
        assert file.descriptions == RGB
        return np.asarray(file.read())


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_carried_bands_leave_as_they_came_in_whatever_the_tiles(
    make_scene: Callable[..., Path], tmp_path: Path, dtype: str
) -> None:
    top = np.iinfo(dtype).max
    data = np.random.default_rng(0).integers(0, top, (3, 150, 131), dtype, endpoint=True)
    data[:, :40, :40] //= 8
    path = make_scene(shape=(150, 131), dtype=dtype, bands=("nir", "red", "green"), data=data)
    band = {"dtype": dtype, "value_range": (0, 255) if dtype == "uint8" else (200, 40_000)}
    bundle = write_bundle(
        tmp_path / "toy.safetensors", ("nir", "red", "green"), band, carry=[[0, 1], [1, 2]]
    )
    products = [
        read(
            translate(
                path, task=bundle, out=tmp_path / f"{tile}.tif", tile=tile, any_values=True
            ).path
        )
        for tile in (32, 64, 256)
    ]
    for product in products:
        np.testing.assert_array_equal(product[:2], data[1:])
        np.testing.assert_array_equal(product, products[0])
    assert products[0][2].std() > 0


def test_a_locked_luminance_is_that_of_the_scene(
    make_scene: Callable[..., Path], tmp_path: Path
) -> None:
    data = np.random.default_rng(0).integers(0, 256, (1, 90, 75)).astype(np.uint8)
    path = make_scene(shape=(90, 75), bands=("pan",), data=data)
    bundle = write_bundle(tmp_path / "toy.safetensors", ("pan",), {}, lock=[0, 0, 1, 2])
    products = [
        read(translate(path, task=bundle, out=tmp_path / f"{tile}.tif", tile=tile).path)
        for tile in (32, 128)
    ]
    np.testing.assert_array_equal(*products)
    luma = np.tensordot([0.299, 0.587, 0.114], products[0].astype(float), 1)
    assert np.abs(luma - data[0]).max() <= 0.501
    assert np.abs(products[0][0].astype(int) - products[0][2]).max() > 20
