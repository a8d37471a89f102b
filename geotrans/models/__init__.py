"""Networks: torch only, no geography."""

from geotrans.models.ensemble import build_ensemble
from geotrans.models.exact.folding import fold
from geotrans.models.footprint import largest_layer
from geotrans.models.patchgan import CriticOutput, PatchGAN
from geotrans.models.receptive import receptive_halo
from geotrans.models.reference import REFERENCES, fit_reference, read_reference
from geotrans.models.registry import GENERATORS, alignment, build, load_pretrained
from geotrans.models.residual import Residual
from geotrans.runtime.memory import keep_freed_memory, trim_heap_periodically

__all__ = [
    "GENERATORS",
    "REFERENCES",
    "CriticOutput",
    "PatchGAN",
    "Residual",
    "alignment",
    "build",
    "build_ensemble",
    "fit_reference",
    "fold",
    "keep_freed_memory",
    "largest_layer",
    "load_pretrained",
    "read_reference",
    "receptive_halo",
    "trim_heap_periodically",
]
