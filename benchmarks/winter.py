"""Quality of summer2winter on held-out longitudes, with intervals over cells of 5 degrees.

    python benchmarks/winter.py runs/summer2winter/summer2winter.safetensors --json winter.json

The Blue Marble without snow is translated as a file, and compared with the one of a snowy month on
its grid, north of 45 N. Snow is bright and colourless: no band below 150, no two bands more than 40
apart. Beside each score stands that of the Blue Marble left as it is. Intervals are 95 %, by a
bootstrap over cells (2000 resamples, seed 0).
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from quality import Row, conclude

from geotrans.errors import GeotransError
from geotrans.grid import Window, bbox_window
from geotrans.metrics.image import ssim
from geotrans.metrics.interval import Interval, mean, ratio
from geotrans.metrics.mapping import road_counts
from geotrans.runtime.config import validate_section
from geotrans.sampling.config import DataConfig, find_data_root
from geotrans.scene import Scene, open_scene, pair
from geotrans.tasks.registry import open_bundle
from geotrans.training.monitor import save_sheet
from geotrans.translation.translate import translate

TASK = "summer2winter"
CELL_DEGREES = 5
BRIGHT, COLOURLESS = 150, 40
# What a score has to reach: better than unchanged, and this.
LEAST_IOU = 0.6

Cells = npt.NDArray[np.uint8]


def snow(pixels: Cells) -> npt.NDArray[np.uint8]:
    """1 where pixels `(N, 3, H, W)` are bright and colourless, `(N, H, W)`."""
    low, high = pixels.min(1), pixels.max(1)
    return ((low >= BRIGHT) & (high - low <= COLOURLESS)).astype(np.uint8)


def cells(pixels: Cells, size: int) -> Cells:
    """An image `(3, H, W)` in squares, `(N, 3, size, size)`; a rest at right and bottom is left."""
    rows, cols = (n // size for n in pixels.shape[1:])
    cut = pixels[:, : rows * size, : cols * size].reshape(3, rows, size, cols, size)
    return np.ascontiguousarray(cut.transpose(1, 3, 0, 2, 4).reshape(-1, 3, size, size))


def score(
    made: Cells, unchanged: Cells, truth: Cells, beside: Mapping[str, Cells] | None = None
) -> list[Row]:
    """Rows of the table; `beside` holds products of other bundles by name."""
    places = [str(i) for i in range(len(truth))]

    def difference(x: Cells) -> Interval:
        return mean(np.abs(x.astype(np.int16) - truth).mean((1, 2, 3)), places)

    def likeness(x: Cells) -> Interval:
        return mean(ssim(x, truth), places)

    def overlap(x: Cells) -> Interval:
        return ratio(*road_counts(snow(x), snow(truth), [1]), places)

    rows = []
    for name, measure, sense in (
        ("L1, grey levels", difference, "<"),
        ("SSIM", likeness, ">="),
        ("IoU of snow cover", overlap, ">="),
    ):
        before = measure(unchanged)
        bound = max(before.value, LEAST_IOU) if name.startswith("IoU") else before.value
        others = {other: measure(x) for other, x in (beside or {}).items()}
        rows.append(Row(TASK, name, measure(made), bound, sense, {"unchanged": before, **others}))
    return rows


def product(summer: Scene, task: str, out: Path, bbox: tuple[float, ...]) -> Cells:
    """What a task makes of a part of the Earth, `(3, H, W)`."""
    west, south, east, north = bbox
    made = translate(
        summer, task=task, out=out, bbox=(west, south, east, north), precision="float32",
        overwrite=True,
    )  # fmt: skip
    with open_scene(made.path) as scene:
        pixels: Cells = scene.read(Window.whole(scene.shape)).data
    return pixels


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("bundle", help="file, or name of a shipped task")
    parser.add_argument(
        "--bbox", default="60,45,95,80", metavar="W,S,E,N", help="what is compared, degrees"
    )
    parser.add_argument("--beside", nargs="*", default=[], metavar="NAME=BUNDLE")
    parser.add_argument("--split", default="val")
    parser.add_argument("--sheet", type=Path, help="write source, product and truth as a picture")
    parser.add_argument("--json", type=Path, help="write the scores here")
    options = parser.parse_args()
    bundle = open_bundle(options.bundle)
    root = find_data_root(
        validate_section(DataConfig, bundle.spec.training["data"], where="training.data")
    )
    west, south, east, north = (float(word) for word in options.bbox.split(","))
    bbox = west, south, east, north
    with (
        tempfile.TemporaryDirectory() as name,
        open_scene(root / "global" / "blue_marble.tif") as summer,
        open_scene(root / "global" / "blue_marble_snow.tif") as winter,
    ):
        area = bbox_window(summer.geobox, bbox)
        out = Path(name) / "made.tif"
        pixels: list[Any] = [product(summer, options.bundle, out, bbox)]
        others = dict(word.split("=", 1) for word in options.beside)
        others = {name: product(summer, task, out, bbox) for name, task in others.items()}
        both = pair(summer, winter, geobox=summer.geobox).read(area)
        pixels += [both.source.data, both.target.data]
    size = round(CELL_DEGREES / abs(summer.geobox.affine.a))
    beside = {name: cells(x, size) for name, x in others.items()}
    rows = score(*(cells(x[:3], size) for x in pixels), beside)
    if options.sheet is not None:
        save_sheet(options.sheet, [[x[:3] for x in (pixels[1], pixels[0], pixels[2])]])
    return conclude(
        rows,
        options.json,
        split=options.split,
        year=f"{west:g} to {east:g} E, {south:g} to {north:g} N, cells of 5 degrees as",
        weights_sha256={TASK: bundle.sha256},
    )


if __name__ == "__main__":
    try:
        sys.exit(main())
    except GeotransError as error:
        sys.exit(f"error: {error}")
