"""Ensembles: the mean output of several networks.

References:
    Lakshminarayanan et al., "Simple and scalable predictive uncertainty estimation using deep
    ensembles", NeurIPS 2017 (arXiv 1612.01474), of which this is the mean.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn


class Ensemble(nn.Module):
    """Networks of one shape, trained separately, whose outputs are averaged.

    Where ground is scarce, each is wrong in its own way, and their mean is closer to the truth than
    any of them.

    Args:
        members: The networks.
    """

    def __init__(self, members: Iterable[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    @property
    def align(self) -> int:
        """Stride of the members, px."""
        return int(self.members[0].align)  # type: ignore[arg-type] # every generator has one

    def forward(self, x: Tensor) -> Tensor:
        """Translate patches `(N, C, H, W)`; H and W are multiples of `align`."""
        first, *others = self.members
        total: Tensor = first(x)
        # Rounded values are added up, and divided, as exact ones.
        total = total.to(torch.promote_types(total.dtype, torch.float32))
        for member in others:
            total = total + member(x)
        return total / len(self.members)


def build_ensemble(
    arch: str, args: Mapping[str, Any], states: Sequence[Mapping[str, Tensor]]
) -> tuple[str, dict[str, Any], dict[str, Tensor]]:
    """The mean of trained networks of one shape.

    Args:
        arch: Name of theirs in `GENERATORS`.
        args: Arguments each was built with.
        states: Their weights.

    Returns:
        Name, arguments and weights of the mean. Of residuals the bodies are averaged, and the
        linear maps, which are one if they were fitted to the same patches.
    """
    if arch == "residual":
        _, body_args, state = build_ensemble(
            args["body"]["arch"],
            args["body"].get("args", {}),
            [_strip_prefix(s, "body") for s in states],
        )
        linear = {
            name: torch.stack([s[name] for s in states]).mean(dim=0) for name in ("weight", "bias")
        }
        body = {"arch": "ensemble", "args": body_args}
        return arch, {**args, "body": body}, {**linear, **_add_prefix("body", state)}
    state = {}
    for i, member_state in enumerate(states):
        state |= _add_prefix(f"members.{i}", member_state)
    return "ensemble", {"n": len(states), "of": {"arch": arch, "args": dict(args)}}, state


def _strip_prefix(state: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    """The weights of a part, named as it names them."""
    prefix = f"{name}."
    return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}


def _add_prefix(name: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights of a part, named as the whole names them."""
    return {f"{name}.{key}": value for key, value in state.items()}
