"""Cloud-optimised GeoTIFFs: written by GDAL's driver, or encoded while tiles come."""
