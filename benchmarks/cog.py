"""What encoding a product behind its tiles saves over GDAL's COG driver, on one scene.

    python benchmarks/cog.py --task map2aerial identity --size 4096 --repeats 3 --json cog.json

The scene is the sample town's map, repeated up to `--size` px each way; `identity` is a network
that changes nothing. Each run is `geotrans translate` as a process of its own, from its start to
its end; runs with the product encoded behind its tiles (`stream`, as it ships) and after them by
GDAL (`driver`) take turns. Told are wall time, time of the processor and largest memory of the
process of each run, the share of the median wall time that `stream` saves, and whether both
products have the same pixels, masks and overviews. Where other work runs beside it, the processor's
time tells more.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import rasterio

from geotrans.scene.samples import sample_files
from geotrans.tasks import BandSpec, GeneratorSpec, TaskSpec, save_bundle

WAYS = ("stream", "driver")

# Says of every product that no block can be encoded before all tiles are there.
_DRIVER = "import geotrans.product.make as make; make.can_follow = lambda options: False"


def repeated_town(path: Path, size: int) -> Path:
    """The sample town's map, mirrored as often as it takes."""
    with rasterio.open(sample_files("town")[0]) as town:
        data, profile = town.read(), town.profile
    more = [(0, max(0, size - n)) for n in data.shape[1:]]
    data = np.pad(data, [(0, 0), *more], mode="symmetric")[:, :size, :size]
    with rasterio.open(path, "w", **{**profile, "height": size, "width": size}) as scene:
        scene.write(data)
    return path


def identity(path: Path) -> Path:
    """A bundle whose network changes nothing."""
    bands = [BandSpec(name=name, value_range=(0, 255)) for name in ("red", "green", "blue")]
    generator = GeneratorSpec(arch="identity")
    spec = TaskSpec(
        name="identity", source=bands, target=bands, generator=generator, norm="none",
        halo=0, align=1,
    )  # fmt: skip
    return save_bundle(path, spec, {})


def run(
    scene: Path, task: str, out: Path, *, patch: str = "", env: Mapping[str, str] | None = None
) -> dict[str, float]:
    """One run: wall time, s, processor time, s, and largest memory, MB.

    Args:
        scene: What to translate.
        task: By which task.
        out: The product.
        patch: Python that changes the package before the command begins.
        env: What its environment has besides ours.
    """
    code = f"{patch}\nfrom geotrans.cli.start import main\nmain()"
    words = ["translate", str(scene), "--task", task, "-o", str(out), "--overwrite", "--quiet"]
    words += ["--any-gsd", "--any-values", "--any-style"]
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-c", code, *words], stdout=subprocess.DEVNULL,
        env={**os.environ, **(env or {})},
    )  # fmt: skip
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - started
    if status:
        raise SystemExit(f"{task} ended with status {status}")
    return {
        "wall_s": round(seconds, 2),
        "cpu_s": round(usage.ru_utime + usage.ru_stime, 2),
        "peak_mb": round(usage.ru_maxrss / 1000),
    }


def is_same(one: Path, other: Path) -> bool:
    """Whether two products hold the same pixels, masks and overviews."""
    with rasterio.open(one) as a:
        levels: list[dict[str, Any]] = [{}]
        levels += [{"overview_level": i} for i in range(len(a.overviews(1)))]
    for level in levels:
        with rasterio.open(one, **level) as a, rasterio.open(other, **level) as b:
            for read in ("read", "read_masks"):
                if not np.array_equal(getattr(a, read)(), getattr(b, read)()):
                    return False
    return True


def compare(scene: Path, task: str, folder: Path, *, repeats: int) -> dict[str, Any]:
    """Both ways in turns."""
    outs = {way: folder / f"{way}.tif" for way in WAYS}
    runs: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
    for i in range(repeats):
        for way in WAYS if i % 2 == 0 else WAYS[::-1]:
            patch = _DRIVER if way == "driver" else ""
            runs[way].append(run(scene, task, outs[way], patch=patch))
    stream, driver = (median(one["wall_s"] for one in runs[way]) for way in WAYS)
    same = is_same(*outs.values())
    return {**runs, "saved": round(1 - stream / driver, 3), "is_same": same}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--task", nargs="+", default=["map2aerial", "identity"])
    parser.add_argument("--size", type=int, default=4096, help="px each way")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        scene = repeated_town(folder / "scene.tif", asked.size)
        for task in asked.task:
            bundle = str(identity(folder / "identity.safetensors")) if task == "identity" else task
            found[task] = compare(scene, bundle, folder, repeats=asked.repeats)
            print(task, json.dumps(found[task]), flush=True)
    if asked.json:
        asked.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
