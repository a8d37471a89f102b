"""One network on one device, ready to translate any window of any scene."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from geotrans.errors import BundleError, DeviceError, DomainError, TilingError, UsageError, option
from geotrans.grid import Window, ground_noise
from geotrans.inference.accelerator import (
    classify_on_device,
    denormalize_on_device,
    normalize_on_device,
)
from geotrans.inference.device import pick_device
from geotrans.inference.precision import Precision, pick_precision, prepare_network
from geotrans.inference.radiometry import (
    Linear,
    apply_palette,
    classify,
    denormalize,
    from_network,
    normalize,
    to_network,
)
from geotrans.models import keep_freed_memory, trim_heap_periodically
from geotrans.tasks import Bundle, NormStatistics, TaskSpec

# One computation at a time on each device: two would only take each other's caches and memory.
_locks: defaultdict[torch.device, threading.Lock] = defaultdict(threading.Lock)


class Translator:
    """Turns stored values of a task's source bands into stored values of its product.

    A pixel of the result depends on the pixels in the task's halo around it, on its place on the
    ground and on the seed, and not on the window it was computed in. May be called by many threads
    at once, and pickled.

    Args:
        bundle: Weights and task.
        device: `"auto"`, `"cpu"`, `"cuda"`, `"cuda:1"` or `"mps"`.
        precision: `"float32"`, `"bfloat16"`, or `"auto"` for the faster of them.
        seed: Which of the equally plausible pictures, for tasks with noise.
        as_: `"classes"` for class indices instead of colours, where the target has a palette.
        norm: Statistics of the scene for a network whose norms need them.

    Attributes:
        network_s: Time the network alone has worked, s.

    Raises:
        BundleError: If the bundle does not hold what it says.
        DeviceError: If device or precision are not there.
        UsageError: If they, or classes, cannot be meant.
    """

    def __init__(
        self,
        bundle: Bundle,
        *,
        device: str = "auto",
        precision: str = "auto",
        seed: int = 0,
        as_: Literal["rgb", "classes"] = "rgb",
        norm: NormStatistics | None = None,
    ) -> None:
        spec = bundle.spec
        if as_ not in ("rgb", "classes"):
            raise UsageError(f"as '{as_}' is not known; use rgb or classes")
        if as_ == "classes" and spec.palette is None:
            raise UsageError(f"task '{spec.name}' makes no map, so it has no classes; use rgb")
        if spec.norm == "instance" and norm is None:
            raise UsageError(
                f"task '{spec.name}' uses instance norm, whose statistics would differ from tile "
                "to tile; give those of the scene, as geotrans.translate does"
            )
        self.bundle = bundle
        self.seed = seed
        self.as_ = as_
        self.norm = norm
        self.network_s = 0.0
        self.device = pick_device(device)
        if self.device.type == "cpu":
            keep_freed_memory()
        net = bundle.generator(norm)
        with _claim_device(self.device, f"task '{spec.name}'"):
            self.precision: Precision = pick_precision(
                precision, self.device, net, in_channels=spec.channels_in
            )
            self._net = prepare_network(net, self.device, self.precision)

    @property
    def spec(self) -> TaskSpec:
        """The task."""
        return self.bundle.spec

    @property
    def network(self) -> nn.Module:
        """The network as it runs, on its device."""
        return self._net

    def __reduce__(self) -> tuple[Any, ...]:
        """Weights are read again where the translator arrives, with what was chosen here."""
        choices = str(self.device), self.precision, self.seed, self.as_, self.norm
        return _rebuild, (self.bundle, *choices)

    def __call__(
        self,
        data: npt.NDArray[Any],
        *,
        window: Window,
        anchor: tuple[int, int],
        radiometry: Sequence[Linear] | None = None,
        coordinates: npt.NDArray[np.float32] | None = None,
    ) -> npt.NDArray[Any]:
        """Translate a window.

        Args:
            data: Values of the source bands, finite, shape `(C, H, W)`; H and W are multiples of
                the task's `align`.
            window: Where they lie, counted from the scene's first pixel.
            anchor: `(row, col)` of the scene's first pixel on the ground lattice, where the window
                begins on a multiple of `align`.
            radiometry: Scale and offset of each source band, if `data` is stored values and the
                task reads physical ones. A target of the source's type is stored by them too.
            coordinates: Coordinate channels of the window, as `ground_coordinates` makes them,
                shape `(K, H, W)`, for a task that knows where a pixel lies.

        Returns:
            Stored values, shape `(C, H * scale, W * scale)`, or class indices, shape
            `(1, H * scale, W * scale)`. Pixels nearer to the edge than `halo` are not exact.

        Raises:
            TilingError: If data and window do not fit each other and the task.
            BundleError: If the network gives values that are not finite.
            DeviceError: If the device is out of memory.
        """
        what = f"a window of {window.width} x {window.height} px"
        planes = self.planes(
            data, window=window, anchor=anchor, radiometry=radiometry, coordinates=coordinates
        )
        with _claim_device(self.device, what), torch.inference_mode():
            started = time.perf_counter()
            y = self._net(planes[None].contiguous(memory_format=torch.channels_last))
            # A sum is finite only if all its terms are.
            if not (y.sum().isfinite() or y.isfinite().all()):
                raise BundleError(
                    f"task '{self.spec.name}' gave values that are not finite for {what} at "
                    f"column {window.col_off}, row {window.row_off}; its weights or the scene are "
                    "damaged"
                )
            scores = y[0]
            self.network_s += time.perf_counter() - started
        stored = self._to_stored(scores, data.dtype, radiometry)
        if self.device.type == "cpu":
            trim_heap_periodically()
        return stored

    def _check(
        self,
        data: npt.NDArray[Any],
        window: Window,
        anchor: tuple[int, int],
        coordinates: npt.NDArray[np.float32] | None,
    ) -> None:
        spec = self.spec
        if data.shape != (len(spec.source), *window.shape):
            raise TilingError(
                f"task '{spec.name}' reads {len(spec.source)} bands of {window}; "
                f"got an array of shape {data.shape}"
            )
        if spec.coordinates and (
            coordinates is None or coordinates.shape != (len(spec.coordinates), *window.shape)
        ):
            raise TilingError(
                f"task '{spec.name}' wants to know {', '.join(spec.coordinates)} of {window}; got "
                f"{'nothing' if coordinates is None else f'an array of {coordinates.shape}'}"
            )
        row, col = window.row_off + anchor[0], window.col_off + anchor[1]
        if window.is_empty or any(n % spec.align for n in (*window.shape, row, col)):
            raise TilingError(
                f"task '{spec.name}' needs windows on multiples of {spec.align} px on the ground "
                f"lattice; got {window.width} x {window.height} px at column {col}, row {row}"
            )

    def planes(
        self,
        data: npt.NDArray[Any],
        *,
        window: Window,
        anchor: tuple[int, int],
        radiometry: Sequence[Linear] | None = None,
        coordinates: npt.NDArray[np.float32] | None = None,
    ) -> Tensor:
        """What the network sees, float32, shape `(C, H, W)`: normalised bands, then the rest."""
        self._check(data, window, anchor, coordinates)
        spec, n_bands = self.spec, self.spec.n_source
        linear = _linear_maps(spec.source, radiometry, to_network)
        scales = spec.noise.scales if spec.noise else ()
        planes = np.empty((spec.channels_in, *window.shape), np.float32)
        noise = planes[n_bands + len(spec.coordinates) :]
        ground_noise(window, anchor=anchor, scales=scales, seed=self.seed, out=noise)
        if spec.coordinates:
            planes[n_bands : n_bands + len(spec.coordinates)] = coordinates
        if spec.source_classes is not None:
            self._one_hot(data[0], planes[:n_bands], window)
            return torch.from_numpy(planes).to(self.device)
        if self.device.type == "cpu":
            normalize(data, linear, planes[:n_bands])
            return torch.from_numpy(planes)
        rest = torch.from_numpy(planes[n_bands:]).to(self.device)
        return torch.cat([normalize_on_device(data, linear, self.device), rest])

    def _one_hot(
        self, classes: npt.NDArray[Any], out: npt.NDArray[np.float32], window: Window
    ) -> None:
        """One plane a class, 1 where a pixel is of it."""
        assert self.spec.source_classes is not None
        for item, plane in zip(self.spec.source_classes, out, strict=True):
            np.equal(classes, item.value, out=plane, casting="unsafe")
        if not out.any(axis=0).all():
            known = {item.value: item.name for item in self.spec.source_classes}
            unknown = sorted(set(np.unique(classes).tolist()) - set(known))
            raise DomainError(
                f"task '{self.spec.name}' reads the classes "
                f"{', '.join(f'{value} {name}' for value, name in known.items())}; "
                f"{window} holds {', '.join(map(str, unknown[:8]))}"
            )

    def _to_stored(
        self, scores: Tensor, source_dtype: np.dtype[Any], radiometry: Sequence[Linear] | None
    ) -> npt.NDArray[Any]:
        """Product values of the network's output, computed on its device."""
        spec, is_on_cpu = self.spec, scores.device.type == "cpu"
        if spec.palette is not None:
            classes = classify(scores.numpy()) if is_on_cpu else classify_on_device(scores)
            return classes[None] if self.as_ == "classes" else apply_palette(classes, spec.palette)
        dtypes = {source_dtype if b.dtype == "source" else np.dtype(b.dtype) for b in spec.target}
        dtype = np.result_type(*dtypes)
        target_radiometry = radiometry if all(b.dtype == "source" for b in spec.target) else None
        linear = _linear_maps(spec.target, target_radiometry, from_network)
        if is_on_cpu:
            return denormalize(scores.numpy(), linear, dtype)
        return denormalize_on_device(scores, linear, dtype)


