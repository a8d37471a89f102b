"""Norms that take their statistics from the image, and what becomes of them at inference.

References:
    Ulyanov et al., "Instance Normalization: The Missing Ingredient for Fast Stylization", 2016.
    Batch norm at batch size 1 with statistics of the test image, as pix2pix is tested (Isola et
    al., CVPR 2017, section 3.3), is the same with a learned scale and shift.
"""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn

from geotrans.errors import BundleError


def use_image_norms(net: nn.Module) -> nn.Module:
    """A copy whose norms take their statistics from each image: batch norms become instance norms.

    Args:
        net: Network with any norms; left as it is.
    """

    def make_instance_norm(norm: nn.BatchNorm2d | nn.InstanceNorm2d) -> nn.Module:
        if isinstance(norm, nn.InstanceNorm2d):
            return norm
        instance = nn.InstanceNorm2d(norm.num_features, eps=norm.eps, affine=True)
        instance.weight, instance.bias = norm.weight, norm.bias
        return instance

    return _replace_norms(net, make_instance_norm)


def freeze_norms(net: nn.Module, values: Tensor) -> nn.Module:
    """A copy whose norms have these statistics, whatever the image.

    Args:
        net: Network with any norms; left as it is.
        values: Means and then variances of the channels, norm by norm in the order of the modules.

    Raises:
        BundleError: If there are more or fewer values than the norms have channels.
    """
    n_expected = sum(2 * norm.num_features for norm in image_norms(use_image_norms(net)).values())
    if values.numel() != n_expected:
        raise BundleError(
            f"the network's norms want {n_expected} statistics; {values.numel()} were given"
        )
    remaining = values.float()

    def make_frozen_norm(norm: nn.BatchNorm2d | nn.InstanceNorm2d) -> nn.Module:
        nonlocal remaining
        n = norm.num_features
        batch = nn.BatchNorm2d(n, eps=norm.eps)
        if norm.affine:
            batch.weight, batch.bias = norm.weight, norm.bias
        batch.running_mean, batch.running_var = remaining[:n].clone(), remaining[n : 2 * n].clone()
        remaining = remaining[2 * n :]
        return batch

    return _replace_norms(net, make_frozen_norm)


def image_norms(net: nn.Module) -> dict[str, nn.InstanceNorm2d]:
    """Norms that take their statistics from the image, by name."""
    return {name: m for name, m in net.named_modules() if isinstance(m, nn.InstanceNorm2d)}


def _replace_norms(
    net: nn.Module, make: Callable[[nn.BatchNorm2d | nn.InstanceNorm2d], nn.Module]
) -> nn.Module:
    """A copy in evaluation mode with other norms."""
    with torch.random.fork_rng(devices=[]):
        net = copy.deepcopy(net)
        for path, module in list(net.named_modules()):
            if isinstance(module, nn.BatchNorm2d | nn.InstanceNorm2d):
                parent, _, name = path.rpartition(".")
                setattr(net.get_submodule(parent), name, make(module))
    return net.eval().requires_grad_(False)
