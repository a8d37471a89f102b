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
# # An archive, and a cluster
#
# Many scenes in one run that may be killed, with a journal of what is done and a STAC catalogue
# of what came out; then one scene on a Dask cluster that loses a worker.
#
# **Data:** the map of `sample:town`, a place that does not exist, cut into an archive of small
# scenes. Nothing here needs a network. Install with `pip install ".[archive,notebook]"`.

# %%
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pystac
import rasterio
from distributed import Client, LocalCluster
from rasterio.windows import Window

import geotrans
from geotrans.archive import estimate_archive, read_status

folder = Path(tempfile.mkdtemp(prefix="archive-"))
scenes, products = folder / "maps", folder / "aerials"


def show(report):
    """Print a report, with paths from the folder on."""
    print(str(report).replace(f"{folder}/", ""))


# %% [markdown]
# ## The archive
#
# Twelve map sheets of 300 x 300 px (180 m), and one file that is no raster: archives are like
# that.

# %%
scenes.mkdir()
with rasterio.open(geotrans.sample_files("town")[0]) as town:
    for row in range(3):
        for col in range(4):
            window = Window(300 * col, 300 * row, 300, 300)
            profile = {**town.profile, "width": 300, "height": 300}
            profile.update(transform=town.window_transform(window), tiled=False)
            profile = {k: v for k, v in profile.items() if not k.startswith("block")}
            with rasterio.open(scenes / f"sheet_{row}{col}.tif", "w", **profile) as sheet:
                sheet.descriptions = town.descriptions
                sheet.write(town.read(window=window))
(scenes / "sheet_99.tif").write_bytes(b"the disk was full")
print(*sorted(path.name for path in scenes.iterdir()))

# %% [markdown]
# ## What will it cost?
#
# Headers of all scenes and one tile of one scene tell, before anything is written. In the shell:
# `geotrans batch maps --task map2aerial -o aerials --dry-run`.

# %%
show(estimate_archive(scenes, task="map2aerial", out=products))

# %% [markdown]
# ## A run that is killed
#
# As a batch system would do it: a process of its own, ended without a warning (`kill -9`) when a
# few products are there.

# %%
command = ["batch", str(scenes), "--task", "map2aerial", "-o", str(products)]
run = subprocess.Popen(
    [sys.executable, "-m", "geotrans", *command],
    stdout=subprocess.DEVNULL,
    stderr=subprocess.DEVNULL,
)
while len(list(products.glob("*_map2aerial.tif"))) < 4 and run.poll() is None:
    time.sleep(0.02)
os.kill(run.pid, signal.SIGKILL)
print("ended by signal", -run.wait())
show(read_status(products))

# %% [markdown]
# ## The journal
#
# One SQLite file beside the products, written around every scene. What a dead run was at waits
# again; what is done has a size and a time, and the source's size and time as well, so that a
# changed source is noticed.

# %%
journal = sqlite3.connect(products / "journal.sqlite")
table = pd.read_sql("SELECT name, state, tries, n_px, n_bytes FROM scene ORDER BY name", journal)
journal.close()
print(table.convert_dtypes().astype(object).fillna("").to_string(index=False))

# %% [markdown]
# ## The same again: a resume
#
# From Python this time. Nothing is done twice, and one bad scene stops no other: it is told, with
# the reason, and the command's exit code would be 3.

# %%
done = [products / f"{name}_map2aerial.tif" for name in table.name[table.state == "done"]]
before = [path.stat().st_mtime_ns for path in done]
state = geotrans.batch(scenes, "map2aerial", out=products)
untouched = before == [path.stat().st_mtime_ns for path in done]
show(state)
print("products of the first run left as they were:", untouched)
again = geotrans.batch(scenes, "map2aerial", out=products)
print(f"and once more: {again.n_new} new")

# %% [markdown]
# ## The products, joined
#
# What the map leaves open is drawn from noise that is fixed to the ground, so neighbouring sheets
# fit. Each was translated alone, though, and saw nothing beyond its own edge: within the halo of
# an edge (47 px) it may differ from the town translated as a whole. One scene of any size has no
# such edges, which is why large scenes should stay whole.

# %%
joined = geotrans.mosaic(products / "*.tif", out=folder / "joined.tif")
whole = geotrans.translate(
    geotrans.sample_files("town")[0], task="map2aerial", out=folder / "whole.tif"
)
with rasterio.open(joined.path) as one, rasterio.open(whole.path) as other:
    left, right = one.read(), other.read()
differs = (left != right).any(axis=0)
rows, cols = (np.arange(n) % 300 for n in differs.shape)
to_edge = np.minimum.outer(np.minimum(rows, 299 - rows), np.minimum(cols, 299 - cols))
farthest = to_edge[differs].max()
print(f"{differs.mean():.0%} of the pixels differ; the farthest lies {farthest} px from an edge")

