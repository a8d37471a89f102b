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
# # Translate a scene
#
# From a street map to an aerial photograph that never was taken, on the same pixels of the same
# ground: open, check, translate, look, save, open again.
#
# **Data:** `sample:town`, the map of a town that does not exist, drawn when it is first asked
# for. Nothing here needs a network. Install with `pip install ".[notebook]"`.

# %%
import json
import tempfile
from pathlib import Path

import rasterio
import rioxarray

import geotrans.accessor  # adds .geotrans to the arrays of xarray
from geotrans.grid import Window
from geotrans.translation.estimate import estimate

folder = Path(tempfile.mkdtemp())

# %% [markdown]
# ## Open
#
# A scene is one georeferenced raster: a path, a URL, a STAC item, a `DataArray` or a sample.
# Opening it reads no pixels.

# %%
scene = geotrans.open_scene("sample:town")
height, width = scene.shape
gsd_m = scene.geobox.resolution.x
print(scene)
print(f"{height} x {width} px of {gsd_m} m: {height * gsd_m:.0f} x {width * gsd_m:.0f} m of ground")
for band in scene.bands:
    print(f"band {band.index}: {band.name}, {band.dtype}, nodata {scene.nodata}")

# %% [markdown]
# ## Check
#
# A task is one file: weights, and everything needed to use them. It says which bands it reads,
# which pixel sizes it has seen, and how much ground around a pixel decides its value (the halo).

# %%
for task in geotrans.list_tasks():
    low, high = task.gsd_m
    print(f"{task.name:<17} {task.title}")
    print(f"{'':<17} {low:g} to {high:g} m, halo {task.halo} px; {task.place}")

# %% [markdown]
# What a translation would be is measured on one tile before anything is written; in the shell
# that is `geotrans translate ... --dry-run`.

# %%
plan = estimate(scene, task="map2aerial", out=folder / "aerial.tif")
print(f"{plan.n_tiles} tiles, {plan.output_bytes / 1e6:.1f} MB to write")
print(f"{plan.memory_bytes / 1e6:.0f} MB of memory, {plan.precision} on {plan.device}")
print("bands by name:", plan.bands)

# %% [markdown]
# Which of the tasks fit is asked of an array, by its bands and pixel size. Those that do not say
# why (whether the picture is one the task has seen, only you know):

# %%
source = rioxarray.open_rasterio(geotrans.sample_files("town")[0])
source.geotrans.tasks()

# %% [markdown]
# ## Translate

# %%
product = geotrans.translate(scene, task="map2aerial", out=folder / "aerial.tif")
print(product.path.name, product.shape, f"{product.n_tiles} tiles in {product.seconds:.1f} s")


# %% [markdown]
# ## Look
#
# `geotrans.plot` draws rasters where they lie: coordinates of their CRS along the edges, and a bar
# of true metres.

# %%
aerial = rioxarray.open_rasterio(product.path)
titles = ["the map", "map2aerial"]
axes = geotrans.plot.compare(source, aerial, titles=titles)

# %%
detail = Window(col_off=550, row_off=250, width=300, height=300)
axes = geotrans.plot.compare(source, aerial, titles=titles, window=detail)

# %% [markdown]
# The streets run where the map has them. What stands beside them, the map does not say: roofs,
# trees and cars are invented. **Nothing here is evidence of anything on the ground.**
#
# ## What the tags say
#
# The product says so itself, inside the file: that it is synthetic, by which weights (a
# checksum), from which source (a checksum too), and with which parameters, so that it can be made
# again.

# %%
with rasterio.open(product.path) as raster:
    tags = raster.tags()
    xmp = raster.tags(ns="xml:XMP")["xml:XMP"]
for name, value in sorted(tags.items()):
    if name.startswith("GEOTRANS_") and name != "GEOTRANS_PARAMS":
        print(f"{name:<26} {value}")
for name, value in json.loads(tags["GEOTRANS_PARAMS"]).items():
    print(f"{'GEOTRANS_PARAMS':<26} {name}: {value}")
print("XMP says trainedAlgorithmicMedia:", "trainedAlgorithmicMedia" in xmp)

# %% [markdown]
# ## Open again
#
# The product is a cloud-optimised GeoTIFF: tiled, with overviews, on exactly the grid of its
# source. GDAL, QGIS, rioxarray and odc-geo open it like any other raster.

# %%
with rasterio.open(product.path) as raster:
    print("CRS", raster.crs, "as the source:", raster.crs == source.rio.crs)
    print("transform as the source:", raster.transform == source.rio.transform())
    print("bands", raster.descriptions, "blocks", raster.block_shapes[0], "px")
    print("overviews of every", raster.overviews(1), "px")
print(f"{product.path.stat().st_size / 1e6:.1f} MB")

# %% [markdown]
# ## Another seed, and a part
#
# Another seed is another, equally plausible picture of the same map. A `bbox`, in lon-lat
# degrees, translates a part; because every tile is read with the context it needs, the part has
# the very pixels of the whole.

# %%
west, south, east, north = scene.geobox.geographic_extent.boundingbox
mid_x, mid_y = (west + east) / 2, (south + north) / 2
middle = (mid_x - 0.0012, mid_y - 0.0008, mid_x + 0.0012, mid_y + 0.0008)
parts = {}
for seed in (0, 1, 2):
    path = folder / f"seed{seed}.tif"
    geotrans.translate(scene, task="map2aerial", out=path, bbox=middle, seed=seed)
    parts[f"seed {seed}"] = rioxarray.open_rasterio(path)
axes = geotrans.plot.compare(*parts.values(), titles=list(parts))
same = parts["seed 0"]
whole = aerial.sel(x=same.x, y=same.y, method="nearest")
n_differ = int((same.values != whole.values).sum())
print(f"{n_differ} of {same.size} values differ between the part and the whole")

# %% [markdown]
# ## xarray
#
# An array opened with `chunks=`, as rioxarray and odc-stac make it, is translated lazily: a Dask
# array whose chunks are tiles, read and translated when they are asked for. Here `aerial2map`
# turns the product back into a map, as one band of classes. (`06_large_scene_lazily` goes on from
# here.)

# %%
lazy = rioxarray.open_rasterio(product.path, chunks=512)
classes = lazy.geotrans.translate("aerial2map", as_="classes").compute()
palette = geotrans.open_bundle("aerial2map").spec.palette
axes = geotrans.plot.compare(source, classes, titles=["the map", "aerial2map of map2aerial"])
_ = geotrans.plot.add_legend(palette, axes[1])
for value, one in enumerate(palette):
    print(f"{one.name:<11} {float((classes == value).mean()):6.1%} of the ground")

# %% [markdown]
# The streets come back. `aerial2map` counts apartments among houses, and among the invented shops
# it takes some roofs and trees for school grounds and parks. The cards in `geotrans/tasks/zoo`
# say how well each task does on real, held-out places.
#
# From here: `02_map_of_your_town` draws the map of a place of your own, `03_train_your_own_pairs`
# learns a task of your own.
