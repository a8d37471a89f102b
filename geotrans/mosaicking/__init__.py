"""Many rasters as one: grid, blends, seams, balance; and one raster cut into many."""
