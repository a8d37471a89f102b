"""A raster in parts: its layout, finished tiles on disk, and their assembly."""

from geotrans.parts.layout import As, Layout, LayoutBand, product_layout
from geotrans.parts.parts import Parts
from geotrans.parts.raster_job import RasterJob

__all__ = ["As", "Layout", "LayoutBand", "Parts", "RasterJob", "product_layout"]
