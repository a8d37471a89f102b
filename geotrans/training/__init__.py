"""Training: typed configuration, methods read from top to bottom, bundles as the result."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from geotrans.training.config import TrainConfig, load_config
    from geotrans.training.run import train

__all__ = ["TrainConfig", "load_config", "train"]


def __getattr__(name: str) -> object:
    """Import a public name from its home; `run` brings in torch and lightning."""
    if name == "train":
        from geotrans.training.run import train

        return train
    if name in __all__:
        from geotrans.training import config

        return getattr(config, name)
    raise AttributeError(f"module 'geotrans.training' has no attribute '{name}'")
