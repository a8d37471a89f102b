"""What a Dask cluster costs: per task, and for one scene beside threads and local processes.

    python benchmarks/cluster.py tasks --edge 100000
    python benchmarks/cluster.py scene city.tif --task map2aerial --window 4096

`tasks` plans a square scene that holds nothing, with a task that changes nothing, and sends every
cell of the plan through a scheduler to two workers that only give a receipt: what is left is what
scheduling costs, here and there. A subset of the cells is then translated.

`scene` translates one scene on threads, on two local processes and on a scheduler with two workers
that run already, in turn; all products must be equal.

Scheduler and workers are processes of this machine.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil
import rasterio
from rasterio.windows import Window
from rasterio.windows import transform as window_transform

import geotrans
from geotrans.execution.connect import connect
from geotrans.execution.work import Cell
from geotrans.parts import Parts
from geotrans.parts.writer import Receipt
from geotrans.scene import open_scene
from geotrans.tasks import open_bundle
from geotrans.translation.plan import plan_job
from geotrans.translation.writer import TileWriter

# The test helpers start clusters and write bundles that change nothing.
sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.helpers.bundles import identity_bundle
from tests.helpers.cluster import real_cluster


@dataclass(frozen=True)
class Nothing(TileWriter):
    """Gives receipts for tiles it never made."""

    def __call__(self, cell: Cell) -> Receipt:
        """Do nothing."""
        return Receipt(*cell, n_px=1, process="", network_s=0.0)


def tasks(edge: int) -> None:
    """Time a plan, its scheduling, and some of its tiles."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bundle = identity_bundle(folder / "same.safetensors", bands=["red"])
        with rasterio.open(
            folder / "sparse.tif", "w", driver="GTiff", width=edge, height=edge, count=1,
            dtype="uint8", tiled=True, sparse_ok=True, bigtiff="YES", crs="EPSG:32611",
            transform=rasterio.Affine(1, 0, 360_000, 0, -1, 3_770_000),
        ) as file:  # fmt: skip
            file.set_band_description(1, "red")
        scene, task = open_scene(folder / "sparse.tif"), open_bundle(bundle)
        plan_job(scene, task)  # Imports what is imported once.
        started = time.perf_counter()
        job = plan_job(scene, task)
        parts = Parts.beside(folder / "out.tif")
        parts.begin(job, overwrite=False)
        cells = [(tile.row, tile.col) for tile in job.plan]
        assert not parts.find_finished(job)
        print(f"{len(cells)} tiles planned in {time.perf_counter() - started:.2f} s")
        with real_cluster(folder / "cluster") as running, connect(running.address) as cluster:
            process, sizes = psutil.Process(), []
            cluster.run(Nothing(job, parts), cells[:100], on_done=lambda _: None)
            before, started = process.memory_info().rss, time.perf_counter()

            def done(receipt: Receipt) -> None:
                sizes.append(process.memory_info().rss)

            cluster.run(Nothing(job, parts), cells, on_done=done)
            seconds = time.perf_counter() - started
            print(f"scheduling {1000 * seconds / len(cells):.2f} ms a task")
            print(f"memory of the client grew by {(max(sizes) - before) / 1e6:.1f} MB")
            started = time.perf_counter()
            cluster.run(TileWriter(job, parts), cells[:200], on_done=lambda _: None)
            print(f"200 of the tiles in {time.perf_counter() - started:.1f} s")


def scene(path: Path, task: str, window: int | None) -> None:
    """Translate a scene in three ways."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        part = path if window is None else _cut(path, folder / "part.tif", window)
        made = []
        with real_cluster(folder / "cluster") as running:
            ways = {"threads": {}, "2 processes": {"workers": 2}}
            ways["cluster"] = {"cluster": running.address}
            for way, choices in ways.items():
                out = folder / f"{way}.tif"
                product = geotrans.translate(part, task, out=out, precision="float32", **choices)
                print(f"{way}: {product.seconds:.1f} s, {product.n_tiles} tiles", flush=True)
                with rasterio.open(out) as file:
                    made.append(file.read())
        n_different = [int((one != made[0]).any(axis=0).sum()) for one in made[1:]]
        print(f"pixels of {made[0].shape} that differ: {n_different}")


def _cut(path: Path, out: Path, edge: int) -> Path:
    """The middle of a scene."""
    with rasterio.open(path) as file:
        left, top = (file.width - edge) // 2, (file.height - edge) // 2
        window = Window(left, top, edge, edge)
        transform = window_transform(window, file.transform)
        profile = {**file.profile, "width": edge, "height": edge, "transform": transform}
        with (
            rasterio.Env(GDAL_TIFF_INTERNAL_MASK="YES"),
            rasterio.open(out, "w", **profile) as part,
        ):
            part.write(file.read(window=window))
            part.write_mask(file.dataset_mask(window=window))
            part.descriptions = file.descriptions
            part.update_tags(**file.tags())
    return out


def main(words: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    kinds = parser.add_subparsers(dest="kind", required=True)
    kinds.add_parser("tasks").add_argument("--edge", type=int, default=100_000, help="px")
    one = kinds.add_parser("scene")
    one.add_argument("path", type=Path)
    one.add_argument("--task", required=True)
    one.add_argument("--window", type=int, help="px of its middle; all unless given")
    asked = parser.parse_args(words)
    print(f"geotrans {geotrans.__version__}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    if asked.kind == "tasks":
        tasks(asked.edge)
    else:
        scene(asked.path, asked.task, asked.window)


if __name__ == "__main__":
    main()
