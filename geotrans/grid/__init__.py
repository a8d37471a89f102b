"""Pixel geometry: windows, tile plans and ground-anchored noise on top of `GeoBox`."""

from geotrans.grid.coordinates import COORDINATES, Coordinate, ground_coordinates
from geotrans.grid.geobox import (
    Bounds,
    bbox_window,
    ground_anchor,
    gsd_m,
    make_geobox,
    project_bounds,
    window_geobox,
)
from geotrans.grid.noise import ground_noise
from geotrans.grid.plan import Tile, TilePlan, plan_tiles
from geotrans.grid.window import Window, reflect_indices

__all__ = [
    "COORDINATES",
    "Bounds",
    "Coordinate",
    "Tile",
    "TilePlan",
    "Window",
    "bbox_window",
    "ground_anchor",
    "ground_coordinates",
    "ground_noise",
    "gsd_m",
    "make_geobox",
    "plan_tiles",
    "project_bounds",
    "reflect_indices",
    "window_geobox",
]
