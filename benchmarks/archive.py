"""Two hundred scenes through `geotrans batch`, eight of them bad, then a kill or ten.

    python benchmarks/archive.py --out /tmp/archive --workers 2 --kills 10 --json archive.json

Windows of the real rasters that `GEOTRANS_DATA` names, of mixed CRS, type and size, are cut into
one folder; 3 are truncated, 2 lack bands, 1 has no CRS, 1 holds nothing valid, and 1 is a URL that
nobody answers. Told are: how many are done and why the others are not, with the exit code; whether
every product has its source's grid, is a valid COG and has a valid STAC Item; how many of some
equal `geotrans translate` of the scene alone; how long a second run takes, and what it makes; what
a third makes after one source was touched. Then an archive of the first scenes is killed
(`kill -9`) at random moments and run to its end: products that differ from the unbroken run's,
scenes made again though they were recorded as done, files too many.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from rasterio.windows import Window
from rio_cogeo.cogeo import cog_validate

import geotrans

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.helpers.stac import read_valid

TASK = "aerial2map"
URL = "http://127.0.0.1:9/nobody.tif"

# Files that have bands red, green and blue, and the share of the windows cut from each kind.
KINDS = {
    "naip/train/*.tif": 0.4,
    "santa_monica/aerial/train/*.tif": 0.2,
    "multispectral/train/landsat8_itaipu_*.tif": 0.15,
    "multispectral/train/naip5m_north_dakota_*.tif": 0.1,
    "global/blue_marble*.tif": 0.15,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder to work in, not there yet")
    parser.add_argument("--scenes", type=int, default=200)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--compare", type=int, default=20, help="products to make once more alone")
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--killed-scenes", type=int, default=24)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    asked.out.mkdir(parents=True)
    folder = asked.out / "in"
    bad = write_archive(folder, asked.scenes)
    told = {"commit": _commit(), "cpu": os.cpu_count(), "load": os.getloadavg()[0]}
    told |= measure(asked, folder, bad)
    if asked.kills:
        told |= kill(asked, folder, bad)
    print(json.dumps(told, indent=1))
    if asked.json:
        asked.json.write_text(json.dumps(told, indent=1) + "\n")


def write_archive(folder: Path, n_scenes: int) -> list[str]:
    """Cut windows, spoil some, and say which."""
    folder.mkdir()
    rng = random.Random(0)
    for i, source in enumerate(_sources(n_scenes - 1, rng)):
        _cut(source, folder / f"{i:03d} {source.stem}.tif", rng)
    paths = sorted(folder.glob("*.tif"))
    spoiled = rng.sample(paths, 7)
    for path in spoiled[:3]:
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    for path in spoiled[3:5]:
        _rewrite(path, bands=1)
    _rewrite(spoiled[5], crs=None)
    _rewrite(spoiled[6], empty=True)
    (folder / "list.txt").write_text(f"{URL}\n")
    return [path.stem for path in spoiled if path != spoiled[5]] + ["nobody"]


def _sources(n: int, rng: random.Random) -> list[Path]:
    data = Path(os.environ["GEOTRANS_DATA"])
    files = {kind: sorted(data.glob(kind)) for kind in KINDS}
    kinds = rng.choices(list(KINDS), list(KINDS.values()), k=n)
    return [rng.choice(files[kind]) for kind in kinds]


def _cut(source: Path, path: Path, rng: random.Random) -> None:
    with rasterio.open(source) as file:
        width, height = (min(n, rng.randrange(96, 400)) for n in (file.width, file.height))
        # What is all water and nodata is a failure of another kind.
        for _ in range(100):
            col, row = (
                rng.randrange(file.width - width + 1),
                rng.randrange(file.height - height + 1),
            )
            window = Window(col, row, width, height)
            if file.read_masks(1, window=window).mean() > 128:
                break
        data = file.read([1, 2, 3], window=window)
        profile = {
            "driver": "GTiff", "count": 3, "width": width, "height": height, "dtype": data.dtype,
            "crs": file.crs, "transform": file.window_transform(window), "nodata": file.nodata,
            "compress": "deflate", "tiled": True, "blockxsize": 64, "blockysize": 64,
        }  # fmt: skip
    _write(path, data, profile)


def _rewrite(path: Path, *, bands: int = 3, empty: bool = False, **changes: Any) -> None:
    with rasterio.open(path) as file:
        data, profile = file.read()[:bands], {**file.profile, **changes, "count": bands}
    if empty:
        data, profile["nodata"] = np.zeros_like(data), 0
    _write(path, data, profile)


def _write(path: Path, data: Any, profile: dict[str, Any]) -> None:
    with rasterio.open(path, "w", **profile) as file:
        file.descriptions = ("red", "green", "blue")[: len(data)]
        file.write(data)


def measure(asked: argparse.Namespace, folder: Path, bad: list[str]) -> dict[str, Any]:
    out = asked.out / "out"
    words = _words(folder, out, asked.workers)
    first, state = _run(words)
    reasons = {failure["name"]: failure["reason"] for failure in state["failures"]}
    assert set(reasons) == set(bad), set(reasons) ^ set(bad)
    wrong = [path.name for path in _products(out) if not _is_right(path, folder)]
    second, again = _run(words)
    touched = next(p for p in sorted(folder.glob("*.tif")) if p.stem not in bad)
    os.utime(touched)
    third, redone = _run(words)
    return {
        "scenes": asked.scenes,
        "workers": asked.workers,
        "done": state["counts"]["done"],
        "exit_code": first["exit_code"],
        "reasons": reasons,
        "wrong": wrong,
        "compared": _compare(out, folder, asked.compare),
        "seconds": first["seconds"],
        "px_per_s": state["px_per_s"],
        "second_run": {**second, "made": again["n_new"]},
        "after_touching_one": {**third, "made": redone["n_new"]},
    }


def _words(folder: Path, out: Path, workers: int) -> list[str]:
    return [
        sys.executable, "-m", "geotrans", "batch", str(folder), str(folder / "list.txt"),
        "--task", TASK, "-o", str(out), "--workers", str(workers), "--precision", "float32",
        "--any-gsd", "--any-values", "--json",
    ]  # fmt: skip


def _run(words: list[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    started = time.perf_counter()
    done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=False)
    seconds = round(time.perf_counter() - started, 1)
    return {"seconds": seconds, "exit_code": done.returncode}, json.loads(done.stdout)


def _products(out: Path) -> list[Path]:
    return sorted(out.glob("*.tif"))


def _is_right(path: Path, folder: Path) -> bool:
    """A product on its source's grid, a valid COG, with a valid item."""
    read_valid(path.with_suffix(".json"))
    source = folder / f"{path.stem.removesuffix(f'_{TASK}')}.tif"
    with rasterio.open(path) as one, rasterio.open(source) as other:
        same = (one.crs, one.transform, one.shape) == (other.crs, other.transform, other.shape)
    return same and cog_validate(path, strict=True, quiet=True)[0]


