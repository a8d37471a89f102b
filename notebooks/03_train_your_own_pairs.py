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
# # Train a task from pairs of your own
#
# Two rasters of one place, one configuration, a short training, scores by place, a bundle, its
# use.
#
# **Data:** `GEOTRANS_DATA` names a folder with the rasters of this project; here a Landsat 7
# scene of the Great Salt Lake, Utah (USGS, public domain; 8 bit, pixels of about 30 m). Any two
# rasters of one place that you have do as well: change two lines. Install with `pip install
# ".[train,notebook]"`.

# %%
import logging
import os
import tempfile
from pathlib import Path

import geopandas as gpd
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import rioxarray
from shapely.geometry import box

import geotrans
from geotrans.metrics.image import psnr
from geotrans.sampling.cache import PatchCache

data = Path(os.environ["GEOTRANS_DATA"]) / "multispectral"
folder = Path(tempfile.mkdtemp())

# %% [markdown]
# ## Two rasters of one place
#
# Many archives hold false colour alone: short-wave infrared, near infrared and red, good for
# vegetation, salt and rock. Which natural colours belong to them? The source below has three
# infrared and red bands, the target red, green and blue. Here both come from one sensor and share
# a grid; they may as well differ in CRS and pixel size, one is put on the grid of the other.


# %%
def write_bands(scene, names, path):
    """Some bands of a scene, as a raster of their own."""
    with rioxarray.open_rasterio(scene, default_name="dn") as raster:
        chosen = raster.sel(band=[1 + raster.long_name.index(name) for name in names])
        chosen.attrs["long_name"] = tuple(names)
        chosen.rio.to_raster(path)
    return path


west = data / "train" / "landsat7_great_salt_lake_west.tif"
source = write_bands(west, ["swir1", "nir", "red"], folder / "false_colour.tif")
target = write_bands(west, ["red", "green", "blue"], folder / "natural.tif")


def show(pictures, *, low=0, high=None):
    """Rasters side by side in degrees, all with the same stretch from `low` to `high`, DN."""
    _, axes = plt.subplots(
        1, len(pictures), figsize=(2.7 * len(pictures), 4.4), layout="constrained"
    )
    arrays = [rioxarray.open_rasterio(path) for path in pictures.values()]
    high = high or float(np.percentile(arrays[-1], 99))
    for ax, title, array in zip(axes, pictures, arrays, strict=True):
        array.plot.imshow(ax=ax, rgb="band", vmin=low, vmax=high)
        ax.set(title=title, xlabel="longitude, degrees", ylabel="latitude, degrees")
        ax.set_aspect(1 / np.cos(np.radians(float(array.y.mean()))))
        ax.ticklabel_format(useOffset=False)
        ax.locator_params(axis="x", nbins=2)
        ax.tick_params(axis="x", rotation=30)
        array.close()
    plt.show()


show({"swir1, nir, red": source, "red, green, blue": target})

# %% [markdown]
# ## The configuration
#
# One file says what is learned, from what, and how long. Places are held out as blocks of ground,
# never as windows that overlap. `arch: residual` starts from the linear fit of the pairs and lets
# a network add what a straight line cannot: the score at step 0 is the fit alone, the baseline to
# beat.

# %%
config = folder / "false2natural.yaml"
config.write_text(f"""
task:
  name: false2natural
  title: False colour (swir1, nir, red) to natural colour, Landsat 7
  place: West of the Great Salt Lake, Utah
  data: One Landsat 7 scene, USGS, public domain
  limits: One lake, one date. Made in about a minute, to show how.

data:
  root: {folder}
  splits:
    scenes: false_colour.tif
    block_m: 4000
    shares: {{train: 0.75, val: 0.25}}
  source: {{bands: [swir1, nir, red]}}
  target: {{files: natural.tif, bands: [red, green, blue]}}
  grid: source
  patch: 64
  cache: {folder / "patches"}

generator:
  arch: residual
  args: {{body: {{arch: unet, args: {{depth: 3, width: 12}}}}}}

loss: {{gan: 0, l1: 100}}     # no critic: a minute is for colours, not for texture

training:
  batch: 16
  crop: 64
  steps: 100
  lr_generator: 5.0e-4
  decay_from: 0.4
  ema: 0.98
  evaluate_every: 50
  select: psnr:max
""")
# The kernel distance compares several places of 128 px or more; there is one here, and it says so.
logging.getLogger("geotrans").setLevel(logging.ERROR)
trained = geotrans.train(config, out=folder / "run", quiet=True)
print(f"{trained.steps} steps in {trained.seconds:.0f} s; best at step {trained.step}")
scores = pd.read_csv(trained.folder / "scores.csv", index_col="step")
scores[["psnr", "ssim", "sam", "chroma"]].round(3)

# %% [markdown]
# PSNR in dB, higher is better; SSIM, 1 is perfect; SAM, the spectral angle, and chroma, the
# colour error in CIELAB, lower is better. All on blocks that were never trained on.
#
# ## Scores by place
#
# One figure hides where a task fails. The patch cache knows where each patch lies, so each
# held-out place is scored alone, beside the linear fit alone.

