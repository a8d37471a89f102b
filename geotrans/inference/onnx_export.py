"""Export of a bundle as a self-describing ONNX file, checked against torch."""

from __future__ import annotations

import json
import warnings
from dataclasses import asdict, dataclass
from os import PathLike
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from geotrans import __version__
from geotrans.errors import BundleError, OutputError, UsageError, option
from geotrans.grid import Window
from geotrans.inference.noise_recipe import NOISE_RECIPE
from geotrans.inference.radiometry import from_network, to_network
from geotrans.inference.translator import Translator
from geotrans.models import fold
from geotrans.runtime.files import write_whole
from geotrans.tasks import Bundle, NormStatistics, TaskSpec

OPSET = 20

# Largest difference of what the network says, of the largest value it can say (1 for images).
TOLERANCE = 1e-4

# What the parity is checked on: (height, width) in multiples of the least size tried, px.
_MIN_PX = 64
_SIZES = ((1, 1), (2, 1), (1, 3))

_TYPES = {
    "uint8": torch.uint8, "int8": torch.int8, "uint16": torch.uint16, "int16": torch.int16,
    "int32": torch.int32, "float32": torch.float32, "float64": torch.float64,
}  # fmt: skip


@dataclass(frozen=True)
class Parity:
    """How far onnxruntime is from torch.

    Attributes:
        sizes: `(height, width)` of the windows compared, px.
        largest: Largest difference of what the network says, of the largest it says or 1.
        differing: Share of the product's values that differ.
        steps: Largest difference of them; of classes the share of pixels of another one.
    """

    sizes: tuple[tuple[int, int], ...]
    largest: float
    differing: float
    steps: float

    def __str__(self) -> str:
        """One line."""
        sizes = ", ".join(f"{w} x {h}" for h, w in self.sizes)
        return (
            f"onnxruntime and torch on {sizes} px: the network differs by at most "
            f"{self.largest:.1e}, {self.differing:.2%} of the product's values by up to "
            f"{self.steps:g}"
        )


@dataclass(frozen=True)
class OnnxExport:
    """An ONNX file.

    Attributes:
        path: The file.
        parity: How it compares with torch.
        opset: Version of the operators in it.
        n_bytes: Its size.
    """

    path: Path
    parity: Parity
    opset: int
    n_bytes: int

    def to_dict(self) -> dict[str, Any]:
        """The same, for JSON."""
        return {**asdict(self), "path": str(self.path)}


def export_onnx(
    bundle: Bundle,
    path: str | PathLike[str],
    *,
    norm: NormStatistics | None = None,
    overwrite: bool = False,
) -> OnnxExport:
    """Write a bundle's generator with everything around it as an ONNX file.

    Inputs are `source`, the stored values of the task's bands as float32 `(N, C, H, W)`, and
    `coordinates` and `noise` where the task has them; H and W are any multiples of the network's
    stride. Outputs are
    `product`, stored values in their own type, `classes` where the task draws a map, and `scores`,
    what the network says. Metadata holds the task, how to use the file, and how to make the noise.

    Args:
        bundle: Weights and task.
        path: File to write; it appears only if the parity check passes.
        norm: Statistics for norms that have none; each window its own unless given.
        overwrite: Replace an existing file.

    Raises:
        OutputError: If the file exists or cannot be written.
        UsageError: If the product has a type that ONNX has not.
        BundleError: If onnxruntime does not compute what torch does.
    """
    import onnx

    path, spec = Path(path), bundle.spec
    if path.exists() and not overwrite:
        raise OutputError(
            f"{path} exists; replace it with {option('overwrite', True)} or choose another name"
        )
    if norm is None and spec.norm == "instance":
        norm = NormStatistics("tile")
    model = _trace(_Graph(bundle, norm))
    onnx.helper.set_model_props(model, _describe_model(bundle, norm))
    onnx.checker.check_model(model, full_check=True)
    content = model.SerializeToString()
    parity = _compare(content, Translator(bundle, device="cpu", precision="float32", norm=norm))
    if not parity.largest <= TOLERANCE:
        raise BundleError(
            f"the ONNX file of task '{spec.name}' differs from torch by {parity.largest:.1e}, more "
            f"than {TOLERANCE:g}, and was not written"
        )
    write_whole(path, content)
    return OnnxExport(path, parity, OPSET, len(content))


