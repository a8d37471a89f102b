"""A raster in parts: what its pixels are, finished tiles on disk, and their assembly."""

from geotrans.parts.canvas import Canvas
from geotrans.parts.layout import As, Layout, LayoutBand, product_layout
from geotrans.parts.parts import Parts

__all__ = ["As", "Canvas", "Layout", "LayoutBand", "Parts", "product_layout"]
