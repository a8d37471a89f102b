"""What geotrans can do: tasks, the one-file bundles they come in, and their cards."""

from geotrans.tasks.bundle import Bundle, read_spec, save_bundle
from geotrans.tasks.card import render_card
from geotrans.tasks.registry import find_task, list_tasks, open_bundle, shipped_bundles
from geotrans.tasks.spec import (
    SCHEMA_VERSION,
    BandSpec,
    GeneratorSpec,
    NoiseSpec,
    PaletteClass,
    Score,
    SourceClass,
    TaskSpec,
)
from geotrans.tasks.statistics import NormStatistics

__all__ = [
    "SCHEMA_VERSION",
    "BandSpec",
    "Bundle",
    "GeneratorSpec",
    "NoiseSpec",
    "NormStatistics",
    "PaletteClass",
    "Score",
    "SourceClass",
    "TaskSpec",
    "find_task",
    "list_tasks",
    "open_bundle",
    "read_spec",
    "render_card",
    "save_bundle",
    "shipped_bundles",
]
