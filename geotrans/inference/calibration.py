"""Statistics of a network's norms, pooled over many windows of one scene.

Every window is run alone and its norms wait for those of all others, so that each layer sees what
the pooled statistics of the layers before it make of the scene. That is what one large batch would
compute, in a third of its memory.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from geotrans.models.norms import image_norms, use_image_norms


@dataclass(frozen=True)
class Sample:
    """A window to take statistics from.

    Attributes:
        planes: What the network sees, float32, shape `(C, H, W)`.
        weight: Which of its pixels count, in [0, 1], float32, shape `(H, W)`.
    """

    planes: Tensor
    weight: Tensor


@dataclass(frozen=True)
class _Moments:
    """Weight, mean and summed squares of deviations of some values, each channel its own."""

    n: float
    mean: Tensor
    squares: Tensor

    def merge(self, other: _Moments) -> _Moments:
        """Those of both together (Chan et al., 1979)."""
        if other.n == 0 or self.n == 0:
            return self if other.n == 0 else other
        n, step = self.n + other.n, other.mean - self.mean
        return _Moments(
            n,
            self.mean + step * (other.n / n),
            self.squares + other.squares + step**2 * (self.n * other.n / n),
        )


def pool_together(net: nn.Module, samples: Sequence[Sample]) -> bytes:
    """Statistics of all norms in one pass over all samples, every one of them in memory.

    Args:
        net: Network with any norms, on its device; left as it is.
        samples: Windows, at least one of them with a px that counts.

    Returns:
        Values as `NormStatistics` holds them.
    """
    net = use_image_norms(net)
    statistics: dict[str, _Moments] = {}
    pending: dict[int, tuple[str, _Moments]] = {}
    # One window computes at a time: memory, and the same bits every time.
    compute_lock = threading.Lock()

    def pool() -> None:
        moments = [pending[i][1] for i in range(len(samples))]
        statistics[pending[0][0]] = _join_moments(moments)

    barrier = threading.Barrier(len(samples), pool)
    index = threading.local()

    def norm_hook(name: str, module: nn.Module, inputs: tuple[Any, ...]) -> None:
        pending[index.value] = name, _moments(inputs[0], samples[index.value].weight)
        compute_lock.release()
        try:
            barrier.wait()
        finally:
            compute_lock.acquire()

    def forward(module: nn.InstanceNorm2d, name: str, x: Tensor) -> Tensor:
        norm_hook(name, module, (x,))
        return _normalize(module, x, statistics[name])

    for name, norm in image_norms(net).items():
        norm.forward = partial(forward, norm, name)  # type: ignore[method-assign]

    def run(i: int) -> None:
        index.value = i
        with compute_lock, torch.inference_mode():
            try:
                net(samples[i].planes[None].contiguous(memory_format=torch.channels_last))
            except BaseException:
                barrier.abort()
                raise

    with ThreadPoolExecutor(len(samples), "sample") as threads:
        futures = [threads.submit(run, i) for i in range(len(samples))]
    errors = [error for future in futures if (error := future.exception()) is not None]
    # Broken barriers only follow from the first error: raise that one.
    for error in sorted(errors, key=lambda e: isinstance(e, threading.BrokenBarrierError)):
        raise error
    return _to_bytes(net, statistics)


def pool_by_layer(net: nn.Module, samples: Callable[[], Iterable[Sample]]) -> bytes:
    """Statistics of all norms, one norm after another, one sample in memory at a time.

    Args:
        net: Network with any norms, on its device; left as it is.
        samples: Gives the same windows every time it is called: once for each norm.

    Returns:
        Values as `NormStatistics` holds them.
    """
    net = use_image_norms(net)
    statistics: dict[str, _Moments] = {}
    pending: list[_Moments] = []
    weight = torch.ones(1, 1)

    class Reached(Exception):  # noqa: N818  no error
        """The first norm without statistics, by its name."""

    def forward(module: nn.InstanceNorm2d, name: str, x: Tensor) -> Tensor:
        if name not in statistics:
            pending.append(_moments(x, weight))
            raise Reached(name)
        return _normalize(module, x, statistics[name])

    norms = image_norms(net)
    for name, norm in norms.items():
        norm.forward = partial(forward, norm, name)  # type: ignore[method-assign]
    while len(statistics) < len(norms):
        reached = ""
        for sample in samples():
            weight = sample.weight
            try:
                with torch.inference_mode():
                    net(sample.planes[None].contiguous(memory_format=torch.channels_last))
            except Reached as reached_norm:
                reached = str(reached_norm)
        if not reached:  # Norms the network never comes to.
            break
        statistics[reached] = _join_moments(pending)
        pending.clear()
    return _to_bytes(net, statistics)


def _moments(x: Tensor, weight: Tensor) -> _Moments:
    """Moments of a layer's input `(1, C, h, w)`, each value by the share of it that counts."""
    # What a value of a coarser layer stands for counts by its mean weight: (H, W) -> (h, w).
    height, width = x.shape[2:]
    shares = F.adaptive_avg_pool2d(weight[None, None].to(x.device), (height, width))
    w = shares.flatten().double()
    values = x[0].flatten(1)
    n = float(w.sum())
    mean = torch.stack([(channel.double() * w).sum() for channel in values]) / max(n, 1e-300)
    squares = torch.stack(
        [
            ((channel.double() - m).square_() * w).sum()
            for channel, m in zip(values, mean, strict=True)
        ]
    )
    return _Moments(n, mean.cpu(), squares.cpu())


def _join_moments(moments: Sequence[_Moments]) -> _Moments:
    """In the order they are given, so that the same windows give the same bits."""
    total = moments[0]
    for other in moments[1:]:
        total = total.merge(other)
    return total


def _normalize(norm: nn.InstanceNorm2d, x: Tensor, moments: _Moments) -> Tensor:
    mean, var = (t.float().to(x.device) for t in _mean_variance(moments))
    return F.batch_norm(x, mean, var, norm.weight, norm.bias, eps=norm.eps)


def _mean_variance(moments: _Moments) -> tuple[Tensor, Tensor]:
    return moments.mean, moments.squares / max(moments.n, 1e-300)


def _to_bytes(net: nn.Module, statistics: dict[str, _Moments]) -> bytes:
    lines = []
    for name, norm in image_norms(net).items():
        n = norm.num_features
        neutral = _Moments(1.0, torch.zeros(n), torch.ones(n))
        lines += [t.double() for t in _mean_variance(statistics.get(name, neutral))]
    values = torch.cat(lines).numpy() if lines else np.zeros(0)
    return values.astype("<f4").tobytes()
