"""Work on cells, in threads of this process or on workers of a Dask cluster."""
