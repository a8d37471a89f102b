"""Vectors into maps: styles, what they say of each feature, and the drawing of it."""

from geotrans.maps.render import render_map
from geotrans.maps.style import load_style

__all__ = ["load_style", "render_map"]
