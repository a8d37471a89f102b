"""Bundles: one file that holds a network and everything needed to use it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import ValidationError

from geotrans.errors import BundleError, ConfigError, message_of
from geotrans.runtime.files import write_whole
from geotrans.tasks.header import Header, read_header
from geotrans.tasks.spec import SCHEMA_VERSION, TaskSpec
from geotrans.tasks.statistics import NormStatistics

if TYPE_CHECKING:
    from torch import Tensor, nn

Part = Literal["generator", "inverse", "critic"]

_KEY = "geotrans"
# Biases, norms and linear fits: half precision would cost accuracy there and save nothing.
_MAX_SMALL = 1024
_COUNTER = "num_batches_tracked"


@dataclass(frozen=True)
class Bundle:
    """A bundle on disk, its header read and checked.

    Attributes:
        path: The file.
        spec: The task.
        header: What else the file says it holds.
    """

    path: Path
    spec: TaskSpec
    header: Header

    @classmethod
    def open(cls, path: str | PathLike[str]) -> Bundle:
        """Read and check the header; weights stay on disk, and torch is not imported.

        Raises:
            BundleError: If the file is missing, damaged, foreign or too new.
        """
        path = Path(path)
        header = read_header(path)
        # A worker of a cluster may be in another directory.
        return cls(path.absolute(), _parse_spec(path, header.metadata), header)

    def _repr_html_(self) -> str:
        from geotrans.html.card import embed_thumbnail

        spec, path = self.spec, self.path
        size = f"{self.n_bytes / 1e6:.1f} MB, {self.n_parameters() / 1e6:.2f} million parameters"
        facts = [("file", f"{path.name}, {size}"), ("sha256", self.sha256[:16])]
        picture = path.with_name(spec.samples or f"{spec.name}.png")
        return spec.render_html(
            more=facts, figure=embed_thumbnail(picture, f"sheet of {spec.name}")
        )

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of the file, hexadecimal."""
        with self.path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    @property
    def n_bytes(self) -> int:
        """Size of the file."""
        return self.header.n_bytes

    @property
    def parts(self) -> tuple[str, ...]:
        """Networks in the file: the generator, and those kept for training on."""
        return tuple(dict.fromkeys(key.partition(".")[0] for key in self.header.tensors))

    def n_parameters(self, part: Part = "generator") -> int:
        """Learned values of a network; statistics of norms are not counted."""
        return sum(
            tensor.size
            for key, tensor in self.header.tensors.items()
            if key.startswith(f"{part}.") and "running_" not in key
        )

    def state(self, part: Part = "generator") -> dict[str, Tensor]:
        """Weights of a network in float32, to be loaded into what `models.build` makes.

        Raises:
            BundleError: If they cannot be read or are not finite.
        """
        import torch
        from safetensors import SafetensorError, safe_open

        prefix = f"{part}."
        state: dict[str, Tensor] = {}
        try:
            with safe_open(self.path, framework="pt") as file:
                for key in file.keys():  # noqa: SIM118  not a mapping
                    if key.startswith(prefix):
                        state[key.removeprefix(prefix)] = file.get_tensor(key)
        except (SafetensorError, OSError) as error:
            raise BundleError(f"bundle {self.path} cannot be read: {error}") from error
        for key, tensor in state.items():
            if tensor.is_floating_point():
                state[key] = tensor = tensor.to(torch.float32)
                if not tensor.isfinite().all():
                    raise BundleError(
                        f"bundle {self.path} is damaged: {prefix}{key} holds values that are not "
                        "finite"
                    )
        return state

    def network(self, norm: NormStatistics | None = None) -> nn.Module:
        """The generator as it was trained, with its weights: float32, evaluation mode.

        Args:
            norm: Statistics for its norms instead of those it has; with mode `"tile"` they are
                taken from each window anew.

        Raises:
            BundleError: If architecture, weights and task do not fit each other.
        """
        import torch

        with torch.random.fork_rng(devices=[]):  # Fresh layers draw weights that are replaced.
            net = _assemble(self.spec, self.state(), where=f"bundle {self.path}")
        return net if norm is None else _with_norms(net, norm)

    def generator(self, norm: NormStatistics | None = None) -> nn.Module:
        """The generator as it runs: norms folded, the same bits in every window.

        Args:
            norm: As of `network`.

        Raises:
            BundleError: If architecture, weights and task do not fit each other.
        """
        import torch

        from geotrans.models import fold, receptive_halo

        with torch.random.fork_rng(devices=[]):
            net = fold(self.network(norm))
        # The thorough check is made on saving; this one detects an altered header.
        _check_halo(self.spec, receptive_halo(net, self.spec.channels_in, by_stride=True))
        return net


def read_spec(path: str | PathLike[str]) -> TaskSpec:
    """The task a bundle holds, without torch.

    Raises:
        BundleError: If the file is missing, damaged, foreign or too new.
    """
    return Bundle.open(path).spec


