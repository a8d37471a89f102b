# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # A large scene, lazily
#
# An xarray pipeline over a scene of 20 by 20 km at 0.6 m: open, translate, reduce, and only then
# compute. Nothing is ever held as a whole.
#
# **Data:** the maps of `sample:town` and `sample:suburb`, places that do not exist, laid into an
# otherwise empty scene that is written here. Nothing here needs a network. Install with `pip
# install ".[notebook]"`.

# %%
import os
import tempfile
import time
from pathlib import Path

import dask
import matplotlib.pyplot as plt
import numpy as np
import rasterio
import rioxarray
from dask.core import get_dependencies
from dask.utils import key_split
from rasterio.windows import Window

import geotrans.accessor  # adds .geotrans to the arrays of xarray
from geotrans.runtime.memory import PeakMemory, resident_bytes

# GDAL keeps what it has read, up to a twentieth of the machine's memory. Blocks are read once here.
os.environ.setdefault("GDAL_CACHEMAX", "64")  # MB
folder = Path(tempfile.mkdtemp())
at_start = resident_bytes()
print(f"geotrans {geotrans.__version__}, dask {dask.__version__}")

# %% [markdown]
# ## The scene
#
# 32,768 x 32,768 px. The file is sparse: ground without a map takes no room on the disk, but a
# program that reads the scene as an array holds every pixel of it.

# %%
SIZE, TILE = 32_768, 1024
LEFT, TOP, GSD_M = 600_268.8, 3_879_936.0, 0.6
places = {"town": [(3, 4), (19, 9)], "suburb": [(9, 18)]}  # column and row, in tiles

path = folder / "county_map.tif"
profile = {
    "driver": "GTiff", "dtype": "uint8", "count": 3, "height": SIZE, "width": SIZE, "nodata": 0,
    "crs": "EPSG:32611", "transform": rasterio.Affine(GSD_M, 0, LEFT, 0, -GSD_M, TOP),
    "tiled": True, "blockxsize": 512, "blockysize": 512, "compress": "deflate", "sparse_ok": True,
}  # fmt: skip
with rasterio.open(path, "w", **profile) as county:
    county.descriptions = ("red", "green", "blue")
    for name, corners in places.items():
        with rasterio.open(geotrans.sample_files(name)[0]) as sample:
            for col, row in corners:
                window = Window(col * TILE, row * TILE, sample.width, sample.height)
                county.write(sample.read(), window=window)

n_values = 3 * SIZE * SIZE
print(f"on the disk {path.stat().st_size / 1e6:.1f} MB, as an array {n_values / 1e9:.1f} GB")
print(f"as float32, for averages, {4 * n_values / 1e9:.1f} GB more, and the product as much again")

# %% [markdown]
# ## The pipeline
#
# Opened with `chunks=`, the scene is a Dask array, and so is its translation: one task for each
# tile, which reads what the tile needs and no more. Building it reads no pixel.

# %%
bundle = geotrans.open_bundle("map2aerial")
started = time.process_time()
scene = rioxarray.open_rasterio(path, chunks={"x": 1024, "y": 1024})
aerial = scene.geotrans.translate(bundle, tile=TILE)
print(f"built in {time.process_time() - started:.1f} s of processor time")
aerial.data

# %% [markdown]
# What follows is ordinary xarray: the mean of each cell of 64 px (38 m); ground without a map is
# left out by the coordinate `valid`. Reduce in one pass, and derive the rest from the small
# result: Dask keeps a chunk until all that asks for it is done, and two reductions side by side
# would hold most of the scene.

# %%
seen = aerial.where(aerial.valid).astype("float32")
picture = seen.coarsen(x=64, y=64).mean()
print(f"{picture.shape}, {picture.nbytes / 1e6:.1f} MB when it is computed")


