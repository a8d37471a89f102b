"""Where a network runs."""

from __future__ import annotations

import re

import torch

from geotrans.errors import DeviceError, UsageError, option


def pick_device(name: str = "auto") -> torch.device:
    """The device of a name.

    Args:
        name: `"auto"` (a CUDA device if there is one, else the CPU), `"cpu"`, `"cuda"`,
            `"cuda:1"`, or `"mps"`.

    Raises:
        UsageError: If there is no such kind of device.
        DeviceError: If this machine does not have it.
    """
    if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", name):
        raise UsageError(f"device '{name}' is not known; use auto, cpu, cuda, cuda:N or mps")
    n_cuda = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "auto":
        return torch.device("cuda:0" if n_cuda else "cpu")
    if name == "mps" and not torch.backends.mps.is_available():
        raise DeviceError(
            f"asked for mps, and torch finds no Apple GPU here; use {option('device', 'cpu')}"
        )
    if not name.startswith("cuda"):
        return torch.device(name)
    index = int(name.partition(":")[2] or 0)
    if index >= n_cuda:
        available = f"{n_cuda}, cuda:0 to cuda:{n_cuda - 1}" if n_cuda else "no CUDA device"
        raise DeviceError(
            f"asked for {name}, and torch finds {available} here; use {option('device', 'cpu')}"
        )
    return torch.device("cuda", index)
