"""Speed, memory and exactness of `geotrans translate` on one scene.

    python benchmarks/translate.py city.tif --task map2aerial --tile 512 768 960 --workers 1 2 \
        --precision float32 bfloat16 --crop 2048 --small 4096 --json translate.json

Every combination of tile, workers and precision runs as a process of its own, one after another.
Mpx/s counts product pixels over the time of the whole process, from its start to its end. "Network"
is the rate of the network alone in that run, timed inside it, and "share" how much of that rate the
whole run reaches. Memory is the largest sum over the process and its children of what each holds.
Products of one precision are then compared with the first of them, pixel by pixel, masks included;
`--crop` adds one that translates the middle of the scene in a single window, and `--small` one of a
part of the scene, for its memory.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import psutil
import rasterio
from rasterio.warp import transform_bounds
from rasterio.windows import Window

import geotrans
from geotrans.scene import open_scene


@dataclass(frozen=True)
class Run:
    """One run of the command.

    Attributes:
        name: What distinguishes it.
        path: Its product.
        shape: `(height, width)` of the product, px.
        precision: Arithmetic of the network.
        seconds: From the start of the process to its end.
        network_s: Time the network alone worked, added up over processes.
        peak_bytes: Largest memory of the process and its children together.
        mpx_per_s: Product pixels over `seconds`.
        share: Of the network's own rate.
        n_different: Pixels unlike those of the first run of this precision.
    """

    name: str
    path: Path
    shape: tuple[int, int]
    precision: str
    seconds: float
    network_s: float
    peak_bytes: int
    mpx_per_s: float
    share: float
    n_different: int | None = None


def translate(name: str, scene: str, out: Path, words: Sequence[str], *, workers: int = 1) -> Run:
    """Run the command and watch it."""
    command = [
        sys.executable, "-m", "geotrans", "translate", scene, "-o", str(out), "--json",
        "--no-preview", "--overwrite", "--workers", str(workers), *words,
    ]  # fmt: skip
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    peak = 0
    while process.poll() is None:
        peak = max(peak, _memory(process.pid))
        time.sleep(0.05)
    seconds = time.perf_counter() - started
    if process.returncode:
        raise SystemExit(f"{name}: geotrans ended with {process.returncode}")
    told = json.loads(process.stdout.read() if process.stdout else "{}")
    height, width = told["shape"]
    n_mpx = height * width / 1e6
    # Processes side by side share the cores: together they are as fast as their mean is busy.
    network_s = told["network_s"] / workers
    run = Run(
        name, out, (height, width), told["precision"], seconds, told["network_s"], peak,
        n_mpx / seconds, network_s / seconds,
    )  # fmt: skip
    print(_line(run), file=sys.stderr, flush=True)
    return run


def n_different(one: Path, other: Path, *, at: tuple[int, int] = (0, 0)) -> int:
    """Pixels of `other` unlike those of `one` from row and column `at` on."""
    total = 0
    with rasterio.open(one) as a, rasterio.open(other) as b:
        for row, col in itertools.product(range(0, b.height, 1024), range(0, b.width, 1024)):
            inner = Window(col, row, min(1024, b.width - col), min(1024, b.height - row))
            outer = Window(col + at[1], row + at[0], inner.width, inner.height)
            unlike = (a.read(window=outer) != b.read(window=inner)).any(axis=0)
            unlike |= a.dataset_mask(window=outer) != b.dataset_mask(window=inner)
            total += int(np.count_nonzero(unlike))
    return total


def middle(scene: str, size: int) -> tuple[str, tuple[int, int]]:
    """The bbox of about `size` px square in the middle of a scene, and its first row and column."""
    with open_scene(scene) as source:
        height, width = source.shape
        top, left = (max(0, (n - size) // 2) for n in (height, width))
        bottom, right = min(height, top + size), min(width, left + size)
        # Half a pixel inside, so that no pixel beyond is touched; a turned lat-lon box still is.
        corners = [source.geobox.affine @ (x, y) for x in (left + 0.5, right - 0.5)
                   for y in (top + 0.5, bottom - 0.5)]  # fmt: skip
        xs, ys = zip(*corners, strict=True)
        bounds = min(xs), min(ys), max(xs), max(ys)
        if source.crs_wkt:
            bounds = transform_bounds(source.crs_wkt, "EPSG:4326", *bounds)
    return ",".join(repr(value) for value in bounds), (top, left)


def place_of(part: Path, whole: Path) -> tuple[int, int]:
    """Row and column of a product's first pixel in another."""
    with rasterio.open(part) as a, rasterio.open(whole) as b:
        col, row = ~b.transform @ (a.transform.c, a.transform.f)
    return round(row), round(col)


