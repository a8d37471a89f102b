"""Work in cells, done by threads of this process or by workers of a Dask cluster."""
