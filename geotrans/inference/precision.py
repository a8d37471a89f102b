"""Choice of a network's arithmetic: float32 or bfloat16."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Literal, cast

import torch
from torch import Tensor, nn

from geotrans.errors import DeviceError, UsageError
from geotrans.models import Residual, alignment

Precision = Literal["float32", "bfloat16"]

TORCH_DTYPES: dict[Precision, torch.dtype] = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
}

# Flags of CPUs that multiply bfloat16 themselves; others imitate it, slower than float32.
_CPU_FLAGS = {"avx512_bf16", "amx_bf16", "bf16", "sve_bf16"}
# bfloat16 costs up to 2 grey levels: it must be worth it, and by more than a clock's noise.
_MIN_SPEEDUP = 1.2
_TRIAL_PX = 256


def pick_precision(
    name: str, device: torch.device, net: nn.Module, *, in_channels: int
) -> Precision:
    """The precision of a name; `"auto"` tries both and takes the faster.

    Args:
        name: `"float32"`, `"bfloat16"` or `"auto"`.
        device: Where the network will run.
        net: The network in float32; left as it is.
        in_channels: Channels of its input.

    Raises:
        UsageError: If there is no such precision.
        DeviceError: If bfloat16 is requested and the device does not have it.
    """
    if name not in ("auto", "float32", "bfloat16"):
        raise UsageError(f"precision '{name}' is not known; use auto, float32 or bfloat16")
    if name == "auto":
        return _pick_faster(device, net, in_channels)
    if name == "bfloat16" and not has_bfloat16(device):
        raise DeviceError(f"asked for bfloat16, which {device} can only imitate; use float32")
    return cast(Precision, name)


def has_bfloat16(device: torch.device) -> bool:
    """Whether a device multiplies bfloat16 in hardware."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    return device.type == "cpu" and bool(_CPU_FLAGS & _cpu_flags())


def prepare_network(net: nn.Module, device: torch.device, precision: Precision) -> nn.Module:
    """The network on a device, in a precision and in channels-last order; changes `net`.

    It takes and gives float32 in any precision. Of a residual the body alone is rounded: what it
    is added to is measured.
    """
    net = net.to(device).to(memory_format=torch.channels_last)
    if precision == "float32":
        return net
    if isinstance(net, Residual):
        net.body = _Rounded(net.body, TORCH_DTYPES[precision])
        return net
    return _Rounded(net, TORCH_DTYPES[precision])


class _Rounded(nn.Module):
    """A network in less than float32, between float32 values."""

    def __init__(self, net: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.net = net.to(dtype=dtype)
        self.dtype = dtype
        self.align = alignment(net)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.net(x.to(self.dtype))
        return y.float()


def _pick_faster(device: torch.device, net: nn.Module, in_channels: int) -> Precision:
    if not has_bfloat16(device) or not any(True for _ in net.parameters()):
        return "float32"
    align = alignment(net)
    edge = -(-_TRIAL_PX // align) * align
    shape = in_channels, edge, edge
    exact = prepare_network(deepcopy(net), device, "float32")
    fast = prepare_network(deepcopy(net), device, "bfloat16")
    # The first of each loads kernels; in turn, so that a busy moment meets both.
    with _one_thread():
        trials = [(_time_window(exact, shape), _time_window(fast, shape)) for _ in range(4)][1:]
    exact_s, fast_s = (min(times) for times in zip(*trials, strict=True))
    return "bfloat16" if exact_s > _MIN_SPEEDUP * fast_s else "float32"


@torch.inference_mode()
def _time_window(net: nn.Module, shape: tuple[int, int, int]) -> float:
    """Time of one window."""
    weight = next(net.parameters())
    x = torch.zeros(1, *shape, device=weight.device)
    x = x.contiguous(memory_format=torch.channels_last)
    # On a CPU other programs want time, too: what counts is how much this thread used.
    clock = time.perf_counter if x.is_cuda else time.thread_time
    started = clock()
    net(x)
    if x.is_cuda:
        torch.cuda.synchronize(x.device)
    return clock() - started


@contextmanager
def _one_thread() -> Iterator[None]:
    """Threads that wait for each other use time, too, on a busy machine the more."""
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(n_threads)


def _cpu_flags() -> set[str]:
    """Instruction sets of the CPU, in the words of the Linux kernel."""
    if hasattr(torch.cpu, "get_capabilities"):
        return {name for name, has in torch.cpu.get_capabilities().items() if has is True}
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return set()
    return {
        flag
        for line in lines
        if line.startswith(("flags", "Features"))
        for flag in line.partition(":")[2].split()
    }
