"""Weights that the CycleGAN and pix2pix authors' own code has written.

References:
    Zhu et al., ICCV 2017, and Isola et al., CVPR 2017. Their generators are nested `Sequential`s,
    so that a key is a path of positions, which layers without weights shift: dropout within the
    blocks of a ResNet does, and so does a level of a U-Net. Described here anew, from the files.
"""

from __future__ import annotations

import pickle
import re
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from geotrans.errors import BundleError, UsageError, option, suggest
from geotrans.models.registry import build

# Word of the authors' `--netG`: our architecture, and its arguments.
REFERENCES: dict[str, tuple[str, dict[str, Any]]] = {
    "resnet_9blocks": ("resnet", {"blocks": 9, "upsample": "transposed"}),
    "resnet_6blocks": ("resnet", {"blocks": 6, "upsample": "transposed"}),
    "unet_128": ("unet_reference", {"depth": 7}),
    "unet_256": ("unet_reference", {"depth": 8}),
}
NORMS = ("instance", "batch")

_N_SHOWN = 3
_COUNTER = "num_batches_tracked"
_STATISTICS = ("running_mean", "running_var")


@dataclass(frozen=True)
class Reference:
    """A published generator in our terms.

    Attributes:
        arch: Name in `GENERATORS`.
        args: Arguments of the architecture.
        state: Weights as `build` with these arguments names them, float32.
        channels_in: Channels of its input.
        channels_out: Channels of its output.
    """

    arch: str
    args: dict[str, Any]
    state: dict[str, Tensor]
    channels_in: int
    channels_out: int


def read_reference(path: str | PathLike[str]) -> dict[str, Tensor]:
    """Read the state dict in a `.pth` file; nothing in it is executed.

    Args:
        path: File that `torch.save` wrote, in its old or new format.

    Returns:
        Tensors by key, the prefix `module.` of a network on several GPUs taken off.

    Raises:
        BundleError: If the file is missing, damaged, or holds anything but tensors.
    """
    path = Path(path)
    if not path.is_file():
        reason = "it is a folder" if path.is_dir() else "there is no such file"
        raise BundleError(f"cannot read weights from {path}: {reason}")
    try:
        with warnings.catch_warnings(action="ignore"):  # of unusual pickles: they load or fail
            state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise BundleError(_describe_refusal(path, str(error))) from error
    except (
        ArithmeticError, AttributeError, EOFError, LookupError, OSError, RuntimeError, TypeError,
        ValueError, zipfile.BadZipFile,
    ) as error:  # fmt: skip
        text = str(error).strip().split("\n")[0][:120]
        raise BundleError(
            f"{path} is damaged or was not written by torch.save ({text or type(error).__name__}); "
            "copy or download it again"
        ) from error
    if not isinstance(state, Mapping) or not state:
        raise BundleError(f"{path} holds {type(state).__name__}, not the weights of a network")
    for key, value in state.items():
        if not (isinstance(key, str) and isinstance(value, Tensor)):
            raise BundleError(
                f"{path} is no plain state dict: its entry '{key}' holds {type(value).__name__}; "
                "give the latest_net_G.pth of a run, or save net.state_dict()"
            )
    inner = {key.removeprefix("module."): value for key, value in state.items()}
    return inner if all(key.startswith("module.") for key in state) else dict(state)


def fit_reference(state: Mapping[str, Tensor], arch: str, *, norm: str | None = None) -> Reference:
    """Find the weights of a published architecture in a state dict.

    Args:
        state: Tensors by key, as `read_reference` gives them.
        arch: Name in `REFERENCES`.
        norm: `"instance"` or `"batch"`; whichever fits unless given.

    Returns:
        The network; statistics that old instance norms kept but never used are left out.

    Raises:
        UsageError: If architecture or norm is not known.
        BundleError: If the weights do not fit; lists the first differences.
    """
    if arch not in REFERENCES:
        raise UsageError(
            f"architecture '{arch}' is not known{suggest(arch, REFERENCES)}; "
            f"use one of {', '.join(REFERENCES)}"
        )
    if norm not in (None, *NORMS):
        raise UsageError(f"norm '{norm}' is not known; use instance or batch")
    attempts = {kind: _try_fit(state, arch, kind) for kind in ([norm] if norm else NORMS)}
    kind, (reference, differences) = min(attempts.items(), key=lambda one: len(one[1][1]))
    if reference is None:
        shown = "; ".join(differences[:_N_SHOWN])
        more = f"; and {len(differences) - _N_SHOWN} more" if len(differences) > _N_SHOWN else ""
        raise BundleError(
            f"these weights do not fit {arch} with {kind} norm: {shown}{more}{_suggest_arch(state)}"
        )
    for key, tensor in reference.state.items():
        if not tensor.isfinite().all():
            raise BundleError(f"these weights are damaged: {key} holds values that are not finite")
    return reference


