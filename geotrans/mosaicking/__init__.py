"""Tiles of a scene into one raster: the Dask graph, parts on disk, and their mosaic."""

from geotrans.mosaicking.canvas import Canvas
from geotrans.mosaicking.job import Job
from geotrans.mosaicking.layout import As, Layout, LayoutBand, product_layout
from geotrans.mosaicking.parts import Parts

__all__ = ["As", "Canvas", "Job", "Layout", "LayoutBand", "Parts", "product_layout"]
