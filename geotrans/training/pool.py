"""Pool of earlier generated patches, so that a critic does not forget their artefacts.

References:
    Shrivastava et al., "Learning from Simulated and Unsupervised Images through Adversarial
    Training", CVPR 2017, section 2.3, as used by CycleGAN.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


class PatchPool:
    """A fixed number of generated patches.

    While it fills, patches pass through; then each is, with even odds, swapped for an older one.

    Attributes:
        patches: Patches held, `(n, C, H, W)`; None before the first.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.patches: Tensor | None = None

    def swap(self, patches: Tensor, rng: np.random.Generator) -> Tensor:
        """What a critic sees instead of new patches `(N, C, H, W)`, which the pool takes in."""
        if self.size == 0:
            return patches
        drawn = []
        for patch in patches.detach():
            n = 0 if self.patches is None else len(self.patches)
            if n < self.size:
                new = patch[None].clone()
                self.patches = new if self.patches is None else torch.cat([self.patches, new])
                drawn.append(patch)
            elif rng.random() < 0.5:
                assert self.patches is not None
                index = int(rng.integers(n))
                drawn.append(self.patches[index].clone())
                self.patches[index] = patch
            else:
                drawn.append(patch)
        return torch.stack(drawn)