def save_bundle(
    path: str | PathLike[str],
    spec: TaskSpec,
    generator: Mapping[str, Tensor],
    *,
    inverse: Mapping[str, Tensor] | None = None,
    critic: Mapping[str, Tensor] | None = None,
    exact: bool = False,
) -> Path:
    """Write a bundle: weights in half precision, small tensors in float32.

    The file appears whole or not at all, and only if the generator's architecture, weights, halo
    and stride fit each other.

    Args:
        path: File to write; replaced if it exists.
        spec: The task.
        generator: State of the network `spec.generator` describes, norms not folded.
        inverse: State of the network of the way back.
        critic: State of the critic, for training on.
        exact: Keep every weight in float32, for twice the size.

    Returns:
        The path.

    Raises:
        BundleError: If spec and weights do not fit.
        OutputError: If the file cannot be written.
    """
    from geotrans.models import receptive_halo
    from geotrans.models.norms import image_norms

    path = Path(path)
    net = _assemble(spec, generator, where=f"task '{spec.name}'")
    if image_norms(net) and spec.norm != "instance":
        raise BundleError(
            f"task '{spec.name}' gives {spec.norm} as its norm; its network has instance norms, "
            "whose statistics must be taken of each scene"
        )
    _check_halo(spec, receptive_halo(net, spec.channels_in))
    tensors: dict[str, Tensor] = {}
    for part, state in (("generator", generator), ("inverse", inverse), ("critic", critic)):
        for key, tensor in (state or {}).items():
            if not key.endswith(_COUNTER):
                tensors[f"{part}.{key}"] = _to_stored(f"{part}.{key}", tensor, exact=exact)
    _write(path, tensors, spec)
    return path


def _parse_spec(path: Path, metadata: Mapping[str, str]) -> TaskSpec:
    """The task in a header."""
    if _KEY not in metadata:
        raise BundleError(
            f"{path} is a safetensors file, but no geotrans bundle: its header describes no task"
        )
    try:
        fields = json.loads(metadata[_KEY])
        version = fields.get("schema_version", 0)
    except (ValueError, AttributeError, RecursionError) as error:
        raise BundleError(f"bundle {path} is damaged: its task is not JSON") from error
    if not isinstance(version, int) or version > SCHEMA_VERSION:
        raise BundleError(
            f"bundle {path} has schema version {version}, and this geotrans reads up to "
            f"{SCHEMA_VERSION}; update geotrans"
        )
    try:
        return TaskSpec.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        message = first["msg"].removeprefix("Value error, ")
        raise BundleError(
            f"bundle {path} describes its task wrongly: {field or 'task'}: {message}"
        ) from error


def _assemble(spec: TaskSpec, state: Mapping[str, Tensor], *, where: str) -> nn.Module:
    """Build the network a task describes, with these weights."""
    import torch

    from geotrans.models import alignment, build

    def build_network(device: str) -> nn.Module:
        with torch.random.fork_rng(devices=[]), torch.device(device):
            return build(
                spec.generator.arch, spec.channels_in, spec.channels_out, **spec.generator.args
            )

    try:
        skeleton = build_network("meta")  # Costs no memory, whatever the arguments.
    except (ConfigError, TypeError, ValueError, RuntimeError) as error:
        raise BundleError(
            f"{where} names a network that cannot be built: {message_of(error)}"
        ) from error
    differences = list(_list_differences(skeleton.state_dict(), state))
    if differences:
        more = f"; and {len(differences) - 3} more" if len(differences) > 3 else ""
        raise BundleError(
            f"{where} holds weights that do not fit its network '{spec.generator.arch}': "
            f"{'; '.join(differences[:3])}{more}"
        )
    align = alignment(skeleton)
    if spec.align % align:
        raise BundleError(
            f"{where} gives an alignment of {spec.align} px; its network has a stride of {align} px"
        )
    net = build_network("cpu")
    net.load_state_dict({k: v for k, v in state.items() if not k.endswith(_COUNTER)}, strict=False)
    return net.eval()


def _with_norms(net: nn.Module, norm: NormStatistics) -> nn.Module:
    """The network with other statistics."""
    import numpy as np
    import torch

    from geotrans.models.norms import freeze_norms, use_image_norms

    if norm.mode == "tile":
        return use_image_norms(net)
    return freeze_norms(net, torch.from_numpy(np.frombuffer(norm.values, "<f4").copy()))


def _check_halo(spec: TaskSpec, needed: int) -> None:
    if spec.halo < needed:
        raise BundleError(
            f"task '{spec.name}' gives a halo of {spec.halo} px; its network sees {needed} px"
        )


def _list_differences(expected: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> Iterable[str]:
    """What is missing, unknown or of another shape, except counters of batches."""
    expected = {k: v for k, v in expected.items() if not k.endswith(_COUNTER)}
    state = {k: v for k, v in state.items() if not k.endswith(_COUNTER)}
    for key in expected:
        if key not in state:
            yield f"{key} is missing"
        elif expected[key].shape != state[key].shape:
            yield f"{key} is {tuple(state[key].shape)}, not {tuple(expected[key].shape)}"
    for key in state:
        if key not in expected:
            yield f"{key} is unknown"


def _to_stored(key: str, tensor: Tensor, *, exact: bool) -> Tensor:
    """A tensor as a bundle holds it."""
    import torch

    tensor = tensor.detach().cpu().contiguous().clone()
    if not tensor.is_floating_point():
        return tensor
    is_half = tensor.numel() >= _MAX_SMALL and not exact
    stored = tensor.to(torch.float16 if is_half else torch.float32)
    if not stored.isfinite().all():
        precision = "half precision" if is_half else "float32"
        raise BundleError(f"{key} holds values that are not finite in {precision}")
    return stored


def _write(path: Path, tensors: Mapping[str, Tensor], spec: TaskSpec) -> None:
    from safetensors.torch import save

    write_whole(path, save(dict(tensors), metadata={_KEY: spec.model_dump_json()}))