fig, axes = plt.subplots(1, 2, figsize=(10, 3.9), layout="constrained")
extent = (one.bounds.left, one.bounds.right, one.bounds.bottom, one.bounds.top)
axes[0].imshow(left.transpose(1, 2, 0), extent=extent)
axes[0].set_title("Twelve products, joined")
axes[1].imshow(differs, extent=extent, cmap="Greys", interpolation="nearest")
axes[1].set_title("Differs from the town as a whole")
for ax in axes:
    ax.set(xlabel="easting, m", ylabel="northing, m")
    ax.ticklabel_format(useOffset=False, style="plain")
    ax.locator_params(nbins=4)
plt.show()

# %% [markdown]
# ## STAC out
#
# The archive is a static STAC catalogue, too: an item beside each product, one collection over
# them. Each item says where it lies, that it was made by a network, by which, and from what. Any
# STAC client reads it.

# %%
collection = pystac.Collection.from_file(products / "collection.json")
items = sorted(collection.get_items(), key=lambda item: item.id)
west, south, east, north = collection.extent.spatial.bboxes[0]
print(f"{len(items)} items from {west:.4f}, {south:.4f} to {east:.4f}, {north:.4f} degrees")
item = items[0]
for name in ("proj:code", "proj:shape", "processing:software", "processing:datetime"):
    print(f"{name:<20} {item.properties.get(name)}")
for link in item.get_links("derived_from"):
    print(f"{'derived_from':<20} {link.target}")

# %% [markdown]
# ## STAC in, on a cluster
#
# An item names a scene as a file does, and so does a whole collection. Here the items that touch
# the north-western corner go into the next run, which turns the products back into maps of
# classes. `cluster=` takes the address of any Dask cluster, on this machine or on a hundred; here
# are two worker processes. Of an archive each worker has a scene of its own.

# %%
cluster = LocalCluster(
    n_workers=2, threads_per_worker=1, dashboard_address=":0", silence_logs="CRITICAL"
)
client = Client(cluster)
print(f"{len(cluster.workers)} workers; the dashboard is at {client.dashboard_link}")
here = (west, north - 0.002, west + 0.002, north)
chosen = [
    item.get_self_href() for item in items if item.bbox[0] < here[2] and item.bbox[3] > here[1]
]
state = geotrans.batch(
    chosen, "aerial2map", as_="classes", out=folder / "classes", cluster=cluster.scheduler_address
)
print(f"{len(chosen)} of {len(items)} items chosen;", state.counts["done"], "done")

# %% [markdown]
# ## One scene on a cluster
#
# Of one scene all workers make tiles. They read the scene and write finished tiles themselves;
# through the scheduler go only the numbers of tiles. A third of the way, one of them is killed.

# %%
client.get_task_stream()  # From here on the scheduler keeps what the dashboard would draw.


def kill_one(parts, after):
    """Kill a worker process once so many tiles are finished."""
    while len(list(parts.glob("r*.tif"))) < after:
        time.sleep(0.02)
    victim = next(iter(cluster.workers.values()))
    killed.append(time.time())
    os.kill(victim.pid, signal.SIGKILL)


killed = []
path = folder / "clustered.tif"
killer = threading.Thread(target=kill_one, args=(folder / "clustered.tif.parts", 12), daemon=True)
killer.start()
product = geotrans.translate(
    geotrans.sample_files("town")[0],
    task="map2aerial",
    out=path,
    tile=192,
    cluster=cluster.scheduler_address,
)
killer.join(timeout=10)
with rasterio.open(path) as one:
    same = np.array_equal(one.read(), right)
print(f"{product.n_tiles} tiles in {product.seconds:.0f} s; the very pixels of one process: {same}")

# %% [markdown]
# What the dashboard shows live, drawn here: every bar is a tile, every row a worker. The one that
# was killed loses the tile it was at, and the other makes it. A new worker takes its place if the
# work lasts that long. A worker's first tile takes longer, because it loads the network first.

# %%
stream = client.get_task_stream()
client.close()
cluster.close()

fig, ax = plt.subplots(figsize=(9, 2.6), layout="constrained")
workers = list(dict.fromkeys(task["worker"] for task in stream))
begin = min(span["start"] for task in stream for span in task["startstops"])
for task in stream:
    for span in task["startstops"]:
        if span["action"] == "compute":
            y = workers.index(task["worker"])
            ax.barh(
                y, span["stop"] - span["start"], left=span["start"] - begin,
                color="tab:blue", edgecolor="white",
            )  # fmt: skip
for moment in killed:
    ax.axvline(moment - begin, color="black", linestyle="--")
    ax.text(moment - begin, len(workers) - 0.45, " killed", va="bottom")
ax.set_yticks(range(len(workers)), [f"worker {k + 1}" for k in range(len(workers))])
ax.set_title(f"{product.n_tiles} tiles, one of two workers killed", loc="right")
ax.set_xlabel("s")
plt.show()
