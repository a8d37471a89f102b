"""Coordinate reference systems, from rasterio to odc-geo."""

from __future__ import annotations

from typing import Any

from odc.geo.crs import CRS


def as_crs(crs: Any) -> CRS | None:
    """A rasterio CRS as odc-geo's: by EPSG code if it is exactly that, else by its WKT.

    Raises:
        ValueError: If PROJ does not understand it.
    """
    import rasterio.crs

    if not crs:
        return None
    epsg = crs.to_epsg(confidence_threshold=100)
    if epsg is not None and rasterio.crs.CRS.from_epsg(epsg) == crs:
        return CRS(f"EPSG:{epsg}")
    try:
        return CRS(crs.to_wkt())
    except Exception as error:  # pyproj's errors have no common base class.
        raise ValueError(" ".join(str(error).split())) from error
