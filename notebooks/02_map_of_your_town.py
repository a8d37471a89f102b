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
# # The map of your town
#
# From vectors to a map raster, from the map to an aerial photograph that never was taken; styles;
# and what the model can and cannot know.
#
# **Data:** the vectors of `sample:town`, a town that does not exist, in the layers and tags of
# OpenStreetMap. An extract of your own town works alike: give its `.osm.pbf` file and a `bbox`.
# Nothing here needs a network. Install with `pip install ".[notebook]"`.

# %%
import tempfile
from pathlib import Path

import geopandas as gpd
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import rioxarray
from shapely import Point

import geotrans
from geotrans.grid import Window
from geotrans.maps.style import load_style
from geotrans.metrics.mapping import nearest_class, road_iou

folder = Path(tempfile.mkdtemp())

# %% [markdown]
# ## The vectors
#
# Streets are lines with a `highway` tag, land use is areas. There are no buildings.

# %%
vectors = geotrans.sample_files("town")[1]
streets = gpd.read_file(vectors, layer="lines")
land = gpd.read_file(vectors, layer="multipolygons")
land["use"] = land.landuse.fillna(land.leisure).fillna(land.amenity)
print(f"{len(streets)} streets, {len(land)} areas, {streets.crs}")

fig, ax = plt.subplots(figsize=(7, 4.6), layout="constrained")
land.plot(ax=ax, column="use", legend=True, cmap="Pastel1", edgecolor="white")
streets.plot(ax=ax, column="highway", cmap="Dark2", linewidth=1.2)
ax.set(
    title="sample:town: land use, and streets by highway tag",
    xlim=(600_000, 600_720),
    ylim=(3_850_000, 3_850_540),
)
ax.set(xlabel="easting, m", ylabel="northing, m")
ax.ticklabel_format(useOffset=False, style="plain")
plt.show()

# %% [markdown]
# ## The style
#
# A style says which classes a map has, in which colours, and what in the vectors belongs to which
# class. It is part of what a model has learned, and its bundle carries it: `map2aerial` reads
# maps in this one. Colours are far apart so that no blur passes for another class; they are not
# meant to please.

# %%
bundle = geotrans.open_bundle("map2aerial")
style = load_style("plain")
widths = {}
for layer in style.mappings["osm"].layers:
    if layer.class_name and "highway" in layer.where and "oneway" not in layer.where:
        for kind in layer.where["highway"]:
            widths.setdefault(kind, []).append(f"{layer.class_name} {layer.width_m:g} m")
for kind in ("residential", "secondary", "primary", "service"):
    print(f"highway={kind:<12} {' on '.join(reversed(widths[kind]))}")

# %% [markdown]
# ## The map
#
# Drawn at the pixel size the task has seen, 0.6 m. In the shell:
#
# ```sh
# geotrans render sample:town --style-of map2aerial --gsd 0.6 -o map.tif
# ```

# %%
place = gpd.GeoSeries.from_xy([600_000, 600_720], [3_850_000, 3_850_540], crs=streets.crs)
bbox = tuple(place.to_crs(4326).total_bounds)
town = geotrans.render_map(vectors, folder / "map.tif", style=style, gsd_m=0.6, bbox=bbox)
aerial = geotrans.translate(town, task="map2aerial", out=folder / "aerial.tif").path


# %%
axes = geotrans.plot.compare(town, aerial, titles=["the map", "map2aerial"])
_ = geotrans.plot.add_legend(style.classes, axes[0])

# %% [markdown]
# ## What if?
#
# Vectors can be changed before they are drawn. Here one block of shops becomes a park; the rest
# of the town stays as it is, to the last bit, because a network that sees 47 px (28 m) around
# each pixel cannot change what lies farther away.

# %%
block = land.contains(Point(600_420, 3_850_290))
land.loc[block, ["landuse", "leisure"]] = [None, "park"]
greener = folder / "greener.gpkg"
streets.to_file(greener, layer="lines")
land.drop(columns="use").to_file(greener, layer="multipolygons")

park_map = geotrans.render_map(greener, folder / "park_map.tif", style=style, like=town)
park = geotrans.translate(park_map, task="map2aerial", out=folder / "park.tif").path
detail = Window(col_off=516, row_off=217, width=367, height=367)  # 220 m
titles = ["as it is", "with a park"]
axes = geotrans.plot.compare(aerial, park, titles=titles, window=detail)


# %%
def read(path):
    """Values of a raster, `(C, H, W)`."""
    with rioxarray.open_rasterio(path) as array:
        return array.values


changed_map = np.nonzero((read(town) != read(park_map)).any(axis=0))
changed = np.nonzero((read(aerial) != read(park)).any(axis=0))
for name, axis in (("rows", 0), ("columns", 1)):
    before, after = changed_map[axis], changed[axis]
    print(
        f"{name}: the map changed in {before.min()} to {before.max()}, "
        f"the aerial in {after.min()} to {after.max()} (halo {bundle.spec.halo} px)"
    )

# %% [markdown]
# ## Vectors with layers of their own
#
# Data that are not OpenStreetMap need a mapping, a few lines that extend the style: its classes
# and colours stay, so the model understands the map. Here is a survey in one GeoJSON file, in
# degrees, with a field `kind`.

