"""Quality of cir2rgb, pan2rgb and other tasks that write natural colour, on held-out places.

    geotrans tile configs/cir2rgb.yaml -o CACHE
    python benchmarks/colour.py cir2rgb=BUNDLE --cache CACHE --json cir2rgb.json
    python benchmarks/colour.py spectral2natural=BUNDLE --cache CACHE --beside "plain=OTHER"

The cache holds pairs of what the task reads and the truth, 8 bit. PSNR is that of all valid pixels
and bands together; SSIM, SAM and the colour error in the a, b plane of CIELAB are means over
places. Beside each stands what needs no network, fitted on the split `train`. Intervals are 95 %,
by a bootstrap over places (2000 resamples, seed 0).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from affine import Affine
from quality import Row, conclude, translate

from geotrans.errors import GeotransError, UsageError
from geotrans.evaluation.baselines import apply_linear, mean_color_by_grey
from geotrans.evaluation.scores import psnr_over_places
from geotrans.grid import ground_anchor, make_geobox
from geotrans.metrics.image import chroma_error, ssim
from geotrans.metrics.interval import mean
from geotrans.metrics.spectral import sam
from geotrans.sampling.cache import PatchCache, PatchSet
from geotrans.tasks.bundle import Bundle
from geotrans.tasks.registry import open_bundle
from geotrans.training.linear import fit_known, fit_linear

UInt8Array = npt.NDArray[np.uint8]

RGB = ("red", "green", "blue")
# What a score has to reach.
BOUNDS = {
    "cir2rgb": {"PSNR, dB": 36.0, "Lab chroma error": 3.3},
    "pan2rgb": {"PSNR, dB": 31.5, "Lab chroma error": 6.3},
    "spectral2natural": {"PSNR, dB": 31.5, "SAM, degrees": 3.3, "Lab chroma error": 5.8},
}


def products(bundle: Bundle, held: PatchSet) -> UInt8Array:
    """What a task makes of every patch, `(N, 3, H, W)`."""
    from geotrans.inference import Translator

    translator = Translator(bundle, device="cpu", precision="float32")
    anchors = [
        ground_anchor(make_geobox(r.shape, Affine(*r.transform), r.crs)) for r in held.records
    ]
    made = [
        translate(translator, patch, margin=0, anchor=anchor)
        for patch, anchor in zip(held.source, anchors, strict=True)
    ]
    return np.stack(made)


def without_network(cache: PatchCache, seen: UInt8Array) -> dict[str, UInt8Array]:
    """What a source `(N, C, H, W)` gives without a network, by name."""
    train = cache.load("train")
    source, target = cache.manifest.source.bands, cache.manifest.target.bands
    made = {"linear fit": apply_linear(seen, fit_linear(train.source, train.target, train.valid))}
    if len(source) == 1:
        made["grey"] = np.repeat(seen, 3, axis=1)
        colors = mean_color_by_grey(train.source, train.target, train.valid)
        made["colour per grey level"] = np.moveaxis(colors[:, seen[:, 0]], 0, 1)
    else:
        made["unchanged"] = seen[:, :3]
        known = fit_known(train.target, train.valid, source=source, target=target)
        made["known bands, the rest linear in them"] = apply_linear(seen, known)
    return {name: np.ascontiguousarray(images) for name, images in made.items()}


def score(
    task: str, made: Mapping[str, UInt8Array], truth: UInt8Array, valid: Any, places: list[str]
) -> list[Row]:
    """Rows of the table; `made` holds the product as `score` and what stands beside it."""
    measures: dict[str, tuple[Any, str]] = {
        "PSNR, dB": (lambda x: psnr_over_places(x, truth, valid, places), ">="),
        "SSIM": (lambda x: mean(ssim(x, truth, valid=valid), places), ">="),
        "SAM, degrees": (lambda x: mean(sam(x, truth, valid=valid), places), "<"),
        "Lab chroma error": (lambda x: mean(chroma_error(x, truth, valid=valid), places), "<"),
    }
    rows = []
    for metric, (measure, sense) in measures.items():
        found = {name: measure(images) for name, images in made.items()}
        bound = BOUNDS.get(task, {}).get(metric)
        rows.append(Row(task, metric, found.pop("score"), bound, sense, found))
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("bundle", metavar="TASK[=BUNDLE]")
    parser.add_argument("--cache", required=True, help="patch cache of the task's pairs")
    parser.add_argument("--split", default="val")
    parser.add_argument(
        "--beside", action="append", default=[], metavar="NAME=BUNDLE", help="to compare"
    )
    parser.add_argument("--json", type=Path, help="write the scores here")
    options = parser.parse_args()
    task, _, where = options.bundle.partition("=")
    bundle = open_bundle(where or task)
    cache = PatchCache.open(options.cache)
    names = tuple(band.name for band in bundle.spec.source)
    if (cache.manifest.source.bands, cache.manifest.target.bands) != (names, RGB):
        raise UsageError(
            f"{task} reads {', '.join(names)} and is to write {', '.join(RGB)}; {cache.path} holds "
            f"{', '.join(cache.manifest.source.bands)} and {', '.join(cache.manifest.target.bands)}"
        )
    held = cache.load(options.split)
    made = {"score": products(bundle, held), **without_network(cache, held.source)}
    for other in options.beside:
        name, _, where = other.partition("=")
        made[name] = products(open_bundle(where), held)
    rows = score(task, made, held.target, held.valid, held.places)
    return conclude(
        rows,
        options.json,
        split=options.split,
        year="NAIP 2020",
        weights_sha256={task: bundle.sha256},
    )


if __name__ == "__main__":
    try:
        sys.exit(main())
    except GeotransError as error:
        sys.exit(f"error: {error}")
