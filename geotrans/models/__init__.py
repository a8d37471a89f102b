"""Networks: torch only, no geography."""

from geotrans.models.ensemble import ensemble_of
from geotrans.models.exact.folding import fold
from geotrans.models.footprint import largest_layer
from geotrans.models.patchgan import PatchGAN, Verdict
from geotrans.models.receptive import receptive_halo
from geotrans.models.reference import REFERENCES, fit_reference, read_reference
from geotrans.models.registry import GENERATORS, alignment, build, load_pretrained
from geotrans.models.residual import Residual
from geotrans.runtime.memory import hand_back_now_and_then, keep_freed_memory

__all__ = [
    "GENERATORS",
    "REFERENCES",
    "PatchGAN",
    "Residual",
    "Verdict",
    "alignment",
    "build",
    "ensemble_of",
    "fit_reference",
    "fold",
    "hand_back_now_and_then",
    "keep_freed_memory",
    "largest_layer",
    "load_pretrained",
    "read_reference",
    "receptive_halo",
]