# %%
kinds = {"residential": "lane", "primary": "avenue", "secondary": "avenue", "tertiary": "avenue"}
survey = pd.concat(
    [
        streets.assign(kind=streets.highway.map(kinds))[["kind", "geometry"]],
        land.assign(kind=land.use)[["kind", "geometry"]],
    ]
).dropna()
survey.to_crs(4326).to_file(folder / "survey.geojson")

my_style = {
    "name": "my_survey",
    "extends": "plain",
    "background": "verge",
    "layers": [
        {"where": {"kind": "residential"}, "class": "houses"},
        {"where": {"kind": "commercial"}, "class": "commercial"},
        {"where": {"kind": "school"}, "class": "campus"},
        {"where": {"kind": "park"}, "class": "park"},
        {"where": {"kind": "lane"}, "class": "verge", "width_m": 20},
        {"where": {"kind": "lane"}, "class": "street", "width_m": 12},
        {"where": {"kind": "avenue"}, "class": "arterial", "width_m": 18},
    ],
}
mine = geotrans.render_map(
    folder / "survey.geojson", folder / "survey.tif", style=my_style, like=town
)
mine_aerial = geotrans.translate(mine, task="map2aerial", out=folder / "survey_aerial.tif").path
titles = ["a survey of one's own", "map2aerial"]
axes = geotrans.plot.compare(mine, mine_aerial, titles=titles)

# %% [markdown]
# A map in other colours, or at a pixel size the model has not seen, is refused rather than
# translated into something that only looks right:

# %%
coarse = geotrans.render_map(vectors, folder / "coarse.tif", style=style, gsd_m=2, bbox=bbox)
try:
    geotrans.translate(coarse, task="map2aerial")
except geotrans.GeotransError as refusal:
    print(refusal)

# %% [markdown]
# ## What it can know, and what it cannot
#
# The map says where streets and what kinds of blocks are. The rest comes from noise that is fixed
# to the ground: another `seed` draws another town on the same map. What stays the same over seeds
# is what the map decides; what changes is invented.

# %%
seeds = [
    read(geotrans.translate(town, task="map2aerial", out=folder / f"{n}.tif", seed=n).path)
    for n in range(1, 5)
]
spread = np.std([read(aerial), *seeds], axis=0, ddof=1).mean(axis=0)  # (H, W), grey levels

fig, axes = plt.subplots(1, 2, figsize=(10, 4), layout="constrained", width_ratios=[3, 2])
extent = (0, 0.6 * spread.shape[1], 0, 0.6 * spread.shape[0])
picture = axes[0].imshow(spread, cmap="magma", vmin=0, vmax=50, extent=extent)
axes[0].set(title="Spread over 5 seeds", xlabel="m", ylabel="m")
fig.colorbar(picture, ax=axes[0], label="standard deviation, grey levels", shrink=0.8)

drawn = nearest_class(read(town), [c.color for c in style.classes])
names = [c.name for c in style.classes]
means = [float(spread[drawn == k].mean()) for k in range(len(names))]
axes[1].barh(names, means, color=[[v / 255 for v in c.color] for c in style.classes])
axes[1].axvline(read(aerial).std(axis=(1, 2)).mean(), color="black", linestyle="--")
axes[1].set(title="by class; dashed: contrast of the picture", xlabel="grey levels")
axes[1].invert_yaxis()
plt.show()

# %% [markdown]
# Streets, verges and parks are told by the map to within 10 to 16 grey levels; what stands on a
# block is told to within 24 to 28, not far below the contrast of the picture itself. The spread
# is no error bar: it says how much the model leaves to chance, not how far it is from any truth.
# All seeds share what it learned in one Californian beach town: its roofs, its trees, its light.
#
# Are the streets where the map has them? `aerial2map` was trained on real photographs of that
# town and looks at the products as it would at them. The overlap of its streets with the map's
# (intersection over union, 1 is perfect) beside what it reaches on real photographs (0.66, from
# the card of `map2aerial`):

# %%
roads = {"alley", "street", "arterial"}
classes = geotrans.open_bundle("aerial2map").spec.palette
true = np.isin(drawn, [k for k, name in enumerate(names) if name in roads])
for seed in range(3):
    source = aerial if seed == 0 else folder / f"{seed}.tif"
    seen = geotrans.translate(
        source, task="aerial2map", as_="classes", out=folder / f"seen{seed}.tif"
    )
    found = np.isin(read(seen.path)[0], [k for k, one in enumerate(classes) if one.name in roads])
    print(f"seed {seed}: street overlap {road_iou(found.astype('u1'), true.astype('u1'), [1]):.2f}")

# %% [markdown]
# | the model knows, because the map says it | it cannot know |
# |---|---|
# | where streets and alleys run, and how wide | buildings: the map has none, noise puts the roofs |
# | whether a block is homes, shops, school or park | how many, how high, how old; trees, cars |
# | nothing else | the climate, materials and light of your town; the date |
#
# Such pictures are for illustration, for planning sketches that say they are sketches, and for
# testing other methods. They are no evidence of anything on the ground.
