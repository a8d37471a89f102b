"""Several networks that answer as one.

References:
    Breiman, "Bagging predictors", Machine Learning 24, 1996; Lakshminarayanan et al., "Simple and
    scalable predictive uncertainty estimation using deep ensembles", arXiv 1612.01474.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from geotrans.errors import ConfigError


class Ensemble(nn.Module):
    """Networks of one kind that learn from different patches; what they say is averaged.

    Where ground is scarce, each is wrong in its own way, and their mean is closer to the truth than
    any of them. While they learn, each sees a share of every batch, so that one run makes all of
    them and none learns to lean on another.

    Args:
        members: The networks, all of the same shape.
    """

    def __init__(self, members: Iterable[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        if not len(self.members):
            raise ConfigError("an ensemble of no networks says nothing; give n, at least 1")

    @property
    def align(self) -> int:
        """Stride of the members, px."""
        return int(self.members[0].align)  # type: ignore[arg-type] # every generator has one

    def forward(self, x: Tensor) -> Tensor:
        """Translate patches `(N, C, H, W)`; H and W are multiples of `align`.

        Raises:
            ConfigError: If there are fewer patches to learn from than members.
        """
        if self.training:
            return self._of_shares(x)
        first, *others = self.members
        made: Tensor = first(x)
        # Rounded values are added up, and divided, as exact ones.
        made = made.to(torch.promote_types(made.dtype, torch.float32))
        for member in others:
            made = made + member(x)
        return made / len(self.members)

    def _of_shares(self, x: Tensor) -> Tensor:
        n = len(self.members)
        if len(x) < n:
            raise ConfigError(
                f"an ensemble of {n} shares out batches of at least {n} patches; got {len(x)}: "
                "raise training.batch"
            )
        shares = x.tensor_split(n)
        return torch.cat([one(share) for one, share in zip(self.members, shares, strict=True)])


def members_of(net: nn.Module) -> list[nn.Module]:
    """The members of an ensemble; any other network itself."""
    return [*net.members] if isinstance(net, Ensemble) else [net]
