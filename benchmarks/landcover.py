"""Quality of landcover2aerial on held-out photographs, with intervals over places.

    python benchmarks/landcover.py runs/landcover2aerial/landcover2aerial.safetensors \
        --l1 runs/l1/landcover2aerial.safetensors --json landcover.json

Each photograph is labelled by the task's recipe, the labels are translated, and the product is
labelled again, all as files and by the commands a user has. Kernel distance compares red, green and
blue of products and photographs; mean IoU compares the labels of the product with those it was made
from. Intervals are 95 %, by a bootstrap over places (2000 resamples, seed 0).
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import rasterio
from quality import Row, conclude

from geotrans.errors import GeotransError
from geotrans.labelling.label import label
from geotrans.metrics.interval import mean, mean_ratio
from geotrans.metrics.kernel import compute_features, gap_closed, kernel_distance
from geotrans.metrics.mapping import class_counts
from geotrans.metrics.texture import contrast
from geotrans.runtime.config import validate_section
from geotrans.sampling.config import DataConfig, find_data_root
from geotrans.sampling.matching import find_files
from geotrans.tasks.registry import open_bundle
from geotrans.translation.translate import translate

TASK = "landcover2aerial"


@dataclass(frozen=True)
class Made:
    """Pictures of all places, and what they show.

    Attributes:
        bands: Stored values, `(N, C, H, W)`.
        classes: Their labels, `(N, H, W)`, 255 where there is none.
    """

    bands: npt.NDArray[np.uint8]
    classes: npt.NDArray[np.uint8]

    @property
    def pictures(self) -> npt.NDArray[np.uint8]:
        """Red, green and blue."""
        return np.ascontiguousarray(self.bands[:, :3])


def photographs(paths: list[Path], recipe: str, folder: Path) -> Made:
    """The photographs themselves, and their labels, which are left in `folder`."""
    bands, classes = [], []
    for path in paths:
        labels = label(path, folder / f"{path.stem}.tif", recipe=recipe)
        bands.append(read(path))
        classes.append(read(labels)[0])
    return Made(np.stack(bands), np.stack(classes))


def products(bundle: str, paths: list[Path], recipe: str, folder: Path, *, seed: int) -> Made:
    """What a task makes of the labels in `folder`, labelled again."""
    bands, classes = [], []
    for path in paths:
        made = translate(
            folder / f"{path.stem}.tif", task=bundle, out=folder / "made.tif", seed=seed,
            precision="float32", overwrite=True,
        )  # fmt: skip
        again = label(made.path, folder / "again.tif", recipe=recipe, overwrite=True)
        bands.append(read(made.path))
        classes.append(read(again)[0])
    return Made(np.stack(bands), np.stack(classes))


def read(path: Path) -> npt.NDArray[np.uint8]:
    """All bands of a raster."""
    with rasterio.open(path) as file:
        found: npt.NDArray[np.uint8] = file.read()
    return found


def score(
    made: Made, l1: Made | None, real: Made, training: npt.NDArray[np.uint8], places: list[str]
) -> list[Row]:
    """Rows of the table."""
    n_classes = 1 + int(real.classes[real.classes < 255].max())

    def overlap(one: Made) -> Any:
        counts = class_counts(
            one.classes, real.classes, n_classes=n_classes, valid=real.classes < 255
        )
        return mean_ratio(*counts, places)

    truth = compute_features(real.pictures, places)
    found = kernel_distance(compute_features(made.pictures, places), truth)
    names = [f"training {i}" for i in range(len(training))]
    beside = {"real, training places": kernel_distance(compute_features(training, names), truth)}
    spread = {"real": mean(contrast(real.pictures), places)}
    ious = {}
    rows = [Row(TASK, "kernel distance x 1000", found, beside=beside)]
    if l1 is not None:
        beside["L1 only"] = kernel_distance(compute_features(l1.pictures, places), truth)
        spread["L1 only"] = mean(contrast(l1.pictures), places)
        ious["L1 only"] = overlap(l1)
        share = gap_closed(found, beside["L1 only"])
        rows.append(Row(TASK, "share of the distance gap closed", share, 0.6))
    rows.append(Row(TASK, "mean IoU of the recipe on the product", overlap(made), 0.5, beside=ious))
    rows.append(Row(TASK, "contrast", mean(contrast(made.pictures), places), beside=spread))
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("bundle", help="file, or name of a shipped task")
    parser.add_argument("--l1", help="the same network trained with L1 alone")
    parser.add_argument("--split", default="val")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="write the scores here")
    options = parser.parse_args()
    bundle = open_bundle(options.bundle)
    data = validate_section(DataConfig, bundle.spec.training["data"], where="training.data")
    root, folders = find_data_root(data), data.splits.folders  # type: ignore[union-attr]
    recipe = data.source.recipe  # type: ignore[union-attr]
    paths, training = (find_files(root / folders[split]) for split in (options.split, "train"))
    places = [path.stem for path in paths]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        real = photographs(paths, recipe, folder)
        made, l1 = (
            None if one is None else products(one, paths, recipe, folder, seed=options.seed)
            for one in (options.bundle, options.l1)
        )
    assert made is not None
    known = np.stack([read(path)[:3] for path in training])
    rows = score(made, l1, real, known, places)
    return conclude(
        rows, options.json, split=options.split, year="2020", weights_sha256={TASK: bundle.sha256}
    )


if __name__ == "__main__":
    try:
        sys.exit(main())
    except GeotransError as error:
        sys.exit(f"error: {error}")