class _Linear(nn.Module):
    """Factor and summand of each channel."""

    def __init__(self, linear: list[tuple[float, float]]) -> None:
        super().__init__()
        factors, summands = torch.tensor(linear, dtype=torch.float32).T
        self.register_buffer("factors", factors.view(1, -1, 1, 1).clone())
        self.register_buffer("summands", summands.view(1, -1, 1, 1).clone())

    def forward(self, x: Tensor) -> Tensor:
        return x * cast(Tensor, self.factors) + cast(Tensor, self.summands)


class _OneHot(nn.Module):
    """One channel a class, 1 where a pixel is of it."""

    def __init__(self, values: list[int]) -> None:
        super().__init__()
        self.register_buffer("values", torch.tensor(values, dtype=torch.float32).view(1, -1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return (x == cast(Tensor, self.values)).to(torch.float32)


class _Graph(nn.Module):
    """From stored values to stored values."""

    def __init__(self, bundle: Bundle, norm: NormStatistics | None) -> None:
        super().__init__()
        spec = bundle.spec
        self.spec = spec
        self.net = fold(bundle.network(norm), plain=True)
        dtype = _product_dtype(spec)
        if dtype.name not in _TYPES:
            raise UsageError(
                f"task '{spec.name}' writes {dtype.name}, which is not exported to ONNX; there are "
                f"{', '.join(_TYPES)}"
            )
        self.dtype = _TYPES[dtype.name]
        self.limits = None if dtype.kind == "f" else np.iinfo(dtype)
        self.normalize: nn.Module = _Linear([to_network(band) for band in spec.source])
        if spec.source_classes:
            self.normalize = _OneHot([item.value for item in spec.source_classes])
        self.denormalize = _Linear([from_network(band) for band in spec.target])
        colors = [item.color for item in spec.palette or ()]
        self.register_buffer("colors", torch.tensor(colors, dtype=torch.uint8))

    def forward(
        self, source: Tensor, second: Tensor | None = None, third: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        x = [tensor for tensor in (self.normalize(source), second, third) if tensor is not None]
        scores: Tensor = self.net(torch.cat(x, dim=1))
        if self.spec.palette:
            classes = scores.argmax(dim=1)
            product: Tensor = cast(Tensor, self.colors)[classes].permute(
                0, 3, 1, 2
            )  # (N, H, W, 3) -> (N, 3, H, W)
            return product, scores, classes.to(torch.uint8)
        product = self.denormalize(scores)
        if self.limits is not None:
            product = product.round().clamp(int(self.limits.min), int(self.limits.max))
        return product.to(self.dtype), scores


def _product_dtype(spec: TaskSpec) -> np.dtype[Any]:
    source = [np.dtype(band.dtype) for band in spec.source]
    return np.result_type(
        *(
            np.dtype(b.dtype) if b.dtype != "source" else np.result_type(*source)
            for b in spec.target
        )
    )


def _trace(graph: _Graph) -> Any:
    """The model, with any number of windows of any height and width on the stride."""
    import onnxscript  # noqa: F401  torch's exporter needs it; fails with a clear message here

    spec, align = graph.spec, graph.spec.align
    edge = max(2 * align, _MIN_PX // align * align)
    shape = {0: torch.export.Dim("n", min=1, max=1024)}
    for axis, name in ((2, "h"), (3, "w")):
        blocks = torch.export.Dim(name, min=2, max=65_536 // align)
        shape[axis] = align * blocks if align > 1 else blocks
    channels = _input_channels(spec)
    inputs = [torch.rand(2, n, edge, edge + align) for n in channels.values()]
    with warnings.catch_warnings(action="ignore"):  # of its own names for sizes
        program = torch.onnx.export(
            graph, tuple(inputs), dynamo=True, opset_version=OPSET, verbose=False,
            input_names=list(channels),
            output_names=["product", "scores", "classes"][: 3 if spec.palette else 2],
            dynamic_shapes=tuple(dict(shape) for _ in inputs),
        )  # fmt: skip
    assert program is not None
    return program.model_proto


def _input_channels(spec: TaskSpec) -> dict[str, int]:
    """Inputs by name, and how many channels each has."""
    noise = len(spec.noise.scales) if spec.noise else 0
    channels = {"source": len(spec.source), "coordinates": len(spec.coordinates), "noise": noise}
    return {name: n for name, n in channels.items() if n}


def _describe_model(bundle: Bundle, norm: NormStatistics | None) -> dict[str, str]:
    spec = bundle.spec
    usage: dict[str, Any] = {
        "source": "float32 (N, C, H, W), stored values of the bands in this order, in their units; "
        f"H and W are multiples of {spec.align}, at least {2 * spec.align}. Invalid pixels are the "
        "user's: fill them before, mask the product after",
        "bands": [
            {"name": b.name, "dtype": b.dtype, "value_range": b.value_range, "units": b.units}
            for b in spec.source
        ],
        "product": f"{_product_dtype(spec).name} (N, C, H, W), stored values of the target's bands",
        "target_bands": [b.name for b in spec.target],
        "scores": "float32, what the network says before it is scaled, rounded and clipped",
        "halo": spec.halo,
        "align": spec.align,
        "scale": spec.scale,
        "tiles": f"pixels within {spec.halo} px of a window's edge lack context: read windows that "
        f"overlap by twice that, starting on multiples of {spec.align} px, and keep the inner part",
        "gsd_m": spec.gsd_m,
        "norm_stats": None if norm is None else norm.mode,
    }
    if spec.coordinates:
        usage["coordinates"] = (
            f"float32 (N, {len(spec.coordinates)}, H, W), sine of the latitude of each pixel's "
            "middle, beyond the scene's edge, too"
        )
    if spec.noise:
        usage["noise"] = (
            f"float32 (N, {len(spec.noise.scales)}, H, W) in [-1, 1), by the NumPy code in "
            "'geotrans.noise_recipe'"
        )
        usage["noise_scales_px"] = list(spec.noise.scales)
    if spec.source_classes:
        usage["source_classes"] = [
            {"value": c.value, "name": c.name, "color": c.color} for c in spec.source_classes
        ]
    if spec.palette:
        usage["classes"] = "uint8 (N, H, W), index in the palette"
        usage["palette"] = [{"name": c.name, "color": c.color} for c in spec.palette]
    properties = {
        "geotrans": spec.model_dump_json(),
        "geotrans.usage": json.dumps(usage),
        "geotrans.version": __version__,
        "geotrans.weights_sha256": bundle.sha256,
    }
    if spec.noise:
        properties["geotrans.noise_recipe"] = NOISE_RECIPE
    return properties


def _compare(content: bytes, translator: Translator) -> Parity:
    """Run windows of several sizes through onnxruntime and through torch."""
    import onnxruntime

    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    spec, rng = translator.spec, np.random.default_rng(0)
    smallest = max(2 * spec.align, -(-_MIN_PX // spec.align) * spec.align)
    sizes = tuple((smallest * high, smallest * wide) for high, wide in _SIZES)
    largest, n_values, n_differing, steps = 0.0, 0, 0, 0.0
    for height, width in sizes:
        window = Window(0, 0, width, height)
        data = _draw_values(spec, rng, height, width)
        context: dict[str, Any] = {"window": window, "anchor": (0, 0)}
        context["coordinates"] = rng.uniform(-1, 1, (len(spec.coordinates), height, width)).astype(
            "f4"
        )
        planes = translator.planes(data, **context)
        inputs, first = {"source": data[None].astype(np.float32)}, spec.n_source
        for name, n in list(_input_channels(spec).items())[1:]:
            inputs[name] = planes[None, first : first + n].numpy()
            first += n
        product, scores = session.run(["product", "scores"], inputs)
        with torch.inference_mode():
            expected = translator.network(planes[None]).numpy()
        peak = max(1.0, float(np.abs(expected).max()))
        largest = max(largest, float(np.abs(scores - expected).max()) / peak)
        torch_product = translator(data, **context)
        difference = np.abs(product[0].astype(np.float64) - torch_product.astype(np.float64))
        n_values, n_differing = (
            n_values + torch_product.size,
            n_differing + int((difference > 0).sum()),
        )
        steps = max(steps, float(difference.max()))
    return Parity(sizes, largest, n_differing / n_values, steps)


def _draw_values(
    spec: TaskSpec, rng: np.random.Generator, height: int, width: int
) -> npt.NDArray[Any]:
    """Stored values all over the ranges a task has seen, in blocks of 8 px."""
    dtype = np.result_type(*(np.dtype(band.dtype) for band in spec.source))
    if spec.source_classes:
        values = np.array([item.value for item in spec.source_classes], dtype)
        labels = rng.choice(values, (1, -(-height // 8), -(-width // 8)))
        return np.kron(labels, np.ones((8, 8), dtype))[:, :height, :width]
    ranges = np.array([band.value_range for band in spec.source])
    blocks = rng.random((len(ranges), -(-height // 8), -(-width // 8)))
    values = ranges[:, :1, None] + blocks * np.diff(ranges)[:, :, None]
    return np.kron(values, np.ones((8, 8)))[:, :height, :width].astype(dtype)
