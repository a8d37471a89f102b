"""Mosaics of rasters: grid, blends, seams, balance; and cutting a raster into tiles."""
