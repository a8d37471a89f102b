"""Names a shell completes beside commands and options, found without importing torch."""

from __future__ import annotations

from importlib import resources
from pathlib import Path


def tasks(incomplete: str) -> list[str]:
    """Shipped tasks that begin like a word; of a bundle's path the shell knows more itself."""
    zoo = Path(str(resources.files("geotrans"))) / "tasks" / "zoo"
    return [
        name
        for name in sorted(path.stem for path in zoo.glob("*.safetensors"))
        if name.startswith(incomplete)
    ]


def styles(incomplete: str) -> list[str]:
    """Shipped styles that begin like a word."""
    from geotrans.maps.style import list_styles

    return [name for name in list_styles() if name.startswith(incomplete)]


def recipes(incomplete: str) -> list[str]:
    """Shipped recipes that begin like a word."""
    from geotrans.labelling.recipe import list_recipes

    return [name for name in list_recipes() if name.startswith(incomplete)]


def samples(incomplete: str) -> list[str]:
    """Samples that begin like a word."""
    from geotrans.scene.samples import list_samples

    return [name for name in list_samples() if name.startswith(incomplete)]
