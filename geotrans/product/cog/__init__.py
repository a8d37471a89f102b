"""Cloud-optimised GeoTIFFs: written by GDAL's driver, or encoded while tiles come.

`driver.py` alone could write every product; `stream.py`, `encode.py` and `tiff.py` are there for
speed and make the same pixels, masks and overviews. What they save depends on what else the cores
have to do (`benchmarks/cog.py --task identity map2aerial --size 4096`, 17 Mpx, float32, two cores
shared with much other work, medians of 3 runs each): of a network that changes nothing 31 % of the
wall time, 16.7 s instead of 24.2, and 1.4 s of the processor's 7.2; of map2aerial nothing that
shows above the noise, 115 s instead of 111, 23.5 and 22.8 s of the processor. They cost 30 MB:
1,062 MB instead of 1,032. On two idle cores with bfloat16, where a city of 117 Mpx takes 14.3 to
14.9 s, 85 % of them the network's own, GDAL's driver took several seconds after the last tile; here
0.4 s are left.
"""