def _try_fit(
    state: Mapping[str, Tensor], arch: str, norm: str
) -> tuple[Reference | None, list[str]]:
    """The network, or its differences from the file, by the file's keys."""
    first, last = _end_keys(arch)
    own_arch, args = REFERENCES[arch]
    if (missing := [key for key in (first, last) if key not in state]) or any(
        state[key].ndim != 4 for key in (first, last)
    ):
        return None, [f"{key} is missing" for key in missing] or [f"{first} is no convolution"]
    width, channels_in = state[first].shape[:2]
    channels_out = state[last].shape[1 if own_arch == "unet_reference" else 0]
    args = {**args, "width": width, "norm": norm}
    with torch.device("meta"):
        expected = build(own_arch, channels_in, channels_out, **args).state_dict()
    names = {_their_key(key, arch, has_dropout=_has_dropout(state)): key for key in expected}
    differences = list(
        _list_differences(state, {n: expected[key] for n, key in names.items()}, norm)
    )
    if differences:
        return None, differences
    weights = {k: state[n].float() for n, k in names.items() if not k.endswith(_COUNTER)}
    return Reference(own_arch, args, weights, channels_in, channels_out), []


def _list_differences(
    state: Mapping[str, Tensor], expected: Mapping[str, Tensor], norm: str
) -> Iterator[str]:
    unused = (_COUNTER, *(_STATISTICS if norm == "instance" else ()))
    for key, tensor in expected.items():
        if key.endswith(_COUNTER):
            continue
        if key not in state:
            yield f"{key} is missing"
        elif state[key].shape != tensor.shape:
            yield f"{key} is {tuple(state[key].shape)}, not {tuple(tensor.shape)}"
        elif not state[key].is_floating_point():
            yield f"{key} holds {state[key].dtype}"
    for key in state:
        if key not in expected and not key.endswith(unused):
            yield f"{key} is unknown"


def _end_keys(arch: str) -> tuple[str, str]:
    """Keys of the first and the last convolution."""
    own_arch, args = REFERENCES[arch]
    if own_arch == "unet_reference":
        return "model.model.0.weight", "model.model.3.weight"
    return "model.1.weight", f"model.{args['blocks'] + 17}.weight"


def _has_dropout(state: Mapping[str, Tensor]) -> bool:
    """Whether dropout between the convolutions of a ResNet's block has moved the second by one."""
    return (
        "model.10.conv_block.6.weight" in state and state["model.10.conv_block.6.weight"].ndim > 1
    )


def _their_key(key: str, arch: str, *, has_dropout: bool) -> str:
    """Name in a published file of a weight that is `key` in our network."""
    own_arch, args = REFERENCES[arch]
    if own_arch == "resnet":
        block = re.fullmatch(r"body\.(\d+)\.body\.(\d+)\.(\w+)", key)
        if block is None:
            return f"model.{key.removeprefix('body.')}"
        place = int(block[2]) + (has_dropout and int(block[2]) > 3)
        return f"model.{block[1]}.conv_block.{place}.{block[3]}"
    side, index, part, kind = key.split(".")
    level = int(index) if side == "down" else args["depth"] - 1 - int(index)
    if level == 0:
        return f"model.model.{0 if side == 'down' else 3}.{kind}"
    # Down: activation, convolution, norm; the levels below; up: activation, convolution, norm.
    first = 1 if side == "down" else 3 if level == args["depth"] - 1 else 5
    return f"model.model.1.{'model.3.' * (level - 1)}model.{first + int(part)}.{kind}"


def _suggest_arch(state: Mapping[str, Tensor]) -> str:
    """What the weights would fit, if anything."""
    for arch in REFERENCES:
        for norm in NORMS:
            if _try_fit(state, arch, norm)[0] is not None:
                return f"; they fit {option('arch', arch)} and {option('norm', norm)}"
    return "; geotrans reads " + ", ".join(REFERENCES)


def _describe_refusal(path: Path, message: str) -> str:
    """Why a pickle is refused, with the name it would have called if torch reports it."""
    name = re.search(r"GLOBAL ([\w.]+)", message)
    if name:
        return (
            f"{path} holds pickled code or objects ({name[1]}), which could do anything when they "
            "are loaded, and is refused; give a file that holds net.state_dict() alone"
        )
    return f"{path} is damaged or no file of weights; copy or download it again"