# %%
cache = PatchCache.open(folder / "patches")
product = geotrans.translate(source, task=trained.bundle, out=folder / "translated.tif")
with rioxarray.open_rasterio(product.path) as raster:
    made = raster.values


def windows(image, records):
    """Patches of an image `(C, H, W)` where the records say, `(N, C, h, w)`."""
    boxes = [record.window for record in records]
    return np.stack([image[:, y : y + h, x : x + w] for x, y, w, h in boxes])


train, val = cache.load("train"), cache.load("val")


def pixels(images):
    """`(N, C, H, W)` as one row a pixel, with a 1 for the constant."""
    rows = np.moveaxis(images, 1, -1).reshape(-1, 3).astype(float)
    return np.hstack([rows, np.ones((len(rows), 1))])


fit, *_ = np.linalg.lstsq(pixels(train.source), pixels(train.target)[:, :3], rcond=None)
linear = (pixels(val.source) @ fit).reshape(*np.moveaxis(val.source, 1, -1).shape)
linear = np.clip(np.rint(np.moveaxis(linear, -1, 1)), 0, 255).astype(np.uint8)


def outline(record):
    """Where a patch lies, in degrees."""
    east, _, left, _, south, top = record.transform  # degrees a pixel, and the upper left corner
    height, width = record.shape
    return box(left, top + height * south, left + width * east, top)


records = [(split, record) for split, many in cache.manifest.splits.items() for record in many]
patches = gpd.GeoDataFrame(
    {"split": [split for split, _ in records]},
    geometry=[outline(record) for _, record in records],
    crs="EPSG:4326",
)
held_out = patches[patches.split == "val"].assign(
    network=psnr(windows(made, val.records), val.target), linear=psnr(linear, val.target)
)
print(held_out[["network", "linear"]].describe().loc[["count", "mean", "min", "max"]].round(1))

fig, axes = plt.subplots(1, 2, figsize=(9, 5), layout="constrained", width_ratios=[3, 2])
patches.boundary.plot(ax=axes[0], color="0.7", linewidth=0.8)
held_out.plot(ax=axes[0], column="network", legend=True, legend_kwds={"label": "PSNR, dB"})
axes[0].set(title="Held-out patches; training in grey", xlabel="longitude", ylabel="latitude")
axes[0].locator_params(nbins=4)
axes[1].scatter(held_out.linear, held_out.network, color="black")
both = held_out[["linear", "network"]].to_numpy()
axes[1].plot([both.min(), both.max()], [both.min(), both.max()], color="0.6", linestyle="--")
axes[1].set(xlabel="linear fit alone, PSNR, dB", ylabel="network on top, PSNR, dB", aspect="equal")
plt.show()

# %% [markdown]
# ## The bundle, and its use
#
# The run leaves one file: weights, bands, pixel size, normalisation, the configuration and the
# scores. It is used like a task that ships, here on the eastern part of the scene, of which
# nothing was seen. That raster holds seven bands; the right ones are found by name.

# %%
bundle = geotrans.open_bundle(trained.bundle)
low, high = bundle.spec.gsd_m
print(
    f"{trained.bundle.name}: {trained.bundle.stat().st_size / 1e6:.1f} MB, "
    f"halo {bundle.spec.halo} px"
)
print(f"reads {[b.name for b in bundle.spec.source]}, pixels of {low:.0f} to {high:.0f} m")

east = data / "val" / "landsat7_great_salt_lake_east.tif"
product = geotrans.translate(east, task=trained.bundle, out=folder / "east.tif")
truth = write_bands(east, ["red", "green", "blue"], folder / "east_natural.tif")
false = write_bands(east, ["swir1", "nir", "red"], folder / "east_false_colour.tif")
show({"swir1, nir, red": false, "false2natural": product.path, "the truth": truth})

# %%
with rioxarray.open_rasterio(product.path) as found, rioxarray.open_rasterio(truth) as true:
    difference = np.abs(found.values.astype(int) - true.values)
    score = float(psnr(found.values[None], true.values[None])[0])
print(f"PSNR against the truth: {score:.1f} dB")
for band, name in enumerate(("red", "green", "blue")):
    half, most = np.percentile(difference[band], [50, 95])
    print(f"{name:<6} off by {half:.0f} DN at half of the pixels, by more than {most:.0f} at 5 %")

# %% [markdown]
# ## Honest limits
#
# - The shallow green water north of 40.87 N comes out grey, and the brine below it loses its
#   rust-red rims: infrared hardly enters water, so it saw neither colour.
# - Held-out blocks of the same scene share its date, its sensor and its atmosphere. Another scene
#   is another matter; hold out whole scenes where you have several.
# - Red was measured and is in the source; `carry: [red]` would keep it to the bit. Green and blue
#   are inferred: where two surfaces look alike in the infrared, the task cannot tell them apart.
# - A colour that looks right is no reflectance. Do not compute indices from inferred bands.
#
# Longer runs, a critic for texture (`loss.gan`), and classes as target: the README's *Train a
# task of your own*, and `configs/` with what the shipped tasks were trained by.
