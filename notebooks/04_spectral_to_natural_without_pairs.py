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
# # Spectral to natural colour, without pairs
#
# A sensor that records near infrared, red and green has no blue band: its scenes cannot be shown
# as the eye sees. No second image of the same moment tells what blue was. Two collections that
# share no ground do tell something: how false-colour scenes look, and how natural ones look. A
# CycleGAN learns to lead from one to the other. How far can its blue be trusted?
#
# **Data:** `GEOTRANS_DATA` names a folder with the rasters of this project; here USDA NAIP
# aerials of Californian towns (0.6 m, public domain, cut by urban-tree-detection-data, CC BY 4.0)
# and Landsat 7 scenes (30 m, USGS, public domain), all 8 bit. Install with `pip install
# ".[train,notebook]"`.

# %%
import os
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import rioxarray
import yaml

import geotrans.accessor  # adds .geotrans to the arrays of xarray
from geotrans.metrics.image import chroma_error, psnr

data = Path(os.environ["GEOTRANS_DATA"])
folder = Path(tempfile.mkdtemp())


def read(path, names, *, around=(0.5, 0.5), size=None):
    """Bands of a raster by name, `(C, H, W)`; all of it, or `size` px around a share of it."""
    with rioxarray.open_rasterio(path) as raster:
        chosen = raster.sel(band=[1 + raster.long_name.index(name) for name in names])
        if size is not None:
            starts = [
                int(n * share) - size // 2
                for n, share in zip(chosen.shape[1:], around, strict=True)
            ]
            chosen = chosen[:, starts[0] : starts[0] + size, starts[1] : starts[1] + size]
        return chosen.values


# %% [markdown]
# ## Two collections that share no ground
#
# Above what the task reads, drawn as false colour: near infrared is shown red, so plants are red.
# Below what it is to write. Different cities, different sensors, different pixel sizes.

# %%
cir, rgb = ("nir", "red", "green"), ("red", "green", "blue")
naip, other = data / "naip" / "train", data / "multispectral" / "train"
sources = [*sorted(naip.glob("long_beach_*"))[:20:10], *sorted(naip.glob("claremont_*"))[:20:10]]
targets = [*sorted(naip.glob("chico_*"))[:20:10], *sorted(naip.glob("palm_springs_*"))[:20:10]]
sources.append(other / "landsat7_san_francisco_cir.tif")
targets.append(other / "landsat7_great_salt_lake_west.tif")

fig, axes = plt.subplots(2, 5, figsize=(11, 4.8), layout="constrained")
for row, (files, bands) in enumerate([(sources, cir), (targets, rgb)]):
    for ax, path in zip(axes[row], files, strict=True):
        around = (0.36, 0.56) if "francisco" in path.stem else (0.5, 0.5)
        pixels = read(path, bands, around=around, size=256).transpose(1, 2, 0)
        ax.imshow(np.clip(pixels / np.percentile(pixels, 99.5), 0, 1))
        ax.set_title(path.stem[:24], fontsize=9)
        ax.axis("off")
plt.show()

# %% [markdown]
# ## What is known, and what must be guessed
#
# Red and green were measured: they are carried to the bit, and only blue is guessed. Of the
# guess, the larger part is a linear map of the three bands, told by how the surroundings of a
# pixel go with its bands in each of the two collections; a network adds what depends on the
# scene. A bundle carries the configuration it was trained by:

# %%
bundle = geotrans.open_bundle("spectral2natural")
recipe = bundle.spec.training
print(yaml.safe_dump({key: recipe["generator"]["args"][key] for key in ("carry", "blind", "fit")}))
print({k: v for k, v in recipe["loss"].items() if isinstance(v, float) and v > 0})

# %% [markdown]
# ## A short training
#
# The shipped weights took half an hour. The same configuration for ten steps shows the way; every
# dotted option overrides the file. It also names places of two other towns, Eureka and Bishop,
# where blue **is** known. They are scored against, and never learned from.

# %%
(folder / "short.yaml").write_text(yaml.safe_dump(recipe))
trained = geotrans.train(
    folder / "short.yaml",
    [
        f"data.cache={folder / 'patches'}", "data.unpaired.train.windows=24",
        "data.splits.folders.val=naip/val/bishop_2020_[0-5].tif",
        "training.steps=10", "training.batch=2", "training.crop=96", "training.evaluate_every=10",
    ],
    out=folder / "run",
    quiet=True,
)  # fmt: skip
print(f"{trained.steps} steps in {trained.seconds:.0f} s, evaluation included")
pd.read_csv(trained.folder / "scores.csv", index_col="step")[["psnr", "sam", "chroma"]].round(2)

# %% [markdown]
# Step 0 is the linear map alone, on six places of Bishop. Ten steps change little, and may take
# something away at first: a network without pairs needs patience, and physics is most of the
# result.
#
# ## Scored against the truth it never saw
#
# The shipped weights on every held-out place, beside two things that need no network: the false
# colours as they are, and red and green by name with blue as a straight line in them, fitted on
# the natural-colour collection.


# %%
def pixels(images):
    """Red and green of images `(3, H, W)` as rows with a 1 for the constant, and their blue."""
    flat = np.concatenate([image.reshape(3, -1) for image in images], axis=1).astype(float)
    return np.vstack([flat[:2], np.ones(flat.shape[1])]).T, flat[2]


chips = [
    read(path, rgb) for path in sorted([*naip.glob("chico_*"), *naip.glob("palm_springs_*")])[::4]
]
line, *_ = np.linalg.lstsq(*pixels(chips), rcond=None)