def _linear_maps(
    bands: Sequence[Any], radiometry: Sequence[Linear] | None, convert: Any
) -> list[Linear]:
    """Factor and summand of each band; the last radiometry serves all that follow."""
    pairs = list(radiometry or [(1.0, 0.0)])
    return [
        convert(band, pairs[min(i, len(pairs) - 1)] if band.units != "dn" else (1.0, 0.0))
        for i, band in enumerate(bands)
    ]


@contextmanager
def _claim_device(device: torch.device, what: str) -> Iterator[None]:
    """Hold a device, its arithmetic set to give the same bits for the same pixels."""
    deterministic = torch.backends.cudnn.flags(
        enabled=True, benchmark=False, deterministic=True, allow_tf32=False
    )
    try:
        with _locks[device], deterministic:
            yield
    except RuntimeError as error:
        lacks_memory = isinstance(error, torch.OutOfMemoryError) or "allocate memory" in str(error)
        if lacks_memory:
            raise DeviceError(
                f"{device} has too little memory for {what}; give a smaller {option('tile')} or "
                f"{option('memory')}"
            ) from error
        raise


def _rebuild(
    bundle: Bundle,
    device: str,
    precision: str,
    seed: int,
    as_: Literal["rgb", "classes"],
    norm: NormStatistics | None,
) -> Translator:
    return Translator(bundle, device=device, precision=precision, seed=seed, as_=as_, norm=norm)
