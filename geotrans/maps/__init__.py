"""Maps from vectors: styles, and the rendering of features by them."""

from geotrans.maps.render import render_map
from geotrans.maps.style import load_style

__all__ = ["load_style", "render_map"]
