"""Patches to patches on a device."""

from geotrans.inference.device import pick_device
from geotrans.inference.precision import Precision, has_bfloat16, pick_precision
from geotrans.inference.translator import Translator

__all__ = ["Precision", "Translator", "has_bfloat16", "pick_device", "pick_precision"]
