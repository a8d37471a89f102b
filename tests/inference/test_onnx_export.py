"""ONNX files compute what torch does, and say how to use them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from geotrans.errors import BundleError, OutputError
from geotrans.grid import Window, ground_anchor, ground_noise
from geotrans.inference import Translator, onnx_export
from geotrans.inference.noise_recipe import NOISE_RECIPE
from geotrans.inference.onnx_export import TOLERANCE, export_onnx
from geotrans.models import GENERATORS
from geotrans.models.residual import Residual
from geotrans.tasks import BandSpec, Bundle, NormStatistics, open_bundle, shipped_bundles
from tests.helpers.bundles import class_bundle
from tests.helpers.thorough import quick
from tests.inference.conftest import PALETTE, MakeBundle

onnxruntime = pytest.importorskip("onnxruntime")


def _session(path: Path) -> Any:
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


def _usage(session: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(
        session.get_modelmeta().custom_metadata_map["geotrans.usage"]
    )
    return found


def _recipe() -> dict[str, Any]:
    names: dict[str, Any] = {}
    exec(NOISE_RECIPE, names)
    return names


def _check(bundle: Bundle, path: Path, norm: NormStatistics | None = None) -> None:
    """A window of a size and place nothing was tried at, made from the metadata alone."""
    session = _session(path)
    usage = _usage(session)
    align = usage["align"]
    window = Window(3 * align, -align, 9 * align, 5 * align)
    bands = usage["bands"]
    dtype = np.result_type(*(band["dtype"] for band in bands))
    rng = np.random.default_rng(8)
    low, high = np.array([band["value_range"] for band in bands]).T[:, :, None, None]
    data = (low + rng.random((len(bands), *window.shape)) * (high - low)).astype(dtype)
    if "source_classes" in usage:
        values = [one["value"] for one in usage["source_classes"]]
        data = rng.choice(np.array(values, dtype), (1, *window.shape))
    inputs = {"source": data[None].astype(np.float32)}
    if "noise" in usage:
        recipe: dict[str, Any] = {}
        exec(session.get_modelmeta().custom_metadata_map["geotrans.noise_recipe"], recipe)
        row, col = window.row_off + 5 * align, window.col_off - 2 * align
        noise = recipe["noise"](row, col, *window.shape, usage["noise_scales_px"], seed=0)
        inputs["noise"] = noise[None]
    coordinates = rng.uniform(-1, 1, (len(bundle.spec.coordinates), *window.shape)).astype("f4")
    if "coordinates" in usage:
        inputs["coordinates"] = coordinates[None]
    product = session.run(["product"], inputs)[0]
    translator = Translator(bundle, device="cpu", precision="float32", norm=norm)
    expected = translator(
        data, window=window, anchor=(5 * align, -2 * align), coordinates=coordinates
    )
    assert product.dtype == expected.dtype
    assert product.shape == (1, *expected.shape)
    difference = np.abs(product[0].astype(float) - expected.astype(float))
    if bundle.spec.palette:
        assert (difference > 0).mean() < 1e-3
    else:
        step = (high - low).max() * 1e-4 if dtype.kind == "f" else 1
        assert difference.max() <= step
        assert (difference > step / 2).mean() < 1e-2


@pytest.mark.slow
@pytest.mark.parametrize("task", shipped_bundles())
def test_every_shipped_task(tmp_path: Path, task: str) -> None:
    bundle = open_bundle(task)
    made = export_onnx(bundle, tmp_path / "task.onnx")
    assert made.parity.largest <= TOLERANCE
    assert made.n_bytes == made.path.stat().st_size
    _check(bundle, made.path)


BODY = {"arch": "unet", "args": {"depth": 3, "width": 8, "max_width": 16, "head_width": 8}}
NETWORKS: dict[str, tuple[str, dict[str, Any]]] = {
    "unet": ("unet", {**BODY["args"], "blocks": [1, 2]}),  # type: ignore[dict-item]
    "liteunet": ("liteunet", {"stages": 2, "width": 8, "head_width": 8}),
    "ensemble": (
        "ensemble",
        {"n": 3, "of": {"arch": "liteunet", "args": {"stages": 2, "width": 8, "head_width": 8}}},
    ),
    "resnet": ("resnet", {"blocks": 1, "width": 8}),
    "resnet as published": ("resnet", {"blocks": 1, "width": 8, "upsample": "transposed"}),
    "reference": ("unet_reference", {"depth": 5, "width": 4}),
    "identity": ("identity", {}),
    "residual": ("residual", {"body": BODY, "n_bands": 3}),
    "residual that carries": ("residual", {"body": BODY, "n_bands": 3, "carry": [[0, 1], [2, 0]]}),
    "residual of chroma": ("residual", {"body": BODY, "n_bands": 3, "lock": [1, 0, 1, 2]}),
}


def test_no_architecture_is_left_out() -> None:
    assert {arch for arch, _ in NETWORKS.values()} == set(GENERATORS)


@pytest.mark.parametrize("name", quick({"unet"}, NETWORKS))
def test_every_architecture(make_bundle: MakeBundle, tmp_path: Path, name: str) -> None:
    arch, args = NETWORKS[name]
    noise = () if arch == "identity" else (1, 8)
    bundle = make_bundle(arch, args, noise=noise, change=_stirred)
    _check(bundle, export_onnx(bundle, tmp_path / "task.onnx").path)


def _stirred(net: torch.nn.Module) -> None:
    """A residual starts from zero, in the map and in the last layer: here, from anything."""
    if not isinstance(net, Residual):
        return
    rng = np.random.default_rng(6)
    n = len(net.order)
    net.set_linear(rng.uniform(-0.4, 0.4, (n, 3)), rng.uniform(-0.2, 0.2, n))
    torch.nn.init.normal_(net.body.head[-1].weight, 0, 0.05)  # type: ignore[union-attr, index]


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["uint16", "int16", "float32"])
def test_types_other_than_bytes(make_bundle: MakeBundle, tmp_path: Path, dtype: str) -> None:
    source = (BandSpec(name="nir", dtype=dtype, value_range=(0, 10_000)),)
    target = (BandSpec(name="red", dtype="source", value_range=(-50, 12_000)),)
    bundle = make_bundle(source=source, target=target)
    _check(bundle, export_onnx(bundle, tmp_path / "task.onnx").path)


@pytest.mark.slow
def test_a_map_comes_as_colours_and_as_classes(make_bundle: MakeBundle, tmp_path: Path) -> None:
    bundle = make_bundle(palette=PALETTE)
    session = _session(export_onnx(bundle, tmp_path / "map.onnx").path)
    data = np.random.default_rng(0).integers(0, 255, (2, 3, 64, 96)).astype(np.float32)
    colors, classes, scores = session.run(["product", "classes", "scores"], {"source": data})
    assert colors.dtype == classes.dtype == np.uint8
    table = np.array([one["color"] for one in _usage(session)["palette"]], np.uint8)
    assert np.array_equal(colors, table[classes].transpose(0, 3, 1, 2))
    assert np.array_equal(classes, scores.argmax(axis=1))
    assert len(np.unique(classes)) > 2


@pytest.mark.slow
def test_a_source_of_classes(tmp_path: Path) -> None:
    bundle = open_bundle(class_bundle(tmp_path / "painted.safetensors"))
    _check(bundle, export_onnx(bundle, tmp_path / "painted.onnx").path)


@pytest.mark.slow
@pytest.mark.parametrize("noise", [(), (1, 8)])
def test_a_task_that_knows_the_latitude(
    make_bundle: MakeBundle, tmp_path: Path, noise: tuple[int, ...]
) -> None:
    bundle = make_bundle(coordinates=("latitude",), noise=noise)
    path = export_onnx(bundle, tmp_path / "task.onnx").path
    names = [one.name for one in _session(path).get_inputs()]
    assert names == ["source", "coordinates", *(["noise"] if noise else [])]
    _check(bundle, path)


@pytest.mark.slow
def test_instance_norms_are_frozen_or_of_the_window(
    make_bundle: MakeBundle, tmp_path: Path
) -> None:
    args = {"blocks": 1, "width": 8, "norm": "instance"}
    bundle = make_bundle("resnet", args, norm="instance")
    made = export_onnx(bundle, tmp_path / "window.onnx")
    assert _usage(_session(made.path))["norm_stats"] == "tile"
    _check(bundle, made.path, NormStatistics("tile"))
    from geotrans.inference.calibration import Sample, pool_together

    planes = torch.rand(3, 64, 64) * 2 - 1
    values = pool_together(bundle.network(), [Sample(planes, torch.ones(64, 64))])
    norm = NormStatistics("scene", values)
    made = export_onnx(bundle, tmp_path / "frozen.onnx", norm=norm)
    assert _usage(_session(made.path))["norm_stats"] == "scene"
    _check(bundle, made.path, norm)


@pytest.mark.slow
def test_metadata_hold_the_task(make_bundle: MakeBundle, tmp_path: Path) -> None:
    bundle = make_bundle(noise=(1, 8))
    session = _session(export_onnx(bundle, tmp_path / "task.onnx").path)
    told = session.get_modelmeta().custom_metadata_map
    assert type(bundle.spec).model_validate_json(told["geotrans"]) == bundle.spec
    assert told["geotrans.weights_sha256"] == bundle.sha256
    usage = json.loads(told["geotrans.usage"])
    assert (usage["halo"], usage["align"]) == (bundle.spec.halo, bundle.spec.align)
    assert [band["name"] for band in usage["bands"]] == ["red", "green", "blue"]
    shapes = {one.name: one.shape for one in session.get_inputs()}
    assert shapes == {"source": ["n", 3, "8*h", "8*w"], "noise": ["n", 2, "8*h", "8*w"]}


def test_the_recipe_makes_the_same_noise_to_the_bit() -> None:
    recipe = _recipe()
    window, anchor, scales = Window(-7, 13, 90, 70), (-1000, 5003), (1, 8, 32)
    for seed in (0, 7, 12345):
        expected = ground_noise(window, anchor=anchor, scales=scales, seed=seed)
        row, col = window.row_off + anchor[0], window.col_off + anchor[1]
        assert np.array_equal(recipe["noise"](row, col, 70, 90, scales, seed), expected)


def test_the_recipe_finds_the_same_ground() -> None:
    from affine import Affine
    from odc.geo.geobox import GeoBox

    recipe = _recipe()
    for transform in (
        Affine(0.6, 0, 360_000, 0, -0.6, 3_770_000),
        Affine(30, 0, 600_015, 0, -30, 4_000_005),
        Affine.translation(5, 9) @ Affine.rotation(20) @ Affine.scale(2, -2),
    ):
        geobox = GeoBox((10, 10), transform, "EPSG:32611")
        assert recipe["anchor"](tuple(transform)) == ground_anchor(geobox)


class TestRefuses:
    def test_a_file_that_computes_something_else(
        self, make_bundle: MakeBundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        bundle = make_bundle()
        fold = onnx_export.fold

        def wrong(net: Any, *, plain: bool = False) -> Any:
            folded = fold(net, plain=plain)
            folded.head[-1].bias.data += 1e-3
            return folded

        monkeypatch.setattr(onnx_export, "fold", wrong)
        with pytest.raises(BundleError, match=r"differs from torch by .*, more than 0\.0001, and"):
            export_onnx(bundle, tmp_path / "task.onnx")
        assert [p.name for p in tmp_path.iterdir()] == ["test.safetensors"]

    def test_a_file_that_is_there(self, make_bundle: MakeBundle, tmp_path: Path) -> None:
        path = tmp_path / "task.onnx"
        path.write_text("mine")
        with pytest.raises(OutputError, match="exists; replace it with overwrite=True"):
            export_onnx(make_bundle(), path)
        assert path.read_text() == "mine"

    def test_a_folder_that_is_not_there(self, make_bundle: MakeBundle, tmp_path: Path) -> None:
        with pytest.raises(OutputError, match="cannot be written"):
            export_onnx(make_bundle("identity", {}), tmp_path / "none" / "task.onnx")