# %% [markdown]
# ## The graph
#
# Dask drops what nobody asks for. Of a corner of the first town, 154 by 115 m, this is all that
# would be done:
# %%
def draw_graph(array, ax):
    """Tasks left to right, each right of what it needs; equal colours do equal work."""
    (lean,) = dask.optimize(array.data)
    graph = dict(lean.__dask_graph__())
    needs = {key: get_dependencies(graph, key) for key in graph}
    depth = {}

    def depth_of(key):
        if key not in depth:
            depth[key] = 1 + max((depth_of(one) for one in needs[key]), default=-1)
        return depth[key]

    for key in graph:
        depth_of(key)
    columns = [[key for key in graph if depth[key] == d] for d in range(max(depth.values()) + 1)]
    place = {
        key: (x, (i + 0.5) / len(column))
        for x, column in enumerate(columns) for i, key in enumerate(column)
    }  # fmt: skip
    for key, inputs in needs.items():
        for one in inputs:
            ax.plot(*zip(place[one], place[key], strict=True), color="0.8", zorder=1)
    kinds = list(dict.fromkeys(key_split(key) for column in columns for key in column))
    for k, kind in enumerate(kinds):
        points = np.array([place[key] for key in graph if key_split(key) == kind])
        label = f"{kind} ({len(points)})"
        ax.scatter(*points.T, s=60, color=plt.cm.tab20(k % 20), zorder=2, label=label)
    ax.legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize=8)
    ax.set_axis_off()


blocks = {"x": slice(3 * 16 + 14, 3 * 16 + 18), "y": slice(4 * 16 + 2, 4 * 16 + 5)}
corner = picture.isel(blocks)
fig, ax = plt.subplots(figsize=(9, 3.6), layout="constrained")
draw_graph(corner, ax)
n_all = int(np.prod(aerial.data.numblocks[1:]))
ax.set_title(f"Tasks for 154 by 115 m; the whole scene has {n_all} tiles")
plt.show()

# %% [markdown]
# ## A slice, and all of it
#
# The slice first: it translates the tiles that it touches. Then the whole, with the memory of
# this process watched all along.

# %%
started = time.process_time()
corner.compute()
print(f"the corner: {time.process_time() - started:.1f} s of processor time")

started = time.process_time()
with PeakMemory() as peak:
    picture = picture.compute()
spent = time.process_time() - started
print(f"all {SIZE * SIZE / 1e6:.0f} Mpx: {spent:.0f} s of processor time")
print(f"peak memory {peak.n_bytes / 1e9:.2f} GB; {at_start / 1e9:.2f} GB of it before the start")

# %% [markdown]
# Greenness is twice the green less red and blue.

# %%
green = 2 * picture.sel(band="green") - picture.sel(band="red") - picture.sel(band="blue")
fig, axes = plt.subplots(1, 2, figsize=(10, 4.6), layout="constrained")
picture.plot.imshow(ax=axes[0], rgb="band", vmin=0, vmax=255)
axes[0].set_title("The product in cells of 38 m")
axes[0].set_facecolor("0.92")
for name, corners in places.items():
    for col, row in corners:
        x, y = LEFT + col * TILE * GSD_M, TOP - row * TILE * GSD_M
        axes[0].annotate(name, (x, y + 200), fontsize=9)
x, y = LEFT + 3 * TILE * GSD_M, TOP - 4 * TILE * GSD_M
green.plot.imshow(ax=axes[1], cmap="PiYG", vmin=-60, vmax=60, cbar_kwargs={"label": "grey levels"})
axes[1].set(title="Greenness of the first town", xlim=(x, x + 720), ylim=(y - 540, y))
for ax in axes:
    ax.set(aspect="equal", xlabel="easting, m", ylabel="northing, m")
    ax.ticklabel_format(useOffset=False, style="plain")
    ax.locator_params(nbins=4)
plt.show()

# %% [markdown]
# The map is the same in both towns, the aerial is not: what the map leaves open comes from noise
# that is fixed to the ground, so that neighbouring tiles and runs agree, and places differ. None
# of the green exists: `map2aerial` invents trees where its training place has them.

# %%
parts = [
    aerial.isel(
        x=slice(col * TILE + 300, col * TILE + 600), y=slice(row * TILE + 300, row * TILE + 600)
    )
    for col, row in places["town"]
]
titles = [f"180 m in tile {col}, {row}" for col, row in places["town"]]
axes = geotrans.plot.compare(*parts, titles=titles)

# %% [markdown]
# ## Further
#
# - With a `dask.distributed.Client` in the session, the same lines run on a cluster.
# - `geotrans.translate(path, task=..., memory="2GB")` writes a product of any size as a
#   cloud-optimised GeoTIFF, under a budget; `geotrans batch` does so for many scenes.
# - Chunks of the source need not fit the tiles: pixels do not depend on either.