def _compare(out: Path, folder: Path, n: int) -> dict[str, int]:
    """How many products equal those of `geotrans translate`, one scene alone."""
    n_same = 0
    chosen = random.Random(1).sample(_products(out), n)
    for path in chosen:
        source = folder / f"{path.stem.removesuffix(f'_{TASK}')}.tif"
        alone = geotrans.translate(
            source, TASK, out=out.parent / "alone.tif", precision="float32", overwrite=True,
            any_gsd=True, any_values=True,
        )  # fmt: skip
        n_same += _digest(path) == _digest(alone.path)
    return {"products": n, "identical": n_same}


def _digest(path: Path) -> str:
    """Pixels, mask and grid; tags hold the time of day."""
    with rasterio.open(path) as file:
        content = file.read().tobytes() + file.dataset_mask().tobytes()
        return hashlib.sha256(content + repr((file.crs, file.transform)).encode()).hexdigest()


def kill(asked: argparse.Namespace, folder: Path, bad: list[str]) -> dict[str, Any]:
    """Kill the client again and again, then let it finish."""
    few, out, rng = asked.out / "few", asked.out / "killed", random.Random(2)
    few.mkdir()
    for path in [p for p in sorted(folder.glob("*.tif")) if p.stem not in bad][
        : asked.killed_scenes
    ]:
        (few / path.name).symlink_to(path)
    (few / "list.txt").write_text("# nothing more\n")
    words = _words(few, out, asked.workers)
    n_twice, kills = 0, []
    for _ in range(asked.kills):
        before = _made(out)
        process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        # Half of the time is loading: come to work more often than not.
        until = time.monotonic() + 120
        while _made(out) == before and process.poll() is None and time.monotonic() < until:
            time.sleep(0.05)
        time.sleep(rng.uniform(0, 1.5))
        process.kill()
        process.wait()
        after = _made(out)
        n_twice += sum(after[name] != times for name, times in before.items())
        kills.append(len(after))
    before = _made(out)
    last, state = _run(words)
    n_twice += sum(_made(out)[name] != times for name, times in before.items())
    whole = asked.out / "out"
    differing = [p.name for p in _products(out) if _digest(p) != _digest(whole / p.name)]
    expected = {f"{p.stem}{end}" for p in _products(out) for end in (".tif", ".json", ".png")}
    expected |= {"journal.sqlite", "collection.json", "models"}
    return {
        "kills": len(kills),
        "done_after_each_kill": kills,
        "last_run": last,
        "killed_done": state["counts"]["done"],
        "made_twice": n_twice,
        "differing": differing,
        "files_too_many": sorted({p.name for p in out.iterdir()} - expected),
    }


def _made(out: Path) -> dict[str, int]:
    """When each product that is recorded as done was written."""
    journal = out / "journal.sqlite"
    if not journal.exists():
        return {}
    with closing(sqlite3.connect(journal, timeout=30)) as db:
        try:
            names = [name for (name,) in db.execute("SELECT name FROM scene WHERE state = 'done'")]
        except sqlite3.OperationalError:  # It is being made.
            return {}
    return {name: (out / f"{name}_{TASK}.tif").stat().st_mtime_ns for name in names}


def _commit() -> str:
    here = Path(__file__).parent
    done = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],
        cwd=here,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.strip()


if __name__ == "__main__":
    main()
