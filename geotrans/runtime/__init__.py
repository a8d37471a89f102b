"""The process itself: files written whole, threads, memory, GDAL's settings, configuration."""
