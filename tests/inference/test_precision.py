from __future__ import annotations

import pytest
import torch

from geotrans.errors import DeviceError, UsageError
from geotrans.inference import precision
from geotrans.inference.precision import has_bfloat16, pick_precision
from tests.inference.conftest import UNET, random_net

CPU = torch.device("cpu")


def pick(asked: str) -> str:
    return pick_precision(asked, CPU, random_net("unet", 3, 3, UNET).eval(), in_channels=3)


def with_flags(monkeypatch: pytest.MonkeyPatch, *flags: str) -> None:
    monkeypatch.setattr(precision, "_cpu_flags", lambda: set(flags))


@pytest.mark.parametrize("flag", ["avx512_bf16", "amx_bf16", "bf16"])
def test_hardware_is_asked(monkeypatch: pytest.MonkeyPatch, flag: str) -> None:
    with_flags(monkeypatch, "avx2", "avx512_f")
    assert not has_bfloat16(CPU)
    assert pick("auto") == "float32"
    assert pick("float32") == "float32"
    with pytest.raises(DeviceError, match="asked for bfloat16, which cpu can only imitate"):
        pick("bfloat16")
    with_flags(monkeypatch, flag)
    assert has_bfloat16(CPU)
    assert pick("bfloat16") == "bfloat16"


@pytest.mark.parametrize(
    ("exact_s", "fast_s", "chosen"),
    [(1.0, 0.5, "bfloat16"), (1.0, 0.9, "float32"), (0.5, 1.0, "float32")],
)
def test_auto_takes_what_is_clearly_faster(
    monkeypatch: pytest.MonkeyPatch, exact_s: float, fast_s: float, chosen: str
) -> None:
    with_flags(monkeypatch, "avx512_bf16")
    took = {torch.float32: exact_s, torch.bfloat16: fast_s}
    monkeypatch.setattr(
        precision, "_time_window", lambda net, shape: took[next(net.parameters()).dtype]
    )
    assert pick("auto") == chosen


@pytest.mark.skipif(not has_bfloat16(CPU), reason="this CPU has no bfloat16")
def test_auto_measures() -> None:
    assert pick("auto") in ("float32", "bfloat16")


def test_a_network_without_weights_has_nothing_to_gain() -> None:
    assert pick_precision("auto", CPU, random_net("identity", 3, 3, {}), in_channels=3) == "float32"


def test_unknown_precisions() -> None:
    with pytest.raises(UsageError, match="'float16' is not known; use auto, float32 or bfloat16"):
        pick("float16")


def test_flags_of_this_machine_are_words() -> None:
    flags = precision._cpu_flags()
    assert all(isinstance(flag, str) for flag in flags)
