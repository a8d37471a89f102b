from __future__ import annotations

import pytest
import torch

from geotrans.errors import DeviceError, UsageError
from geotrans.inference import pick_device


def with_cuda(monkeypatch: pytest.MonkeyPatch, n: int) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: n > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: n)


def test_without_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    with_cuda(monkeypatch, 0)
    assert pick_device() == pick_device("cpu") == torch.device("cpu")
    for asked in ("cuda", "cuda:0", "cuda:1"):
        with pytest.raises(DeviceError, match=f"asked for {asked}, and torch finds no CUDA device"):
            pick_device(asked)


def test_with_two(monkeypatch: pytest.MonkeyPatch) -> None:
    with_cuda(monkeypatch, 2)
    assert pick_device() == pick_device("cuda") == torch.device("cuda:0")
    assert pick_device("cuda:1") == torch.device("cuda:1")
    assert pick_device("cpu") == torch.device("cpu")
    with pytest.raises(DeviceError, match=r"asked for cuda:2, and torch finds 2, cuda:0 to cuda:1"):
        pick_device("cuda:2")


def test_apple_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(DeviceError, match="no Apple GPU"):
        pick_device("mps")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert pick_device("mps").type == "mps"


@pytest.mark.parametrize("asked", ["gpu", "", "cuda:", "cuda:-1", "CPU ", "cuda:1,2"])
def test_words_that_are_no_device(asked: str) -> None:
    with pytest.raises(UsageError, match="is not known; use auto, cpu, cuda, cuda:N or mps"):
        pick_device(asked)
