"""Base of the training methods: networks, averaged weights, pools, and their saved state."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import torch
from lightning.fabric import Fabric
from torch import Tensor, nn

from geotrans.sampling.cache import PatchCache
from geotrans.training.averaging import AveragedWeights, freeze_norms, recompute_norms
from geotrans.training.config import TrainConfig
from geotrans.training.pool import PatchPool

# Batches that the statistics of norms are taken from, and where their draws begin: no step's.
_NORM_BATCHES, _NORM_DRAWS = 64, 1 << 39


class Method(ABC):
    """A run by one method, from fresh weights or from where it stopped.

    Args:
        config: The run.
        cache: Patches with splits `train` and `val`.
        fabric: Devices it trains on, launched.

    Attributes:
        networks: What is trained, by name; `"generator"` is scored and exported.
        averages: Averaged weights of the generators among them.
        align: Stride of `"generator"`, px.
        halo: Its reach, px.
        generator_args: Arguments it was built with.
        inverse_args: Those of `"inverse"`, the way back; empty if there is none.

    Raises:
        ConfigError: If configuration and patches do not fit each other.
    """

    align: int
    halo: int
    generator_args: dict[str, Any]

    def __init__(self, config: TrainConfig, cache: PatchCache, fabric: Fabric) -> None:
        self.config, self.settings, self.weights = config, config.training, config.loss.weights
        self.cache, self.fabric = cache, fabric
        self.networks: dict[str, Any] = {}
        self.optimizers: dict[str, torch.optim.Optimizer] = {}
        self.averages: dict[str, AveragedWeights] = {}
        self.pools: dict[str, PatchPool] = {}
        self.inverse_args: dict[str, Any] = {}
        self.norms_frozen = False
        self._load_patches()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.settings.seed)
            self._build_networks()

    @abstractmethod
    def _load_patches(self) -> None:
        """Load the patches and check that the configured losses can be computed from them."""

    @abstractmethod
    def _build_networks(self) -> None:
        """Build the networks with fresh weights."""

    @abstractmethod
    def step(self, step: int, share: float) -> dict[str, Tensor]:
        """One update of every network.

        Args:
            step: Number of the step; every random draw follows from it.
            share: Share of the run that is done.

        Returns:
            Unweighted losses by name.
        """

    @abstractmethod
    def _generator_input(self, generator: str, draw: int) -> Tensor:
        """Input of a generator in a draw, `(N, C, H, W)`."""

    @property
    def rates(self) -> list[tuple[torch.optim.Optimizer, float]]:
        """Each optimiser with the learning rate it starts from."""
        return [(optimizer, optimizer.defaults["lr"]) for optimizer in self.optimizers.values()]

    def finalize_averages(self, step: int) -> Mapping[str, nn.Module]:
        """The averaged generators, norms recomputed, as exported; `"generator"` as `"weights"`."""
        if not self.norms_frozen:
            for name, average in self.averages.items():
                self._recompute_norms(name, average.net, step)
        return {
            "weights" if name == "generator" else name: average.net
            for name, average in self.averages.items()
        }

    def state(self) -> dict[str, Any]:
        """State from which a run resumes exactly."""
        return {
            "networks": {name: net.state_dict() for name, net in self.networks.items()},
            "optimizers": {name: item.state_dict() for name, item in self.optimizers.items()},
            "averages": {name: item.net.state_dict() for name, item in self.averages.items()},
            "n_averaged": {name: item.n_updates for name, item in self.averages.items()},
            "pools": {name: pool.patches for name, pool in self.pools.items()},
            "norms_frozen": self.norms_frozen,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Load what `state` returned."""
        self.norms_frozen = state["norms_frozen"]
        for name, net in self.networks.items():
            net.load_state_dict(state["networks"][name])
            self.optimizers[name].load_state_dict(state["optimizers"][name])
        for name, average in self.averages.items():
            average.net.load_state_dict(state["averages"][name])
            average.n_updates = state["n_averaged"][name]
        for name, pool in self.pools.items():
            patches = state["pools"][name]
            pool.patches = None if patches is None else patches.to(self.fabric.device)

    def _add_network(self, name: str, net: nn.Module, *, lr: float, averaged: bool = False) -> Any:
        """Move a network to the device and register it with its own optimiser."""
        net = net.to(memory_format=torch.channels_last)
        if averaged:
            self.averages[name] = AveragedWeights(net, decay=self.settings.ema)
            self.averages[name].net.to(self.fabric.device)
        is_cuda = self.fabric.device.type == "cuda"
        adam = torch.optim.Adam(net.parameters(), lr=lr, betas=self.settings.betas, fused=is_cuda)
        self.networks[name], self.optimizers[name] = self.fabric.setup(net, adam)
        return self.networks[name]

    def _set_train_mode(self, step: int, share: float) -> None:
        """Set training mode; freeze norms in the last part of a run."""
        is_late = share >= self.settings.freeze_norm_from
        for name in self.averages:
            net = self.networks[name].train()
            if is_late and not self.norms_frozen:
                self._recompute_norms(name, net, step)
            if is_late:
                freeze_norms(net)
        self.norms_frozen = self.norms_frozen or is_late

    def _recompute_norms(self, name: str, net: nn.Module, step: int) -> None:
        first = _NORM_DRAWS + step * _NORM_BATCHES
        recompute_norms(net, (self._generator_input(name, first + i) for i in range(_NORM_BATCHES)))

    def _update(self, loss: Tensor, *names: str) -> None:
        """One optimiser step of some networks on a loss."""
        for name in names:
            self.optimizers[name].zero_grad(set_to_none=True)
        self.fabric.backward(loss)
        for name in names:
            self.optimizers[name].step()

    def _update_generators(self, losses: Mapping[str, Tensor], *others: str) -> dict[str, Tensor]:
        """One optimiser step of the generators, and of `others`, on the weighted sum of losses.

        Returns:
            The losses, without what they were computed from.
        """
        terms = [weight * losses[name] for name, weight in self.weights.items()]
        self._update(torch.stack(terms).sum(), *self.averages, *others)
        for name, average in self.averages.items():
            average.update(self.networks[name])
        return {name: loss.detach() for name, loss in losses.items()}