places, made, truth = [], [], []
rows = []
for path in sorted((data / "naip" / "val").glob("*.tif")):
    false, true = read(path, cir), read(path, rgb)
    with rioxarray.open_rasterio(path) as array:
        array = array.assign_coords(band=list(array.long_name))
        ours = array.geotrans.translate(task=bundle).values
    blue = np.clip(np.rint(pixels([true])[0] @ line), 0, 255).reshape(true.shape[1:])
    by_name = np.stack([true[0], true[1], blue.astype(np.uint8)])
    candidates = {
        "false colour": false,
        "blue linear in red, green": by_name,
        "spectral2natural": ours,
    }
    for name, image in candidates.items():
        score = psnr(image[None], true[None])[0], chroma_error(image[None], true[None])[0]
        rows.append((path.stem, name, *score))
    places.append(path.stem)
    made.append(ours)
    truth.append(true)
scores = pd.DataFrame(rows, columns=["place", "what", "PSNR, dB", "colour error"])
mean = scores.groupby("what", sort=False)[["PSNR, dB", "colour error"]].mean()
print(mean.round(1))

# %%
made, truth = np.stack(made), np.stack(truth)
table = scores.pivot(index="place", columns="what", values="PSNR, dB")
order = table["spectral2natural"].sort_values().index
picks = [places.index(order[i]) for i in (0, len(order) // 2, -1)]

fig, axes = plt.subplots(3, 4, figsize=(9.5, 7.4), layout="constrained")
for row, k in zip(axes, picks, strict=True):
    path = data / "naip" / "val" / f"{places[k]}.tif"
    pictures = {"near infrared, red, green": read(path, cir), "spectral2natural": made[k]}
    for ax, (title, image) in zip(
        row[:3], {**pictures, "the truth": truth[k]}.items(), strict=True
    ):
        ax.imshow(image.transpose(1, 2, 0))
        ax.set_title(title, fontsize=9)
    error = row[3].imshow(made[k, 2].astype(int) - truth[k, 2], cmap="RdBu", vmin=-40, vmax=40)
    row[3].set_title(
        f"blue, made less true; {table.loc[places[k], 'spectral2natural']:.1f} dB", fontsize=9
    )
    for ax in row:
        ax.axis("off")
fig.colorbar(error, ax=axes[:, 3], label="grey levels", shrink=0.6)
plt.show()

# %% [markdown]
# From top to bottom the worst, the middle and the best of the held-out places, each 154 m wide.
# Red and green are exact everywhere, so every error is one of blue.
#
# ## How far to trust it
#
# Where does blue fail? Not everywhere alike. Below, the error by how blue a thing truly is.

# %%
blueness = truth[:, 2].astype(int) - truth[:, :2].mean(axis=1)  # (N, H, W), grey levels
error = made[:, 2].astype(int) - truth[:, 2]
edges = np.arange(-60, 61, 10)
bins = np.digitize(blueness, edges)
middle, mean_error, low, high, share = [], [], [], [], []
for k in range(1, len(edges)):
    inside = error[bins == k]
    if len(inside) > 200:
        middle.append((edges[k - 1] + edges[k]) / 2)
        mean_error.append(inside.mean())
        low.append(np.percentile(inside, 5))
        high.append(np.percentile(inside, 95))
        share.append(len(inside) / error.size)

fig, (top, bottom) = plt.subplots(
    2, 1, figsize=(7, 5), layout="constrained", sharex=True, height_ratios=[3, 1]
)
top.fill_between(middle, low, high, color="0.85", label="90 % of the pixels")
top.plot(middle, mean_error, color="tab:blue", marker="o", label="mean")
top.axhline(0, color="black", linewidth=0.8)
top.set(
    ylabel="blue, made less true, grey levels",
    title="Held-out places: what is truly blue is made too grey",
)
top.legend()
bottom.bar(middle, share, width=9, color="0.6")
bottom.set(
    xlabel="true blue less the mean of true red and green, grey levels", ylabel="share of pixels"
)
plt.show()

# %% [markdown]
# Most surfaces, plants, soil, asphalt, concrete, lie where the error is small. Blue roofs, pools
# and cars are rare and come out greyer than they are, strong yellows a little too blue: nothing
# in near infrared, red and green tells blue paint from grey paint. No training changes that; the
# information is not there.
#
# ## Where there is no truth
#
# This is what the task is for: a Landsat 7 scene that was delivered without blue. It looks right,
# and nobody can say how right. The figures above are from aerials of 0.6 m; at 30 m they are a
# hint, no proof.

# %%
bay = geotrans.translate(
    other / "landsat7_san_francisco_cir.tif", task=bundle, out=folder / "bay.tif",
    bbox=(-122.55, 37.70, -122.35, 37.87),
)  # fmt: skip
with rioxarray.open_rasterio(bay.path) as natural:
    false = rioxarray.open_rasterio(other / "landsat7_san_francisco_cir.tif")
    false = false.rio.clip_box(*natural.rio.bounds())
    fig, axes = plt.subplots(1, 2, figsize=(10, 4.8), layout="constrained")
    for ax, array, title in zip(
        axes, (false, natural), ("near infrared, red, green", "spectral2natural"), strict=True
    ):
        array.plot.imshow(ax=ax, rgb="band", vmin=0, vmax=float(array.quantile(0.98)))
        ax.set(title=title, aspect="equal", xlabel="easting, m (EPSG:3857)", ylabel="northing, m")
        ax.ticklabel_format(useOffset=False, style="plain")
        ax.locator_params(nbins=4)
plt.show()

# %% [markdown]
# **Use it** to look at false-colour archives the way the eye would, and to make thumbnails and
# mosaics that match natural-colour ones. **Do not use** the blue band for anything that is
# computed: water colour, haze, bathymetry, indices. It is a function of the other three bands and
# of what towns in California look like, and holds no measurement of its own.