def run_all(options: argparse.Namespace, folder: Path) -> Iterator[Run]:
    """All runs, compared with the first of their precision."""
    scene = str(options.scene)
    for precision in options.precision:
        base = ["--task", options.task, "--precision", precision, *options.more]
        first: Path | None = None
        for tile, workers in itertools.product(options.tile or [None], options.workers):
            name = f"{precision}, tile {tile or 'default'}, {workers} worker{'s' * (workers > 1)}"
            words = base if tile is None else [*base, "--tile", str(tile)]
            out = folder / f"{precision}_{tile}_{workers}.tif"
            run = translate(name, scene, out, words, workers=workers)
            different = None if first is None else n_different(first, out)
            yield Run(**{**vars(run), "n_different": different})
            first = out if first is None else first
            if out != first and not options.keep:
                out.unlink()
        for size, tile in ((options.crop, options.crop), (options.small, None)):
            if not size or first is None:
                continue
            bbox, _ = middle(scene, size)
            words = [*base, "--bbox", bbox]
            # A bbox of lon-lat may touch more than the square: one window must hold it all.
            words += [] if tile is None else ["--tile", str(2 * tile)]
            out = folder / f"{precision}_{size}.tif"
            kind = "untiled" if tile else "default tiles"
            run = translate(f"{precision}, middle {size} px, {kind}", scene, out, words)
            at = place_of(out, first)
            yield Run(**{**vars(run), "n_different": n_different(first, out, at=at)})


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("scene", type=Path)
    parser.add_argument("--task", required=True)
    parser.add_argument("--tile", type=int, nargs="*", help="core edges, px; the default if none")
    parser.add_argument("--workers", type=int, nargs="+", default=[1])
    parser.add_argument("--precision", nargs="+", default=["auto"])
    parser.add_argument("--crop", type=int, help="px of a part to translate untiled and compare")
    parser.add_argument("--small", type=int, help="px of a part to compare the memory with")
    parser.add_argument("--out", type=Path, help="folder for the products; a temporary one if none")
    parser.add_argument("--keep", action="store_true", help="keep every product in --out")
    parser.add_argument("--json", type=Path, help="file for the figures")
    parser.add_argument("more", nargs="*", help="after --: further options of geotrans translate")
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.out or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        runs = list(run_all(options, folder))
    print(_machine())
    print("| run | px | s | Mpx/s | network Mpx/s | share | peak MB | pixels that differ |")
    print("|---|---|---|---|---|---|---|---|")
    for run in runs:
        print(_line(run))
    if options.json:
        figures = [{**asdict(run), "path": str(run.path)} for run in runs]
        told = {"machine": _machine(), "scene": str(options.scene), "runs": figures}
        options.json.write_text(json.dumps(told, indent=1))


def _memory(pid: int) -> int:
    total = 0
    try:
        process = psutil.Process(pid)
        family = [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0
    for one in family:
        try:
            total += one.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total


def _line(run: Run) -> str:
    height, width = run.shape
    different = "-" if run.n_different is None else str(run.n_different)
    network = run.mpx_per_s / run.share if run.share else float("nan")
    return (
        f"| {run.name} | {width} x {height} | {run.seconds:.1f} | {run.mpx_per_s:.2f} | "
        f"{network:.2f} | {run.share:.0%} | {run.peak_bytes / 1e6:.0f} | {different} |"
    )


def _machine() -> str:
    cpus = Path("/proc/cpuinfo")
    model = platform.processor()
    if cpus.exists():
        names = [line for line in cpus.read_text().splitlines() if line.startswith("model name")]
        model = names[0].partition(":")[2].strip() if names else model
    n_cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"geotrans {geotrans.__version__}, {n_cores} cores of {model}"


if __name__ == "__main__":
    main()
